"""The run's own files in ``run.dir``: ``history.jsonl``, ``summary.json`` and ``config.yaml``.

They are saved like any other file; the syncer also reads them and tells the vault the config, the summary and the step.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from holdfast.training.values import plain

_SUMMARY_INTERVAL_S = 2.0


class History:
    """What was logged: a line of JSON for each call, appended by one write.

    Each line has ``_step`` and ``_timestamp``. Several lines of one step belong together.

    Args:
        path: ``history.jsonl``; made by the first call.
        step: The step of the first call that names none.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self._path = path
        self._fd: int | None = None
        self.step = step

    def append(self, row: Mapping[str, Any], step: int | None) -> dict[str, Any]:
        """Append a row and return it as plain data.

        Raises:
            OSError: The disk is full; a row that could not be written whole is no line.
        """
        at = self.step if step is None else step
        values: dict[str, Any] = plain(row)
        line = json.dumps({"_step": at, "_timestamp": time.time(), **values}, allow_nan=False)
        data = line.encode() + b"\n"
        if self._fd is None:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        written = os.write(self._fd, data)
        if written < len(data):
            os.write(self._fd, data[written:])
        self.step = at + 1
        return values

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


class Summary(MutableMapping[str, Any]):
    """The last value of everything that was logged, and what the user adds. Kept in ``summary.json``.

    The file is written at most every two seconds, and at the end of the run; ``history.jsonl`` has all at any time.

    Args:
        path: ``summary.json``; None: keep it in memory alone.
        part: Where it is written before it gets its name.
    """

    def __init__(self, path: Path | None, part: Path | None) -> None:
        self._path = path
        self._part = part
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
        if self._is_dirty and self._path is not None and self._part is not None:
            _replace(self._path, self._part, json.dumps(self._values, indent=1, allow_nan=False) + "\n")
            self._is_dirty = False
            self._next_write = time.monotonic() + _SUMMARY_INTERVAL_S


class Config(MutableMapping[str, Any]):
    """The configuration of the run, by key or as attributes. Kept in ``config.yaml``, written at each change.

    Args:
        path: ``config.yaml``; None: keep it in memory alone.
        part: Where it is written before it gets its name.
    """

    def __init__(self, path: Path | None, part: Path | None) -> None:
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_part", part)
        object.__setattr__(self, "_values", {})

    _path: Path | None
    _part: Path | None
    _values: dict[str, Any]

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
        """Set several values: from a mapping, pairs, or the attributes of an object such as ``argparse.Namespace``.

        Args:
            values: The values.
            allow_val_change: Accepted for the sake of W&B scripts; values may always change.
            **named: Further values.
        """
        del allow_val_change
        self._values.update({str(key): value for key, value in {**_mapping(values), **named}.items()})
        self._write()

    def setdefaults(self, values: Any) -> None:
        """Set those values that are not set yet."""
        self.update({key: value for key, value in _mapping(values).items() if key not in self})

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a plain dictionary."""
        return dict(self._values)

    def _write(self) -> None:
        if self._path is None or self._part is None:
            return
        import yaml

        _replace(
            self._path, self._part, yaml.safe_dump(plain(self._values), sort_keys=False, allow_unicode=True)
        )


def _mapping(values: Any) -> dict[str, Any]:
    is_object = hasattr(values, "__dict__") and not isinstance(values, Mapping)
    return dict(vars(values)) if is_object else dict(values)


def _replace(path: Path, part: Path, text: str) -> None:
    own = part.with_name(f"{part.name}.{os.getpid()}")  # a process forked off may write the same file
    own.write_text(text, encoding="utf-8")
    own.replace(path)
