"""Blobs: immutable objects by name, durable once written. Packs live here.

A name is one or more parts of ``[0-9a-z-]`` joined by ``/``. Whoever writes chooses names that were never used, so
that no writer meets another and a late delete hits nothing else.

**What every implementation promises**

- A blob appears whole, under its name, when `BlobWriter.commit` returns, and is then durable; or not at all.
- All methods may be called from several threads; one writer is used by one thread at a time.
- `read` of an absent blob raises `NotFoundError`; a store that cannot answer raises `VaultUnavailableError`; a full
  one raises `VaultFullError` from `create`, `write` or `commit`, and nothing is left.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from holdfast.content.hashing import Bytes
from holdfast.errors import SettingsError


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob in a listing."""

    name: str
    size_bytes: int
    modified_at: float


class BlobSlice:
    """A part of a blob that lies in a file, for whoever can hand it on without reading it.

    Attributes:
        fd: The file, open for reading; its own offset means nothing.
        offset: Where the part begins.
        length: How many bytes it has; the file has them.
    """

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self.fd, self.offset, self.length = fd, offset, length

    def blocks(self, block_bytes: int) -> Iterator[memoryview]:
        """Yield the bytes; ends early if the file was cut meanwhile."""
        done = 0
        while done < self.length:
            block = os.pread(self.fd, min(block_bytes, self.length - done), self.offset + done)
            if not block:
                return
            yield memoryview(block)
            done += len(block)

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def read_out(
    pieces: Iterable[bytes | memoryview | BlobSlice], block_bytes: int
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of pieces, those of slices in blocks."""
    for piece in pieces:
        if isinstance(piece, BlobSlice):
            yield from piece.blocks(block_bytes)
        else:
            yield piece


class BlobWriter(Protocol):
    """Writes one blob. Call `commit` or `abort` in the end; `abort` after either does nothing."""

    def write(self, pieces: Sequence[Bytes]) -> None:
        """Append bytes; they may change once it returns."""

    def commit(self) -> None:
        """Make the blob durable under its name."""

    def abort(self) -> None:
        """Leave nothing behind."""


class Blobs(Protocol):
    """A store of blobs. See the module for its promises."""

    read_bytes: int
    """How much to ask for in one `read` where a choice is given."""

    def create(self, name: str) -> BlobWriter:
        """Begin a blob."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset``, fewer than ``length`` only where the blob ends."""

    def slice(self, name: str, offset: int, length: int) -> BlobSlice | None:
        """Open a part of a blob; None where the store keeps no files, or the part is not all there."""

    def size(self, name: str) -> int | None:
        """Return the size of a blob, or None if it is absent."""

    def delete(self, name: str) -> None:
        """Remove a blob; an absent one is fine."""

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose names start with a prefix, in any order."""

    def close(self) -> None:
        """Release what is held."""


def open_blobs(url: str, options: Mapping[str, str] | None = None) -> Blobs:
    """Open a store by its URL, making a local folder if it is absent.

    Args:
        url: ``file:///folder``, ``memory:``, or ``s3://bucket/prefix``, ``gs://...``, ``az://...``.
        options: For the latter, options of obstore, for example ``endpoint``, ``region``, ``access_key_id``.

    Raises:
        SettingsError: The URL is none of these, or needs an extra that is not installed.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "file":
            from holdfast.vault.blobs.local import LocalBlobs

            return LocalBlobs(Path(unquote(parts.path)))
        case "memory":
            from holdfast.vault.blobs.memory import MemoryBlobs

            return MemoryBlobs()
        case "s3" | "gs" | "az":
            from holdfast.vault.blobs.objects import ObjectBlobs

            return ObjectBlobs(url, options or {})
    raise SettingsError(
        f"Blobs cannot live at {url!r}.", hint="Use file:///folder, s3://bucket/prefix, gs:// or az://."
    )
