"""What a run logged: the rows of its ``history.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from holdfast.api.files import RunAt
from holdfast.errors import MalformedContentError, StoredFileNotFoundError, UsageError
from holdfast.protocol.messages import FileInfo
from holdfast.restoring.content import iter_content

HISTORY = "history.jsonl"

Row: TypeAlias = dict[str, Any]


def read_history(at: RunAt, keys: Sequence[str] | None) -> list[Row]:
    """Return one row a step, ordered by step, out of all attempts of a run.

    What was logged to one step by several calls, or again by a later attempt, is one row with the last values.

    Args:
        at: The run.
        keys: Only rows that have all of these, and of them only these (with ``_step``); None: everything.

    Raises:
        MalformedContentError: A line is not what `log` writes.
    """
    rows: dict[int, Row] = {}
    for info in _last_of_attempts(at):
        for row in _rows(at, info):
            rows.setdefault(row["_step"], {}).update(row)
    ordered = (rows[step] for step in sorted(rows))
    if keys is None:
        return list(ordered)
    kept = dict.fromkeys(["_step", *keys])
    return [{key: row[key] for key in kept} for row in ordered if all(key in row for key in keys)]


def sample(rows: list[Row], samples: int | None) -> list[Row]:
    """Return so many rows at even distances, the first and the last among them; all if there are no more.

    Raises:
        UsageError: ``samples`` is less than 1.
    """
    if samples is not None and samples < 1:
        raise UsageError(f"A history cannot have {samples} samples.")
    if samples is None or len(rows) <= samples:
        return rows
    if samples == 1:
        return rows[-1:]
    return [rows[round(at * (len(rows) - 1) / (samples - 1))] for at in range(samples)]


def as_frame(rows: list[Row]) -> Any:
    """Return rows as a pandas DataFrame. Raises `UsageError` if pandas is not installed."""
    try:
        import pandas as pd  # type: ignore[import-untyped, import-not-found, unused-ignore] # the caller's choice
    except ImportError:
        raise UsageError(
            "history(pandas=True) needs pandas.", hint="Install it, or take the list of dictionaries."
        ) from None
    return pd.DataFrame(rows)


def _last_of_attempts(at: RunAt) -> list[FileInfo]:
    """Return the newest history of each attempt; there is none if nothing was logged."""
    try:
        versions = at.vault.list_versions(at.path, HISTORY)
    except StoredFileNotFoundError:
        return []
    last: dict[int, FileInfo] = {}
    for info in sorted(versions, key=lambda info: info.version):
        last[info.attempt] = info
    return [last[attempt] for attempt in sorted(last)]


def _rows(at: RunAt, info: FileInfo) -> Iterator[Row]:
    for number, line in enumerate(_lines(iter_content(at.vault, at.path, info)), 1):
        try:
            row = json.loads(line)
            row["_step"] = int(row["_step"])
        except (ValueError, TypeError, KeyError) as exc:
            raise MalformedContentError(
                f"Line {number} of {info.name}, version {info.version}, of the run {at.path} is not a logged row.",
                hint=f"File.download() gives the file as it is: {info.name!r}.",
            ) from exc
        yield row


def _lines(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + bytes(piece)).split(b"\n")
        yield from whole
    if rest:
        yield rest
