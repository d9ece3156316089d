"""Folders below a root, opened in a way that no symbolic link inside can lead out of it.

**How it works.** Every folder is reached from the root one component at a time, each opened relative to the one
before and never through a symbolic link; files are then created, renamed and removed relative to that folder. The
root itself may be a link: it is the user's word.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Self, TypeAlias

from holdfast.errors import HoldfastError, LocalFileError, TargetExistsError

Parts: TypeAlias = tuple[str, ...]
"""The components of a folder below the root; none for the root itself."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KEPT_OPEN = 64


class Folder:
    """An open folder. Its descriptor is valid while it is held (see `Folders.hold`)."""

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self.path = path
        self.users = 0

    def names(self) -> list[str]:
        """Return what is in the folder."""
        return os.listdir(self.fd)  # noqa: PTH208 - pathlib takes no descriptor

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file of this folder, never through a symbolic link."""
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.fd)

    def has(self, name: str) -> bool:
        """Tell whether anything is at a name, be it a link to nowhere."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def unlink(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def rename(self, old: str, new: str) -> None:
        """Rename a file; what was at the new name is replaced, as a link if it was one."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name. Raises `FileExistsError` when that is taken."""
        os.link(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)


class Folders:
    """The folders below a root. Safe to use from several threads.

    Args:
        root: Made if it is not there.

    Raises:
        LocalFileError: The root cannot be made or opened.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock = threading.Lock()
        self._open: OrderedDict[Parts, Folder] = OrderedDict()
        self.open_files = threading.Semaphore(_KEPT_OPEN)
        """Held for each file that stays open from one chunk to the next."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._top = Folder(os.open(self.root, _OPEN), self.root)
        except OSError as exc:
            raise disk_error(exc, self.root) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all folders; none may be held."""
        for folder in (self._top, *self._open.values()):
            os.close(folder.fd)
        self._open.clear()

    @contextlib.contextmanager
    def hold(self, parts: Parts, *, create: bool = False) -> Iterator[Folder]:
        """Open a folder, and keep it open inside the ``with`` block.

        Args:
            parts: Where it is below the root.
            create: Make what is missing of it.

        Raises:
            FileNotFoundError: It is not there and ``create`` is False.
            TargetExistsError: Something on the way is no folder.
        """
        folder = self._take(parts, create=create) if parts else self._top
        try:
            yield folder
        finally:
            if parts:
                self._give_back(folder)

    def _take(self, parts: Parts, *, create: bool) -> Folder:
        with self._lock:
            folder = self._open.get(parts)
            if folder is None:
                folder = self._open[parts] = self._walk(parts, create=create)
            self._open.move_to_end(parts)
            folder.users += 1
            return folder

    def _give_back(self, folder: Folder) -> None:
        with self._lock:
            folder.users -= 1
            if len(self._open) > _KEPT_OPEN:
                for parts, idle in list(self._open.items())[:-_KEPT_OPEN]:
                    if not idle.users:
                        os.close(self._open.pop(parts).fd)

    def _walk(self, parts: Parts, *, create: bool) -> Folder:
        fd = os.dup(self._top.fd)
        for depth, part in enumerate(parts):
            try:
                inner = _open_inner(fd, part, create=create)
            except OSError as exc:
                if exc.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise _not_a_folder(self.root.joinpath(*parts[: depth + 1])) from exc
                raise
            finally:
                os.close(fd)
            fd = inner
        return Folder(fd, self.root.joinpath(*parts))


def _open_inner(fd: int, part: str, *, create: bool) -> int:
    flags = _OPEN | os.O_NOFOLLOW
    try:
        return os.open(part, flags, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):  # another process may have been faster
        os.mkdir(part, dir_fd=fd)
    return os.open(part, flags, dir_fd=fd)


def _not_a_folder(path: Path) -> TargetExistsError:
    what = "a symbolic link" if path.is_symlink() else "not a folder"
    return TargetExistsError(
        f"{path} is {what}; restoring needs a real folder there and does not go through links.",
        hint="Move it away, or pass root= to restore elsewhere.",
    )


_HINTS = {
    errno.ENOSPC: "The disk is full: free some space and call again; what is complete stays.",
    errno.EDQUOT: "The disk quota is used up: free some space and call again; what is complete stays.",
    errno.EACCES: "You may not write there; pass root= to restore elsewhere.",
    errno.EPERM: "You may not write there; pass root= to restore elsewhere.",
    errno.EROFS: "The file system is read-only; pass root= to restore elsewhere.",
    errno.ENAMETOOLONG: "The file system does not take names of this length.",
}


def disk_error(exc: OSError, path: Path) -> HoldfastError:
    """Return our error for one of the operating system about a local path."""
    if isinstance(exc, HoldfastError):
        return exc
    if isinstance(exc, IsADirectoryError):
        return TargetExistsError(
            f"{path} is a folder.", hint="Move it away, or pass root= to restore elsewhere."
        )
    reason = os.strerror(exc.errno) if exc.errno else str(exc)
    return LocalFileError(f"{path} cannot be written or read: {reason}.", hint=_HINTS.get(exc.errno or 0, ""))
