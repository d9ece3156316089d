"""What the structure of known formats tells about a file that somebody may still be writing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache

from holdfast.content.hashing import Bytes
from holdfast.content.pieces import ReadAt
from holdfast.content.safetensors import read_layout
from holdfast.content.torchzip import find_directory, is_zip
from holdfast.errors import MalformedContentError

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PARQUET_MAGIC = b"PAR1"
_NPY_MAGIC = b"\x93NUMPY"
_MAX_NPY_HEADER_BYTES = 64 << 10
_CONTROL_BYTES = bytes({*range(32), 127} - set(b"\t\n\r\f\b\x1b"))
_MAY_BE_LENGTH = re.compile(rb"(?=[^\0]..\0{5}|.[^\0].\0{5}|..[^\0]\0{5})", re.DOTALL)
"""A length of less than 16 MiB as an event begins with."""
_CRC_DELTA = 0xA282EAD8
_CRC32C_POLYNOMIAL = 0x82F63B78
_U32_MAX = 0xFFFFFFFF


def end_check(size: int, read_at: ReadAt) -> bool | None:
    """Tell from a file's own structure whether all of it is there.

    Knows zip (torch, npz), safetensors, HDF5, Parquet and npy.

    Returns:
        True for a file that ends where its structure says; False for one that is certainly cut; None if the
        format is unknown or does not say.
    """
    head = read_at(0, min(size, 64))
    if head[:4] == _PARQUET_MAGIC:
        return _parquet_is_whole(size, read_at)
    if head[:8] == _HDF5_MAGIC:
        return _compare(_hdf5_end(head), size)
    if head[:6] == _NPY_MAGIC:
        return _compare(_npy_end(read_at), size)
    if is_zip(read_at):
        return _zip_is_whole(size, read_at)
    return _compare(_safetensors_end(size, read_at), size)


def _compare(expected: int | None, size: int) -> bool | None:
    """Compare sizes; a file that is longer than its structure says may be anything."""
    if expected is None or expected < size:
        return None
    return expected == size


def _zip_is_whole(size: int, read_at: ReadAt) -> bool:
    try:
        return find_directory(size, read_at).end == size
    except MalformedContentError:
        return False


def _safetensors_end(size: int, read_at: ReadAt) -> int | None:
    try:
        return read_layout(size, read_at).end
    except MalformedContentError:
        return None


def _parquet_is_whole(size: int, read_at: ReadAt) -> bool:
    if size < 2 * len(_PARQUET_MAGIC) + 4:
        return False
    tail = read_at(size - 8, 8)
    footer = int.from_bytes(tail[:4], "little")
    return tail[4:] == _PARQUET_MAGIC and footer + 12 <= size


def _hdf5_end(head: bytes) -> int | None:
    """Return the end-of-file address of the superblock."""
    version = head[8] if len(head) > 8 else 255
    if version > 3:
        return None
    if version < 2:
        width_at, first_address = 13, 24 + 4 * version
    else:
        width_at, first_address = 9, 12
    width = head[width_at] if len(head) > width_at else 0
    end_at = first_address + 2 * width
    if width not in (2, 4, 8) or len(head) < end_at + width:
        return None
    return int.from_bytes(head[end_at : end_at + width], "little")


def _npy_end(read_at: ReadAt) -> int | None:
    start = read_at(0, 12)
    if len(start) < 12:
        return None
    width = 2 if start[6] == 1 else 4
    header_at = 8 + width
    header_len = int.from_bytes(start[8:header_at], "little")
    if header_len > _MAX_NPY_HEADER_BYTES:
        return None
    header = read_at(header_at, header_len)
    item = re.search(rb"'descr': '[<>|=]([biufcSVU])(\d{1,9})'", header)
    shape = re.search(rb"'shape': \(([\d, ]*)\)", header)
    if item is None or shape is None:
        return None
    item_bytes = int(item[2]) * (4 if item[1] == b"U" else 1)
    axes = [int(axis) for axis in re.findall(rb"\d{1,18}", shape[1])]
    return header_at + header_len + item_bytes * math.prod(axes)


def is_line_text(head: bytes) -> bool:
    """Tell whether a file that begins like this is text, which may be stored up to its last line's end."""
    return bool(head) and len(head) == len(head.translate(None, _CONTROL_BYTES))


def last_record_end(name: str, data: Bytes) -> int:
    """Return the length of the longest prefix that ends with a whole record.

    Args:
        name: The file's name; TensorBoard's event files are known by it.
        data: The file's bytes from the beginning of any record, or from within one.

    Returns:
        The end of the last whole event in an event file, the end of the last line in a text, else all.
    """
    if "tfevents" in name.rpartition("/")[2]:
        return max(_event_ends(memoryview(data)), default=0)
    if is_line_text(bytes(data[:4096])):
        return bytes(data).rfind(b"\n") + 1
    return len(data)


def _event_ends(data: memoryview) -> Iterator[int]:
    """Yield where each event ends: u64 length, its checksum, the payload, its checksum."""
    end = _first_event(data)
    while end + 16 <= len(data) and _is_event(data, end):
        end += 16 + int.from_bytes(data[end : end + 8], "little")
        if end > len(data):
            return
        yield end


def _first_event(data: memoryview) -> int:
    """Return where the first event begins: at once, unless the bytes before ended within one."""
    if len(data) < 16 or _is_event(data, 0):
        return 0
    places = (found.start() for found in _MAY_BE_LENGTH.finditer(data))
    return next((place for place in places if _is_event(data, place)), len(data))


def _is_event(data: memoryview, at: int) -> bool:
    return _masked_crc32c(data[at : at + 8]) == int.from_bytes(data[at + 8 : at + 12], "little")


def _masked_crc32c(data: memoryview) -> int:
    table = _crc32c_table()
    crc = _U32_MAX
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= _U32_MAX
    return (((crc >> 15) | (crc << 17)) + _CRC_DELTA) & _U32_MAX


@cache
def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CRC32C_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table
