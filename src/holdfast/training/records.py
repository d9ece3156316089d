"""The run's own files in ``run.dir``: ``history.jsonl``, ``summary.json`` and ``config.yaml``.

They are saved like any other file; the syncer also reads them and tells the vault the config, the summary and the step.

**Invariant.** A disk that takes nothing never stops the training: what could not be written is complained of, kept in
memory, and written along with the next values.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from holdfast.errors import UsageError
from holdfast.training.values import plain

_SUMMARY_INTERVAL_S = 2.0
_TAIL_BYTES = 64 << 10

Complain = Callable[[str], None]
"""Tells the user what could not be written."""


class History:
    """What was logged: a line of JSON for each call, appended by one write.

    Each line has ``_step`` and ``_timestamp``. Several lines of one step belong together.

    Args:
        path: ``history.jsonl``; made by the first call.
        step: The step of the first call that names none.
        complain: Told of what could not be written.
    """

    def __init__(self, path: Path, step: int, complain: Complain) -> None:
        self._path = path
        self._complain = complain
        self._fd: int | None = None
        self._unwritten = b""
        self.step = step

    def append(self, row: Mapping[str, Any], step: int | None) -> dict[str, Any]:
        """Append a row and return it as plain data."""
        at = self.step if step is None else step
        values: dict[str, Any] = plain(row)
        line = json.dumps({"_step": at, "_timestamp": time.time(), **values}, allow_nan=False)
        self._unwritten += line.encode() + b"\n"
        self.step = at + 1
        self.flush()
        return values

    def flush(self) -> None:
        """Write what an earlier call could not."""
        if not self._unwritten:
            return
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
        except OSError as exc:
            self._complain(f"log() cannot write {self._path.name} now ({exc}); it is kept in memory.")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


def last_step(history: Path) -> int | None:
    """Return the step of the last whole line of a ``history.jsonl``; None if there is none.

    Raises:
        OSError: The file cannot be read.
        ValueError: The line is not what `History` writes.
    """
    with history.open("rb") as file:
        file.seek(max(0, history.stat().st_size - _TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    if not lines:
        return None
    row = json.loads(lines[-1])
    step = row.get("_step", row.get("step")) if isinstance(row, dict) else None
    return step if isinstance(step, int) else None


class OwnFile:
    """A small file that is replaced as a whole.

    Args:
        path: The file.
        part: Where it is written before it gets its name.
        complain: Told when it cannot be written.
    """

    def __init__(self, path: Path, part: Path, complain: Complain) -> None:
        self._path = path
        self._part = part
        self._complain = complain

    def replace(self, text: str) -> bool:
        """Replace the content; False if the disk refuses."""
        own = self._part.with_name(f"{self._part.name}.{os.getpid()}")  # a forked process may write it too
        try:
            own.write_text(text, encoding="utf-8")
            own.replace(self._path)
        except OSError as exc:
            self._complain(f"{self._path.name} cannot be written now ({exc}); it is kept in memory.")
            return False
        return True


class Summary(MutableMapping[str, Any]):
    """The last value of everything that was logged, and what the user adds. Kept in ``summary.json``.

    The file is written at most every two seconds, and at the end of the run; ``history.jsonl`` has all at any time.

    Args:
        file: ``summary.json``; None: keep it in memory alone.
    """

    def __init__(self, file: OwnFile | None) -> None:
        self._file = file
        self._values: dict[str, Any] = {}
        self._is_dirty = False
        self._next_write = 0.0

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.merge({key: plain(value)})

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self.merge({})

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def merge(self, values: Mapping[str, Any]) -> None:
        """Set several plain values."""
        self._values.update(values)
        self._is_dirty = True
        if time.monotonic() >= self._next_write:
            self.flush()

    def flush(self) -> None:
        """Write the file if it is behind."""
        if self._is_dirty and self._file is not None:
            text = json.dumps(self._values, indent=1, allow_nan=False) + "\n"
            self._is_dirty = not self._file.replace(text)
            self._next_write = time.monotonic() + _SUMMARY_INTERVAL_S


class Config(MutableMapping[str, Any]):
    """The configuration of the run, by key or as attributes. Kept in ``config.yaml``, written at each change.

    Args:
        file: ``config.yaml``; None: keep it in memory alone.
    """

    def __init__(self, file: OwnFile | None) -> None:
        object.__setattr__(self, "_file", file)
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_is_dirty", False)

    _file: OwnFile | None
    _values: dict[str, Any]
    _is_dirty: bool

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._write()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"The config has no {name!r}.") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, values: Any = (), /, *, allow_val_change: bool = True, **named: Any) -> None:
        """Set several values.

        Args:
            values: A mapping, pairs, an object with attributes such as ``argparse.Namespace`` or a dataclass, or the path
                of a YAML file.
            allow_val_change: Accepted for the sake of W&B scripts; values may always change.
            **named: Further values.

        Raises:
            UsageError: The file cannot be read, or holds something else.
        """
        del allow_val_change
        self._values.update({str(key): value for key, value in {**values_of(values), **named}.items()})
        self._write()

    def setdefaults(self, values: Any) -> None:
        """Set those values that are not set yet."""
        self.update({key: value for key, value in values_of(values).items() if key not in self})

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a plain dictionary."""
        return dict(self._values)

    def _write(self) -> None:
        object.__setattr__(self, "_is_dirty", True)
        self.flush()

    def flush(self) -> None:
        """Write the file if it is behind."""
        if not self._is_dirty or self._file is None:
            return
        import yaml

        text = yaml.safe_dump(plain(self._values), sort_keys=False, allow_unicode=True)
        object.__setattr__(self, "_is_dirty", not self._file.replace(text))


def values_of(values: Any) -> dict[str, Any]:
    """Return what a config is given as: see `Config.update`. Raises `UsageError` for a file that is none."""
    if isinstance(values, str | os.PathLike):
        return _of_yaml(Path(values))
    if isinstance(values, Mapping) or hasattr(values, "keys"):
        return {key: values[key] for key in values.keys()}  # noqa: SIM118 - all that is known of it
    if dataclasses.is_dataclass(values):
        return {item.name: getattr(values, item.name) for item in dataclasses.fields(values)}
    return dict(vars(values)) if hasattr(values, "__dict__") else dict(values)


def _of_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise UsageError(f"The config file {path} cannot be read: {exc}.") from exc
    if not isinstance(found, dict):
        raise UsageError(f"The config file {path} does not hold names with values.")
    return found
