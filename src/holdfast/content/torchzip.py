"""The structure of a zip archive, such as torch.save and numpy.savez write.

Nothing is decompressed or unpickled: only the end record, the central directory and local headers are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from holdfast.content.codecs import Encoder
from holdfast.content.pieces import Plan, PlannedSplitter, ReadAt
from holdfast.errors import MalformedContentError

_MAX_DIRECTORY_BYTES = 16 << 20
_MAX_COMMENT_BYTES = 0xFFFF
_SAMPLE_BYTES = 8 << 10
_STORED = 0
_U32_MAX = 0xFFFFFFFF
_ZIP64_EXTRA = 1

_LOCAL = struct.Struct("<4s22xHH")
_CENTRAL = struct.Struct("<4s6xH8xIIHHH8xI")
_END = struct.Struct("<4s6xHIIH")
_LOCATOR64 = struct.Struct("<4s4xQ4x")
_END64 = struct.Struct("<4s28xQQQ")
_EXTRA = struct.Struct("<HH")
_U64 = struct.Struct("<Q")


class Directory(NamedTuple):
    """Where the central directory lies, and where the archive ends."""

    offset: int
    length: int
    end: int


class Entry(NamedTuple):
    """Where a record's local header begins, how many bytes it stores, and whether they are compressed."""

    offset: int
    stored_len: int
    is_compressed: bool


def is_zip(read_at: ReadAt) -> bool:
    """Tell whether a file begins like a zip archive with a record."""
    return read_at(0, 4) == b"PK\x03\x04"


def find_directory(size: int, read_at: ReadAt) -> Directory:
    """Return where the central directory is.

    Raises:
        MalformedContentError: The end of the archive is not there.
    """
    tail_len = min(size, _END.size + _MAX_COMMENT_BYTES)
    tail = read_at(size - tail_len, tail_len)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise MalformedContentError("A zip archive has no end record.")
    _, count, length, offset, comment_len = _END.unpack_from(tail, at)
    end_record = size - tail_len + at
    end = end_record + _END.size + comment_len
    directory_end = end_record
    if _U32_MAX in (length, offset) or count == _MAX_COMMENT_BYTES:
        length, offset, directory_end = _find_directory64(end_record, read_at)
    if end > size or offset + length > directory_end:
        raise MalformedContentError("A zip archive has an impossible end record.")
    return Directory(offset, length, end)


def _find_directory64(end_record: int, read_at: ReadAt) -> tuple[int, int, int]:
    try:
        locator_at = max(0, end_record - _LOCATOR64.size)
        magic, at = _LOCATOR64.unpack(read_at(locator_at, _LOCATOR64.size))
        magic64, _, length, offset = _END64.unpack(read_at(min(at, end_record), _END64.size))
    except struct.error as exc:
        raise MalformedContentError("A zip archive has no 64-bit end record.") from exc
    if (magic, magic64) != (b"PK\x06\x07", b"PK\x06\x06"):
        raise MalformedContentError("A zip archive has no 64-bit end record.")
    return length, offset, at


def read_entries(directory: Directory, read_at: ReadAt) -> list[Entry]:
    """Return the records of an archive in order of their bytes. Raises `MalformedContentError`."""
    if directory.length > _MAX_DIRECTORY_BYTES:
        raise MalformedContentError("A zip archive has too many records.")
    try:
        return sorted(_iter_entries(read_at(directory.offset, directory.length)))
    except struct.error as exc:
        raise MalformedContentError("The directory of a zip archive is cut.") from exc


def _iter_entries(data: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(data):
        magic, method, stored_len, raw_len, *lengths, offset = _CENTRAL.unpack_from(data, at)
        if magic != b"PK\x01\x02":
            raise MalformedContentError("The directory of a zip archive is damaged.")
        name_len, extra_len, comment_len = lengths
        extra_at = at + _CENTRAL.size + name_len
        wide = _wide_fields(data[extra_at : extra_at + extra_len])
        if raw_len == _U32_MAX:
            next(wide, None)
        if stored_len == _U32_MAX:
            stored_len = next(wide, stored_len)
        if offset == _U32_MAX:
            offset = next(wide, offset)
        yield Entry(offset, stored_len, method != _STORED)
        at = extra_at + extra_len + comment_len


def _wide_fields(extra: bytes) -> Iterator[int]:
    """Return the 64-bit values of an extra field: in order, those of the 32-bit fields that are all ones."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        tag, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if tag == _ZIP64_EXTRA:
            body = extra[at : at + length]
            whole = body[: len(body) // _U64.size * _U64.size]
            return (value for (value,) in _U64.iter_unpack(whole))
        at += length
    return iter(())


def zip_splitter(size: int, read_at: ReadAt) -> PlannedSplitter:
    """Return ``ptz1`` for this file. Raises `MalformedContentError` if it is no zip archive."""
    if not is_zip(read_at):
        raise MalformedContentError("This is not a zip archive.")
    directory = find_directory(size, read_at)
    plan = Plan()
    for entry in read_entries(directory, read_at):
        begin = _data_begin(entry, directory, read_at)
        if entry.offset < plan.end or begin + entry.stored_len > directory.offset:
            raise MalformedContentError("The records of a zip archive overlap.")
        plan.add(begin - plan.end)
        plan.add(entry.stored_len, _word_of(entry, begin, read_at))
    plan.close()
    plan.add(size - plan.end)
    return plan.splitter("ptz1")


def _data_begin(entry: Entry, directory: Directory, read_at: ReadAt) -> int:
    if entry.offset + _LOCAL.size > directory.offset:
        raise MalformedContentError("A record of a zip archive lies outside of it.")
    header = read_at(entry.offset, _LOCAL.size)
    if len(header) != _LOCAL.size:
        raise MalformedContentError("A zip archive has been cut.")
    magic, name_len, extra_len = _LOCAL.unpack(header)
    if magic != b"PK\x03\x04":
        raise MalformedContentError("A record of a zip archive has no header.")
    return entry.offset + _LOCAL.size + int(name_len) + int(extra_len)


def _word_of(entry: Entry, begin: int, read_at: ReadAt) -> int:
    """Guess the size of the numbers in a record, whose type only the pickle beside it knows."""
    if entry.is_compressed or entry.stored_len < _SAMPLE_BYTES:
        return 1
    return Encoder().best_word(read_at(begin + entry.stored_len // 2 // 8 * 8, _SAMPLE_BYTES))
