"""One file on its way to the disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from holdfast.content.hashing import Bytes, content_digest
from holdfast.content.manifests import ChunkPlace
from holdfast.errors import CorruptContentError, HoldfastError
from holdfast.protocol.messages import FileInfo
from holdfast.restoring.digest import ArrivingDigest
from holdfast.restoring.folders import Folders, disk_error
from holdfast.restoring.parts import Part


class FileTask:
    """The restore of one version: its part, and how many chunks are still to come. Safe to use from several threads.

    Args:
        folders: Where it is restored to.
        info: The version.
    """

    def __init__(self, folders: Folders, info: FileInfo) -> None:
        self.info = info
        self.part = Part(folders, info)
        self.places: list[ChunkPlace] = []
        self.error: HoldfastError | None = None
        self.device = 0
        """The file system that the part is on, once it is settled."""
        self.is_published = False
        self.has_failed = False
        """It can never be restored as things are: what was fetched of it is of no use."""
        self._root = folders.root
        self._lock = threading.Lock()
        self._missing = 0
        self._is_complete = False
        self._digest: bytes | None = None
        self._arrived = ArrivingDigest(info.size)

    @property
    def path(self) -> Path:
        """The target, absolute."""
        return self._root / self.info.name

    def expect(self, missing: Sequence[tuple[int, ChunkPlace]]) -> None:
        """Set which chunks are to come, by their offsets; the others are in the part."""
        self._missing = len(missing)
        at = 0
        for offset, place in [*missing, (self.info.size, None)]:
            self._arrived.add(at, offset - at)
            at = offset + (place.raw_len if place else 0)

    def write(self, offset: int, data: Bytes) -> bool:
        """Write a verified chunk that was expected; tell whether it was the last one.

        An error of the disk is noted in ``error``, and the file is then given up.
        """
        if self.error is not None:
            return False
        try:
            if len(data) == self.info.size:
                self.device = self.part.write_whole(data)
                self._digest = content_digest(data)
            else:
                self.part.write(offset, data)
                self._arrived.add(offset, len(data))
                self.part.hash_some(self._arrived)
        except OSError as exc:
            self.fail(disk_error(exc, self.path))
            return False
        with self._lock:
            self._missing -= 1
            return self._missing == 0 and self.error is None

    def complete(self) -> bool:
        """Verify the whole content and give the part its mode and time. Failures are noted in ``error``."""
        try:
            if self._digest is None:
                self.device, self._digest = self.part.settle(self._arrived)
        except OSError as exc:
            self.fail(disk_error(exc, self.path))
            return False
        if self._digest != self.info.digest:
            self.fail(CorruptContentError(f"{self.info.name} as the vault has it does not match its digest."))
            return False
        self._is_complete = True
        return True

    def fail(self, error: HoldfastError) -> None:
        """Give the file up; the first error stands. Its part is removed."""
        with self._lock:
            self.error = self.error or error
            self.has_failed = True
        self.part.discard()

    def interrupt(self, error: HoldfastError) -> None:
        """Note why the file is not finished, unless it is; its part stays for the next restore."""
        with self._lock:
            if not self._is_complete:
                self.error = self.error or error
