"""Calls of W&B that Holdfast has no counterpart of, and that must not end a training which makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.training.terminal import Terminal

WITHOUT_EFFECT = ("alert", "define_metric", "log_code", "mark_preempting", "unwatch", "watch")
MEDIA = ("Audio", "Graph", "Histogram", "Html", "Image", "Molecule", "Object3D", "Plotly", "Table", "Video")


class NotKept:
    """Stands for media or a table given to `log`, which keeps its kind and no content."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __str__(self) -> str:
        return f"{self._kind}, not kept"

    def add_data(self, *_arguments: Any, **_named: Any) -> None:
        """Take a row of a table and keep nothing."""

    def add_column(self, *_arguments: Any, **_named: Any) -> None:
        """Take a column of a table and keep nothing."""


class Absences:
    """Answers the calls that have no counterpart; says so once for each."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def call(self, name: str) -> Callable[..., None]:
        """Return what ``holdfast.<name>`` and ``run.<name>`` are: something that takes all and does nothing."""

        def without_effect(*_arguments: Any, **_named: Any) -> None:
            self._tell(name, f"{name}() has no effect: Holdfast has nothing of the kind.")

        return without_effect

    def media(self, name: str) -> Callable[..., NotKept]:
        """Return what ``holdfast.<name>`` is: something that makes a `NotKept`."""

        def made(*_arguments: Any, **_named: Any) -> NotKept:
            self._tell(name, f"log() keeps no {name}; write it to a file and save() that.")
            return NotKept(name)

        return made

    def _tell(self, name: str, text: str) -> None:
        if name not in self._told:
            self._told.add(name)
            Terminal().warn(text)
