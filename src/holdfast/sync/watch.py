"""Watching files by polling: what a look at a file tells, and the evidence that a file only grows.

Polling by `stat` works everywhere: on network disks, in containers, for files that are replaced by a rename or
deleted and made again. A watch is on a path and is never lost.

**When a file may be read while it is being written.** Only by `ReadRule.PREFIX`, and only if all of this was seen: its
bytes are lines of text or TensorFlow records; three times, `GROWTH_GAP_S` apart, it had grown, was still the same
inode and the old end was unchanged; and it was never seen to shrink or to be rewritten.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.content.formats import is_line_text
from holdfast.content.hashing import content_digest

GROWTH_GAP_S = 0.4
GROWTHS_NEEDED = 3
TAIL_BYTES = 64 << 10
PART_SUFFIX = ".holdfast-part"
"""How the names of our own temporary files end."""

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset, length)``: may raise OSError."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What one look at a regular file tells. Two equal ones mean: not changed."""

    size: int
    mtime_ns: int
    ino: int


def look(path: str | Path) -> Signature | None:
    """Return the signature of a regular file (symbolic links are followed), or None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called for thousands of files in a row
    except (OSError, ValueError):
        return None
    return _signature(found) if stat.S_ISREG(found.st_mode) else None


def _signature(found: os.stat_result) -> Signature:
    return Signature(found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file below a folder, or a symbolic link to one."""

    name: str
    path: str
    is_link: bool


def find_files(root: Path) -> Iterator[Found]:
    """Yield the regular files below a folder, hidden ones too, and links to regular files; without our own parts.

    Links to folders are not followed. What cannot be read is left out.
    """
    folders = [(str(root), "")]
    while folders:
        folder, prefix = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, name + "/"))
            elif entry.is_file() and not name.endswith(PART_SUFFIX):
                yield Found(name, entry.path, entry.is_symlink())


@dataclass(slots=True)
class Growth:
    """The evidence whether a file only grows. Fed by `observe`; pure apart from the ``read_at`` it is given."""

    is_trusted: bool = False
    """It may be read by `ReadRule.PREFIX`."""
    is_rewriter: bool = False
    """It was seen to shrink or change other than by growing: never trusted again."""
    _last: Signature | None = None
    _at: float = 0.0
    _tail: bytes = b""
    _count: int = 0

    def observe(self, name: str, seen: Signature, at: float, read_at: ReadAt) -> None:
        """Take in one look at the file.

        Args:
            name: The file's name: event files of TensorFlow are told by it.
            seen: What the look told.
            at: When, on a clock that never goes back.
            read_at: Reads the file as of now.
        """
        last = self._last
        if self.is_rewriter or seen == last:
            return
        try:
            if last is None or seen.ino != last.ino:
                self._start(name, seen, at, read_at, is_other=last is not None)
            elif seen.size <= last.size:
                self._distrust()
            elif at - self._at >= GROWTH_GAP_S:
                self._grown(seen, at, read_at)
        except OSError:
            self._last, self.is_trusted = None, False  # it went away: begin anew when it is back

    def distrust(self) -> None:
        """Note from elsewhere that what was stored of it has changed."""
        self._distrust()

    def _start(self, name: str, seen: Signature, at: float, read_at: ReadAt, *, is_other: bool) -> None:
        self.is_trusted &= not is_other
        self._count = 0
        if not is_growing_format(name, read_at):
            self._last = None
            return
        self._note(seen, at, read_at)

    def _grown(self, seen: Signature, at: float, read_at: ReadAt) -> None:
        last = self._last
        assert last is not None
        if _tail_hash(last.size, read_at) != self._tail:
            self._distrust()
            return
        self._count += 1
        self.is_trusted = self._count >= GROWTHS_NEEDED
        self._note(seen, at, read_at)

    def _note(self, seen: Signature, at: float, read_at: ReadAt) -> None:
        self._tail = _tail_hash(seen.size, read_at)
        self._last, self._at = seen, at

    def _distrust(self) -> None:
        self.is_trusted, self.is_rewriter = False, True


def is_growing_format(name: str, read_at: ReadAt) -> bool:
    """Tell whether a file is of a kind that is usually written by appending whole records."""
    return "tfevents" in name.rpartition("/")[2] or is_line_text(read_at(0, 4096))


def _tail_hash(size: int, read_at: ReadAt) -> bytes:
    length = min(size, TAIL_BYTES)
    return content_digest(read_at(size - length, length))


@dataclass(slots=True)
class Track:
    """What the watcher remembers of one file."""

    seen: Signature | None = None
    looked_at: float = 0.0
    changed_at: float = 0.0
    """When it last changed, as far as is known; on the clock of the looks."""
    growth: Growth = field(default_factory=Growth)
    not_before: float = 0.0
    """No job until then: it failed, or was not ready."""
    next_version: float = 0.0
    """No further live version until then."""
    failures: int = 0
    reason: str | None = None
    """Why it is not stored."""
    is_final: bool = False
    """The run is over and the last that could be done was done."""

    def observe(self, seen: Signature, now: float, wall_now: float) -> None:
        """Take in one look. A change happened when the file says so, but not before the look before this one."""
        if seen != self.seen:
            age = max(0.0, wall_now - seen.mtime_ns / 1e9)
            self.changed_at = max(now - age, self.looked_at) if self.seen else now - age
        self.seen, self.looked_at = seen, now
