"""Which of the values that a training reports is watched, and whether it is the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.errors import UsageError

MODES = ("auto", "min", "max")
_VALIDATION = "val_"
_LESS_IS_BETTER = (
    "loss",
    "error",
    "entropy",
    "perplexity",
    "mse",
    "mae",
    "mape",
    "msle",
    "hinge",
    "divergence",
)
_MORE_IS_BETTER = (
    "acc", "auc", "f1", "fbeta", "fmeasure", "precision", "recall", "sensitivity", "specificity", "iou", "dice",
    "r2", "score", "similarity", "kappa", "psnr", "ssim", "bleu",
)  # fmt: skip


class Monitor:
    """Follows one reported value. A value that is not finite is never the best.

    Args:
        name: The value, such as ``val_loss``. While nothing validates, the same of the training stands in for it.
        mode: ``min``, ``max``, or ``auto``: by the words in the name.
        notice: Told, once each, what the user should know.

    Raises:
        UsageError: There is no such mode.
    """

    def __init__(self, name: str, mode: str, notice: Callable[[str], None]) -> None:
        if mode not in MODES:
            raise UsageError(f"There is no mode {mode!r}.", hint="Choose auto, min or max.")
        self._name = name
        self._mode = mode
        self._tell = notice
        self._told: set[str] = set()
        self._was_seen = False

    def find(self, values: Mapping[str, Any]) -> tuple[str, float] | None:
        """Return name and number of the watched value, or None where there is no usable one."""
        name = self._name_in(values)
        if name is None:
            return None
        try:
            number = float(values[name])
        except (TypeError, ValueError):
            self._notice(f"{name} is {values[name]!r} and no number, so it cannot tell the best model.")
            return None
        if not math.isfinite(number):
            self._notice(f"{name} is {number}; a model with that is never the best.")
            return None
        return name, number

    def is_better(self, name: str, number: float, best: Any) -> bool:
        """Tell whether a number of `find` is better than the best before (None, or no number: there was none)."""
        if isinstance(best, bool) or not isinstance(best, int | float) or not math.isfinite(best):
            return True
        return number > best if self._more_is_better(name) else number < best

    def _name_in(self, values: Mapping[str, Any]) -> str | None:
        if self._name in values:
            self._was_seen = True
            return self._name
        if self._was_seen:
            return None  # an epoch without validation
        other = self._name.removeprefix(_VALIDATION)
        if other in values:
            self._notice(f"There is no {self._name}; the best model is told by {other}.")
            return other
        there = ", ".join(sorted(values)) or "nothing"
        self._notice(f"There is no {self._name} to tell the best model by; what is reported: {there}.")
        return None

    def _more_is_better(self, name: str) -> bool:
        if self._mode != "auto":
            return self._mode == "max"
        words = name.lower()
        if any(word in words for word in _LESS_IS_BETTER):
            return False
        if any(word in words for word in _MORE_IS_BETTER):
            return True
        self._notice(f"It is taken that less {name} is better; pass mode='max' if more is.")
        return False

    def _notice(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
