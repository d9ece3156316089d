"""Blobs in memory, for tests."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from holdfast.content.hashing import Bytes
from holdfast.errors import NotFoundError
from holdfast.vault.blobs import BlobInfo


class MemoryBlobs:
    """Blobs that last as long as this object."""

    read_bytes = 4 << 20

    def __init__(self) -> None:
        self._held: dict[str, tuple[bytes, float]] = {}

    def create(self, name: str) -> _Writer:
        """Begin a blob."""
        return _Writer(self._held, name)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset``. Raises `NotFoundError`."""
        if name not in self._held:
            raise NotFoundError(f"There is no blob {name}.")
        return self._held[name][0][offset : offset + length]

    def slice(self, name: str, offset: int, length: int) -> None:
        """There are no files here."""

    def size(self, name: str) -> int | None:
        """Return the size of a blob, or None if it is absent."""
        return len(self._held[name][0]) if name in self._held else None

    def delete(self, name: str) -> None:
        """Remove a blob; an absent one is fine."""
        self._held.pop(name, None)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose names start with a prefix."""
        for name, (data, at) in list(self._held.items()):
            if name.startswith(prefix):
                yield BlobInfo(name, len(data), at)

    def close(self) -> None:
        """Keep the blobs: the vault may be opened again on this object."""


class _Writer:
    def __init__(self, held: dict[str, tuple[bytes, float]], name: str) -> None:
        self._held = held
        self._name = name
        self._pieces: list[bytes] = []

    def write(self, pieces: Sequence[Bytes]) -> None:
        self._pieces += map(bytes, pieces)

    def commit(self) -> None:
        self._held[self._name] = (b"".join(self._pieces), time.time())
        self._pieces = []

    def abort(self) -> None:
        self._pieces = []
