"""Turns what users log and configure into plain values that JSON and YAML can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

_MOST_ELEMENTS = 10_000


def plain(value: Any) -> Any:
    """Return a value as plain data.

    Numbers, text, booleans and None stay; scalars of NumPy, torch and the like become numbers; arrays of up to 10,000
    elements lists; NaN and the infinities the texts ``"NaN"``, ``"Infinity"``, ``"-Infinity"``, since JSON has no such
    numbers; mappings and sequences are gone through; anything else becomes its text.
    """
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _name(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(item) for item in value]
    return _of_array(value)


def _of_array(value: Any) -> Any:
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "tolist"):
        return str(value)
    if math.prod(shape) > _MOST_ELEMENTS:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    plainer = value.item() if math.prod(shape) == 1 and hasattr(value, "item") else value.tolist()
    return plain(plainer) if isinstance(plainer, bool | int | float | str | list) else str(plainer)


def _name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
