"""The hashes of content: keyed BLAKE3 for ids, plain BLAKE3 for the digest of a file.

An id is keyed with the key of the dedup domain, so that equal bytes of two domains have unrelated ids and an
id tells nothing to whoever lacks the key. Updates of more than a few KiB run without Python's global lock.
"""

from __future__ import annotations

from typing import TypeAlias

from blake3 import blake3

Bytes: TypeAlias = bytes | bytearray | memoryview

ID_BYTES = 32


def chunk_id(domain_key: bytes, data: Bytes) -> bytes:
    """Return the 32-byte id of a chunk, or of a segment's body, within a dedup domain."""
    return blake3(data, key=domain_key).digest()


def content_digest(data: Bytes) -> bytes:
    """Return the 32-byte digest of a whole content."""
    return blake3(data).digest()


class ContentHasher:
    """Compute `content_digest` of bytes that come in pieces."""

    def __init__(self, seen: blake3 | None = None) -> None:
        self._hash = blake3() if seen is None else seen

    def update(self, data: Bytes) -> None:
        """Append bytes."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """Return the digest of the bytes so far; more may follow."""
        return self._hash.digest()

    def copy(self) -> ContentHasher:
        """Return an independent hasher that has seen the same bytes."""
        return ContentHasher(self._hash.copy())


class ChunkHasher:
    """Compute `chunk_id` of bytes that come in pieces."""

    def __init__(self, domain_key: bytes) -> None:
        self._hash = blake3(key=domain_key)

    def update(self, data: Bytes) -> None:
        """Append bytes."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """Return the id of the bytes so far; more may follow."""
        return self._hash.digest()
