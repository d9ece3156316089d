"""Blobs in a folder of a local disk.

**How it works.** A blob is written to ``incoming/<name>.<host>.<pid>.<start>.part``, fsynced, renamed to its place
``<folders>/<first two characters>/<name>``, and the folder is fsynced. All part files lie in one folder, so that those
that a killed process left are found without a scan.

**Invariants**

- After an error of fsync the file is discarded and never fsynced again: the kernel may have dropped its pages.
- A part file is removed only if its process is dead (same host) or it is older than a day.
"""

from __future__ import annotations

import errno
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.content.hashing import Bytes
from holdfast.errors import NotFoundError, VaultFullError, VaultUnavailableError
from holdfast.rundir.processes import process_start
from holdfast.vault.blobs import BlobInfo, BlobSlice

_INCOMING = "incoming"
_PART_AGE_S = 24 * 3600
_IOV_MAX = 1024
_WRITE_BYTES = 256 << 10
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class LocalBlobs:
    """Blobs in a folder, made if it is absent; readable by this user only.

    Args:
        root: The folder. Opening it removes what writers that died have left.
    """

    read_bytes = 4 << 20

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / _INCOMING
        self._folders: set[Path] = set()
        self._tag = f"{_host()}.{os.getpid()}.{_start_of(os.getpid())}"
        with _translated():
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(root)
            self._remove_leftovers()

    def create(self, name: str) -> _Writer:
        """Begin a blob."""
        part = self._incoming / f"{name.replace('/', '+')}.{self._tag}.part"
        return _Writer(part, self._path(name), self._make_folder)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset``. Raises `NotFoundError`."""
        with _translated(name):
            fd = os.open(self._path(name), os.O_RDONLY | _FLAGS)
            try:
                return os.pread(fd, length, offset)
            finally:
                os.close(fd)

    def slice(self, name: str, offset: int, length: int) -> BlobSlice | None:
        """Open a part of a blob, or return None where it is not all there."""
        try:
            fd = os.open(self._path(name), os.O_RDONLY | _FLAGS)
        except OSError:
            return None
        if os.fstat(fd).st_size < offset + length:
            os.close(fd)
            return None
        return BlobSlice(fd, offset, length)

    def size(self, name: str) -> int | None:
        """Return the size of a blob, or None if it is absent."""
        with suppress(FileNotFoundError), _translated():
            return self._path(name).stat().st_size
        return None

    def delete(self, name: str) -> None:
        """Remove a blob; an absent one is fine."""
        with _translated():
            self._path(name).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose names start with a prefix."""
        for folder, _, files in os.walk(self._root):
            place = Path(folder)
            if place == self._incoming:
                continue
            for base in files:
                name = "/".join((*place.relative_to(self._root).parts[:-1], base))
                if name.startswith(prefix):
                    with suppress(FileNotFoundError):
                        stat = (place / base).stat()
                        yield BlobInfo(name, stat.st_size, stat.st_mtime)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _path(self, name: str) -> Path:
        *folders, base = name.split("/")
        return self._root.joinpath(*folders, base[:2], base)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder durable; one that another process just made may not be, so existing is not enough."""
        if folder == self._root or folder in self._folders:
            return
        self._make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
        self._folders.add(folder)

    def _remove_leftovers(self) -> None:
        for part in self._incoming.glob("*.part"):
            with suppress(FileNotFoundError):
                if _is_abandoned(part):
                    part.unlink()


class _Writer:
    def __init__(self, part: Path, target: Path, make_folder: Callable[[Path], None]) -> None:
        self._part = part
        self._target = target
        self._make_folder = make_folder
        with _translated():
            self._fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        self._is_open = True

    def write(self, pieces: Sequence[Bytes]) -> None:
        with self._or_discard():
            for views in _portions(pieces):
                _write_all(self._fd, views)

    def commit(self) -> None:
        with self._or_discard():
            os.fsync(self._fd)
            self._close()
            self._make_folder(self._target.parent)
            self._part.rename(self._target)
            _sync_folder(self._target.parent)

    def abort(self) -> None:
        if self._is_open:
            self._close()
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _or_discard(self) -> Iterator[None]:
        try:
            with _translated():
                yield
        except BaseException:
            with suppress(OSError):
                self._close()
            self._part.unlink(missing_ok=True)
            raise

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._fd)


def _portions(pieces: Sequence[Bytes]) -> Iterator[list[memoryview]]:
    """Yield the bytes of pieces in lists that are written at once.

    More than `_WRITE_BYTES` at once would make the page cache take its largest pages, which may cost four times as much.
    """
    views: list[memoryview] = []
    size = 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while view:
            part, view = view[: _WRITE_BYTES - size], view[_WRITE_BYTES - size :]
            views.append(part)
            size += len(part)
            if size == _WRITE_BYTES or len(views) == _IOV_MAX:
                yield views
                views, size = [], 0
    if views:
        yield views


def _write_all(fd: int, views: list[memoryview]) -> None:
    while views:
        written = os.writev(fd, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _translated(name: str | None = None) -> Iterator[None]:
    """Turn the errors of the operating system into Holdfast's."""
    try:
        yield
    except FileNotFoundError as exc:
        if name is None:
            raise
        raise NotFoundError(f"There is no blob {name}.") from exc
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VaultFullError("The disk of the vault is full.") from exc
        raise VaultUnavailableError(f"The disk of the vault failed: {exc}") from exc


# ---------------------------------------------------------------- part files


def _host() -> str:
    return "".join(c if c.isalnum() else "-" for c in platform.node()) or "host"


def _start_of(pid: int) -> int | None:
    """Return when a process started, in hundredths of a second, or None if there is none."""
    start = process_start(pid)
    return None if start is None else round(start * 100)


def _is_abandoned(part: Path) -> bool:
    fields = part.name.split(".")
    if len(fields) == 5 and fields[1] == _host() and fields[2].isdecimal():
        return str(_start_of(int(fields[2]))) != fields[3]
    return time.time() - part.stat().st_mtime > _PART_AGE_S
