"""Part files: where a file grows until every byte of it is verified.

**How it works.** A part lies in the folder of its target, under a hidden name that says which file and which content
it is for, and which process writes it. A restore that is killed leaves its parts; the next restore of the same
content *adopts* them: it takes them over by renaming, which only one process can do, hashes again what is there and
fetches the rest. Parts of the same file for another content are removed.

**Invariants**

- Only the process that a part is named after writes to it, and only verified chunks.
- A part of a process that may still live is never touched.
- A part with a second name (a restore was killed while it published) is never written: the other name is the target.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator

from holdfast.content.hashing import Bytes, content_digest
from holdfast.protocol.messages import FileInfo
from holdfast.restoring.digest import ArrivingDigest
from holdfast.restoring.disk import WRITE_BYTES
from holdfast.restoring.folders import Folder, Folders, Parts
from holdfast.rundir.processes import boot_name, host_name, process_is_alive, process_start
from holdfast.sync.watch import PART_SUFFIX

_NAME = re.compile(
    r"\..*\.(?P<file>[0-9a-f]{12})-(?P<content>[0-9a-f]{16})"
    r"\.(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}\.holdfast-part\Z"
)
_NAME_BYTES = 160
_FOREIGN_IS_DEAD_AFTER_S = 24 * 3600.0
_ABANDONED = "00000000-0-0"
_KEPT_OPEN_FROM = 4 << 20


class Part:
    """The part file of one version that is being restored.

    Args:
        folders: Where it is restored to.
        info: The version.
    """

    def __init__(self, folders: Folders, info: FileInfo) -> None:
        *parts, self.target = info.name.split("/")
        self.parts: Parts = tuple(parts)
        self._folders = folders
        self._info = info
        self._file_tag = content_digest(self.target.encode())[:6].hex()
        self._content_tag = info.digest[:8].hex()
        self.name = self._named(_owner())
        self._lock = threading.Lock()
        self._fd = -1
        self._users = 0
        self._may_stay_open = info.size >= _KEPT_OPEN_FROM

    def _named(self, owner: str) -> str:
        shown = self.target.encode()[:_NAME_BYTES].decode(errors="ignore")
        return f".{shown}.{self._file_tag}-{self._content_tag}.{owner}-{secrets.token_hex(4)}{PART_SUFFIX}"

    def adopt(self, leftovers: Leftovers) -> bool:
        """Take over what a dead restore left of this very content. Tells whether there is something to go on with."""
        with self._folders.hold(self.parts, create=True) as folder:
            found = leftovers.take(folder, self.parts, self._file_tag)
            mine = [name for name, content in found if content == self._content_tag]
            adopted = any(self._take_over(folder, name) for name in mine[:1])
            for name, _ in found:
                folder.unlink(name)
        return adopted

    def _take_over(self, folder: Folder, name: str) -> bool:
        try:
            folder.rename(name, self.name)
            fd = self.open()
        except OSError:
            return False  # another process was faster, or it is no file
        try:
            found = os.fstat(fd)
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
        usable = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if not usable:
            folder.unlink(self.name)
        return usable

    def open(self, flags: int = os.O_RDONLY) -> int:
        """Open the part; with ``os.O_CREAT`` it is made if it is not there."""
        with self._folders.hold(self.parts, create=True) as folder:
            return folder.open(self.name, flags | os.O_NONBLOCK)

    def write(self, offset: int, data: Bytes) -> None:
        """Write verified bytes."""
        with self._kept() as fd:
            _write_all(fd, offset, data)

    def hash_some(self, arrived: ArrivingDigest) -> None:
        """Go on with the digest of what was written."""
        with self._kept() as fd:
            arrived.hash_some(fd)

    def write_whole(self, data: Bytes) -> int:
        """Write the verified bytes of the whole file, with its mode and time; return the device that it is on."""
        with self._opened(os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            _write_all(fd, 0, data)
            return self._dress(fd)

    def settle(self, arrived: ArrivingDigest) -> tuple[int, bytes]:
        """Give the part the size, mode and time of the version; return its device and the digest of its bytes."""
        self._let_go()
        with self._opened(os.O_RDWR | os.O_CREAT) as fd:
            os.ftruncate(fd, self._info.size)
            return self._dress(fd), arrived.finish(fd)

    def _dress(self, fd: int) -> int:
        os.fchmod(fd, self._info.mode & 0o777 | stat.S_IRUSR)
        os.utime(fd, ns=(self._info.mtime_ns, self._info.mtime_ns))
        return os.fstat(fd).st_dev

    @contextlib.contextmanager
    def _kept(self) -> Iterator[int]:
        """Open the part, and leave it open for the next chunk if that may be."""
        with self._lock:
            if self._fd < 0:
                self._fd = self.open(os.O_RDWR | os.O_CREAT)
                self._may_stay_open = self._may_stay_open and self._folders.open_files.acquire(blocking=False)
            self._users += 1
        try:
            yield self._fd
        finally:
            with self._lock:
                self._users -= 1
                if not self._may_stay_open:
                    self._close_if_unused()

    def _let_go(self) -> None:
        """Close the part once nobody is at it."""
        with self._lock:
            if self._fd >= 0 and self._may_stay_open:
                self._folders.open_files.release()
            self._may_stay_open = False
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._fd >= 0 and not self._users:
            os.close(self._fd)
            self._fd = -1

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        fd = self.open(flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def discard(self) -> None:
        """Remove the part, if there is one."""
        self._let_go()
        with contextlib.suppress(FileNotFoundError), self._folders.hold(self.parts) as folder:
            folder.unlink(self.name)

    def abandon(self) -> None:
        """Leave the part to the next restore, whichever process that is in."""
        self._let_go()
        with contextlib.suppress(FileNotFoundError), self._folders.hold(self.parts) as folder:
            folder.rename(self.name, self._named(_ABANDONED))


def _write_all(fd: int, offset: int, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view[:WRITE_BYTES], offset)
        view, offset = view[written:], offset + written


class Leftovers:
    """What dead restores left in the folders of one restore, listed once a folder. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Parts, dict[str, list[tuple[str, str]]]] = {}

    def take(self, folder: Folder, parts: Parts, file_tag: str) -> list[tuple[str, str]]:
        """Return the names of the dead parts of a file and the content that each is for; each is returned once."""
        with self._lock:
            if parts not in self._found:
                self._found[parts] = _dead_parts(folder)
            return self._found[parts].pop(file_tag, [])


def _dead_parts(folder: Folder) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for name in folder.names():
        match = _NAME.match(name) if name.endswith(PART_SUFFIX) else None
        if match and _is_dead(folder, name, match):
            found.setdefault(match["file"], []).append((name, match["content"]))
    return found


def _is_dead(folder: Folder, name: str, match: re.Match[str]) -> bool:
    if match["pid"] == "0":
        return True
    if match["place"] == _place():
        return not process_is_alive(int(match["pid"]), float(match["start"]))
    try:
        changed = os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mtime
    except OSError:
        return False
    return time.time() - changed > _FOREIGN_IS_DEAD_AFTER_S


@functools.cache
def _place() -> str:
    return content_digest(f"{host_name()}/{boot_name()}".encode())[:4].hex()


def _owner() -> str:
    return _owner_of(os.getpid())


@functools.cache
def _owner_of(pid: int) -> str:
    return f"{_place()}-{pid}-{round(process_start(pid) or 0)}"
