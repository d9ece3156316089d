"""Saves the event files that TensorBoard's writers make: those of TensorBoard itself, of PyTorch and of tensorboardX.

**How it works.** PyTorch and TensorBoard write through one class, tensorboardX through its own. Their constructors are
wrapped, now if their module is loaded, else as soon as it is: a writer that is made from then on has its event file
saved with the run under way, live. What cannot be saved is told and never stops the training.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import holdfast
from holdfast.errors import HoldfastError
from holdfast.training.terminal import Terminal

_WRITER = "EventFileWriter"
_MODULES = ("tensorboard.summary.writer.event_file_writer", "tensorboardX.event_file_writer")

StrPath = str | os.PathLike[str]


def patch(root_logdir: StrPath | None = None) -> None:
    """Save the event files of all writers that are made from now on with the run that is then under way.

    An event file is saved with policy ``live`` under the name that `Run.save` gives its path: ``runs/exp/events...`` for
    a relative log folder. Log folders in a cloud storage are not saved; a warning says so. Call it before the writers are
    made; calling it again only changes ``root_logdir``. Writers of TensorFlow are not known to it: save their folder.

    Args:
        root_logdir: The folder that the names are relative to; None: as before, at first as `Run.save` has it.
    """
    if all(importlib.util.find_spec(name.partition(".")[0]) is None for name in _MODULES):
        Terminal().warn(
            "No TensorBoard is there to save from. Install it: pip install 'holdfast[tensorboard]'"
        )
        return
    waiting = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    if waiting is None:
        waiting = _Finder()
        sys.meta_path.insert(0, waiting)
    if root_logdir is not None:
        waiting.saves.root_logdir = _absolute(root_logdir)
    for name in _MODULES:
        if name in sys.modules:
            waiting.saves.wrap(sys.modules[name])


class _Saves:
    """Wraps the constructors of writers, and saves what they make."""

    def __init__(self) -> None:
        self.root_logdir: Path | None = None
        self._wrapped: set[str] = set()

    def wrap(self, module: ModuleType) -> None:
        """Wrap the constructor of the module's writer, once."""
        writer = getattr(module, _WRITER, None)
        if writer is None or module.__name__ in self._wrapped:
            return
        self._wrapped.add(module.__name__)
        original = writer.__init__

        @functools.wraps(original)
        def construct(made: Any, logdir: StrPath, *args: Any, **kwargs: Any) -> None:
            before = _names_in(logdir)
            original(made, logdir, *args, **kwargs)
            self._save(os.fspath(logdir), _names_in(logdir) - before)

        writer.__init__ = construct

    def _save(self, logdir: str, names: set[str]) -> None:
        run = holdfast.run
        if run is None:
            return
        try:
            for name in sorted(names) or ([""] if "://" in logdir else []):
                path = f"{logdir.rstrip('/')}/{name}"
                run.save(path, self._base_of(path), glob=False)
        except HoldfastError as exc:
            Terminal().warn(f"{exc} TensorBoard goes on without.")

    def _base_of(self, path: str) -> Path | None:
        root = self.root_logdir
        return root if root is not None and _absolute(path).is_relative_to(root) else None


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for the modules of the writers to be imported; finds nothing else."""

    def __init__(self) -> None:
        self.saves = _Saves()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a writer's module as the other finders do, and wrap its writer once it is loaded."""
        if fullname not in _MODULES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_wrap(module: ModuleType) -> None:
                load(module)
                self.saves.wrap(module)

            spec.loader.exec_module = load_and_wrap  # type: ignore[method-assign] # of this one loader
        return spec


def _names_in(logdir: StrPath) -> set[str]:
    try:
        return {entry.name for entry in Path(logdir).iterdir()}
    except OSError:
        return set()


def _absolute(path: StrPath) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - absolute() keeps ".."
