"""The digest of a file whose bytes arrive in any order: computed while they do, not by reading it once more at the end."""

from __future__ import annotations

import os
import threading

from holdfast.content.hashing import ContentHasher
from holdfast.restoring.disk import start_writing

_BLOCK_BYTES = 1 << 20
_TURN_BYTES = 8 << 20


class ArrivingDigest:
    """Hashes what lies in the file without a gap from its start. Safe to use from several threads.

    Args:
        size: Of the whole file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._hasher = ContentHasher()
        self._hashed = 0
        self._arrived = 0
        self._islands: dict[int, int] = {}
        """Where what lies behind a gap begins, and where it ends."""
        self._lock = threading.Lock()
        self._hashing = threading.Lock()

    def add(self, offset: int, length: int) -> None:
        """Note that these bytes are in the file; each byte is noted once."""
        with self._lock:
            if length:
                self._islands[offset] = offset + length
            while (end := self._islands.pop(self._arrived, None)) is not None:
                self._arrived = end

    def hash_some(self, fd: int) -> None:
        """Hash some of what can be, and let the disk begin to write it, unless another thread is at it."""
        if self._hashing.acquire(blocking=False):
            try:
                start, end = self._hashed, min(self._arrived, self._hashed + _TURN_BYTES)
                if end - start >= _TURN_BYTES:
                    self._hash(fd, end)
                    start_writing(fd, start, end - start)
            finally:
                self._hashing.release()

    def finish(self, fd: int) -> bytes:
        """Hash the rest of the file, up to its size at most, and return its digest."""
        with self._hashing:
            self._hash(fd, self._size)
            return self._hasher.digest()

    def _hash(self, fd: int, end: int) -> None:
        if self._hashed >= end:
            return
        buffer = memoryview(bytearray(min(_BLOCK_BYTES, end - self._hashed)))
        while count := os.preadv(fd, [buffer[: end - self._hashed]], self._hashed):
            self._hasher.update(buffer[:count])
            self._hashed += count
