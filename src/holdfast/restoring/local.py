"""What is on the local disk already: is the target the file, and which of its chunks can be taken from there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from enum import Enum

from holdfast.content.codecs import MAX_CHUNK_BYTES
from holdfast.content.hashing import chunk_id
from holdfast.content.splitters import choose_splitter
from holdfast.errors import TargetExistsError
from holdfast.protocol.messages import FileInfo
from holdfast.restoring.disk import file_digest
from holdfast.restoring.folders import Folder, Folders

_WINDOW_BYTES = 2 * MAX_CHUNK_BYTES


class Target(Enum):
    """What is at the place that a file is to be restored to."""

    ABSENT = "absent"
    SAME = "same"
    """The very content; also through a symbolic link, which is followed for reading only."""
    OTHER = "other"


def inspect_target(folders: Folders, info: FileInfo) -> Target:
    """Tell what is at a file's target, by its content and never by its size or time alone.

    Raises:
        TargetExistsError: A folder is there, or something that is no folder is on the way to it.
    """
    *parts, name = info.name.split("/")
    try:
        with folders.hold(tuple(parts)) as folder, open_target(folder, name) as fd:
            if fd is None or os.fstat(fd).st_size != info.size:
                return Target.OTHER
            return Target.SAME if file_digest(fd) == info.digest else Target.OTHER
    except FileNotFoundError:
        return Target.ABSENT


@contextlib.contextmanager
def open_target(folder: Folder, name: str) -> Iterator[int | None]:
    """Open what is at a name for reading; None if it is no regular file, nor a link to one.

    Raises:
        FileNotFoundError: Nothing is there.
        TargetExistsError: A folder is there.
    """
    found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        raise TargetExistsError(
            f"{folder.path / name} is a folder.", hint="Move it away, or pass root= to restore elsewhere."
        )
    if stat.S_ISLNK(found.st_mode):
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=folder.fd)
    if not stat.S_ISREG(found.st_mode):
        yield None
        return
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder.fd)
    try:
        yield fd if stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


class Seed:
    """A local file that may hold chunks that are needed. Nothing in it is trusted before it is hashed.

    Args:
        fd: The open file.
        domain_key: The key of the ids.
    """

    def __init__(self, fd: int, domain_key: bytes) -> None:
        self._fd, self._key = fd, domain_key
        self._size = os.fstat(fd).st_size
        self._index: dict[bytes, int] = {}

    def at(self, offset: int, id_: bytes, length: int) -> bytes | None:
        """Return the bytes at an offset if they are this chunk."""
        if offset + length > self._size:
            return None
        data = os.pread(self._fd, length, offset)
        return data if len(data) == length and chunk_id(self._key, data) == id_ else None

    def anywhere(self, id_: bytes, length: int) -> bytes | None:
        """Return the bytes of this chunk if `cut` found it in the file."""
        offset = self._index.get(id_)
        return None if offset is None else self.at(offset, id_, length)

    def cut(self) -> None:
        """Cut the file as an upload of it would, and note where which chunk is."""

        def read_at(offset: int, length: int) -> bytes:
            return os.pread(self._fd, length, offset)

        splitter = choose_splitter(self._size, read_at)
        offset, window = 0, b""
        while offset < self._size:
            window += os.pread(self._fd, _WINDOW_BYTES - len(window), offset + len(window))
            final = offset + len(window) >= self._size
            at = 0
            view = memoryview(window)
            for piece in splitter.cut(view, offset=offset, final=final):
                self._index.setdefault(chunk_id(self._key, view[at : at + piece.length]), offset + at)
                at += piece.length
            if not at:
                return  # the file shrank under our hands
            offset, window = offset + at, window[at:]
