r"""Append-only logs of checked lines: the form of `journal.jsonl` and `sync.jsonl`.

**How it works.** A line is ``<CRC-32 of the JSON, 8 hex digits> <JSON object>\n``. A record counts when its line
is whole and its checksum fits. A line that a crash cut short is closed by the next writer with a newline, so it costs
itself and nothing else.

**Invariants.** A record is appended by one ``write`` to a file opened with ``O_APPEND``: on a local file system
records of several processes never mix. A record that was appended survives a kill of the process at once, and a
crash of the machine after the next `RecordWriter.flush`.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

Record = dict[str, Any]


def encode_record(record: Record) -> bytes:
    """Return the line of a record."""
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


def decode_line(line: bytes) -> Record | None:
    """Return the record of a line without its newline, or None if it is damaged."""
    checksum, _, body = line.partition(b" ")
    if len(checksum) != 8 or checksum != b"%08x" % zlib.crc32(body):
        return None
    record = json.loads(body)
    return record if isinstance(record, dict) else None


class RecordWriter:
    """Appends records to a log; makes the file if need be.

    Raises:
        OSError: The file cannot be opened or written; a record that could not be written whole does not count.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, *records: Record) -> None:
        """Append records by one write; when this returns, killing the process does not lose them."""
        lines = b"".join(encode_record(record) for record in records)
        if self._is_cut():
            lines = b"\n" + lines
        written = os.write(self._fd, lines)
        while written < len(lines):
            written += os.write(self._fd, lines[written:])

    def _is_cut(self) -> bool:
        size = os.fstat(self._fd).st_size
        return size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"

    def flush(self) -> None:
        """Make all that was appended survive a crash of the machine."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RecordReader:
    """Follows a log from its start: each call of `read` returns what is new. A missing file has no records."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._seen = 0

    def has_grown(self) -> bool:
        """Tell, for the price of one stat, whether there may be something to read."""
        try:
            return self._path.stat().st_size != self._seen
        except OSError:
            return False

    def read(self) -> list[Record]:
        """Return the records that were completed since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._seen = self._offset + len(data)
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        records = []
        for line in whole.splitlines():
            record = decode_line(line) if line else None
            if record is not None:
                records.append(record)
            elif line:
                log.warning("%s has a damaged line of %d bytes; it is skipped.", self._path, len(line))
        return records
