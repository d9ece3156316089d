"""Digests of local files, and the ways to make files durable without waiting for each of them."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable

from blake3 import blake3

BLOCK_BYTES = 4 << 20
WRITE_BYTES = 256 << 10
"""The most in one write: for more at once the page cache takes its largest pages, which may cost four times as much."""
_THREADS_PAY_FROM = 1 << 20
_START_WRITING = 2  # SYNC_FILE_RANGE_WRITE


def file_digest(fd: int) -> bytes:
    """Return the BLAKE3-256 of an open file from its start to its end, read in blocks."""
    size = os.fstat(fd).st_size
    buffer = memoryview(bytearray(min(BLOCK_BYTES, max(size, 1))))
    hasher = blake3(max_threads=blake3.AUTO if size >= _THREADS_PAY_FROM else 1)
    offset = 0
    while count := os.preadv(fd, [buffer], offset):
        hasher.update(buffer[:count])
        offset += count
    return hasher.digest()


def start_writing(fd: int, offset: int, length: int) -> None:
    """Ask the system to begin writing a range to the disk, so that a later fsync is short. Only a hint."""
    libc = _libc()
    if libc is not None:
        libc.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _START_WRITING)


def flush_file_systems(fds: Iterable[int]) -> bool:
    """Make all that was written to the file systems of these files durable, each by one call.

    Returns:
        False when this system has no such call: then sync each file.

    Raises:
        OSError: The disk reported that something could not be written.
    """
    libc = _libc()
    if libc is None:
        return False
    by_device = {os.fstat(fd).st_dev: fd for fd in fds}
    for fd in by_device.values():
        if libc.syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    return True


@functools.cache
def _libc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "syncfs") and hasattr(libc, "sync_file_range") else None
