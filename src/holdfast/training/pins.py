"""Pins: what keeps the bytes of a save alive in ``pins/`` until they are stored.

| policy | file | pin |
|---|---|---|
| now | any, where the file system can | reflink: a copy that shares its blocks until one of both is written |
| now | at most 256 KiB | copy |
| now | larger | hard link: holds through delete, rotate and rename-over, not through rewriting in place |
| now | no hard link possible | copy, as long as the budget lasts |
| live, end | any | hard link, else reflink; of an offline run else a copy, as long as the budget lasts |

Where nothing of this is possible there is no pin, and the syncer reads the file at its path.
"""

from __future__ import annotations

import errno
import os
import stat

try:
    import fcntl
except ImportError:  # no reflinks on this system
    fcntl = None  # type: ignore[assignment]

SMALL_BYTES = 256 << 10
_FICLONE = 0x40049409
_COPY_BLOCK = 8 << 20
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Pins:
    """The pins of one run.

    Args:
        folder: ``pins/``, absolute.
        copy_limit: The most bytes that copies in it may take together.
        holds_all: The sources may be out of reach when the run is synced, so where no link is possible copy.
    """

    def __init__(self, folder: str, *, copy_limit: int, holds_all: bool = False) -> None:
        self._folder = folder
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._copy_limit = copy_limit
        self._holds_all = holds_all
        self._copied = 0
        self._can_reflink = fcntl is not None

    def pin(self, source: str, info: os.stat_result, policy: str, name: str) -> tuple[str | None, bool]:
        """Pin a file.

        Args:
            source: Absolute path.
            info: Of the source.
            policy: now, live or end.
            name: For the pin, never used before.

        Returns:
            The pin's name, None if there is none; and whether it is a copy (or reflink), which rewriting the source
            cannot change.

        Raises:
            OSError: The disk is full, or the source cannot be read.
        """
        if policy != "now":
            if self._link(source, name):
                return name, False
            if self._reflink(source, name) or (self._holds_all and self._copy(source, info, name)):
                return name, True
            return None, False
        if self._reflink(source, name):
            return name, True
        if info.st_size <= SMALL_BYTES and self._copy(source, info, name):
            return name, True
        if self._link(source, name):
            return name, False
        if info.st_size > SMALL_BYTES and self._copy(source, info, name):
            return name, True
        return None, False

    def remove(self, name: str) -> None:
        """Remove a pin whose save was not recorded."""
        os.unlink(f"{self._folder}/{name}")

    def close(self) -> None:
        """Let go of the folder; nothing can be pinned afterwards."""
        os.close(self._fd)

    def _link(self, source: str, name: str) -> bool:
        try:
            os.link(
                source, name, dst_dir_fd=self._fd, follow_symlinks=True
            )  # without a dir_fd it follows no link
        except FileNotFoundError:
            raise
        except OSError as exc:
            if exc.errno in _NO_SPACE:
                raise
            return False
        return True

    def _reflink(self, source: str, name: str) -> bool:
        if not self._can_reflink:
            return False
        try:
            origin = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            return False
        target = f"{self._folder}/{name}"
        try:
            copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.ioctl(copy, _FICLONE, origin)
            except OSError as exc:
                os.unlink(target)
                if exc.errno in _NO_SPACE:
                    raise
                self._can_reflink = exc.errno == errno.EXDEV
                return False
            finally:
                os.close(copy)
        finally:
            os.close(origin)
        return True

    def _copy(self, source: str, info: os.stat_result, name: str) -> bool:
        """Copy a file; False if the budget does not allow it, or the source changed meanwhile."""
        if not self._has_room(info.st_size):
            return False
        target = f"{self._folder}/{name}"
        try:
            origin = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            return False
        try:
            copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _copy_bytes(origin, copy, info.st_size)
            except OSError:
                os.unlink(target)
                raise
            finally:
                os.close(copy)
            after = os.fstat(origin)
        finally:
            os.close(origin)
        if (after.st_size, after.st_mtime_ns, after.st_ino) != (info.st_size, info.st_mtime_ns, info.st_ino):
            os.unlink(target)
            return False
        self._copied += info.st_size
        return True

    def _has_room(self, size: int) -> bool:
        if self._copied + size > self._copy_limit:
            self._copied = self._copies_bytes()  # the syncer has removed what is stored
        return self._copied + size <= self._copy_limit

    def _copies_bytes(self) -> int:
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                    total += info.st_size
        return total


def _copy_bytes(origin: int, copy: int, size: int) -> None:
    done = 0
    while done < size:
        block = os.read(origin, min(_COPY_BLOCK, size - done))
        if not block:
            return
        view = memoryview(block)
        while view:
            view = view[os.write(copy, view) :]
        done += len(block)
