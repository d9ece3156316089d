"""What lies in a run directory, at one moment: every entry, how it can be told from what comes later, and its space."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.rundir.layout import RunDirectory

_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a run directory, as one look without following links found it."""

    path: str
    """Relative to the run directory."""
    mode: int
    dev: int
    ino: int
    links: int
    size: int
    mtime_ns: int
    allocated_bytes: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def content(self) -> tuple[int, int, int]:
        """Changes whenever the bytes of a file may have changed."""
        return (self.ino, self.size, self.mtime_ns)


class Survey:
    """All that lies in a run directory.

    Args:
        directory: The run directory.

    Raises:
        OSError: Something in it cannot be looked at.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.entries = list(_walk(directory.path))

    @property
    def files(self) -> list[Entry]:
        """The regular files."""
        return [entry for entry in self.entries if entry.is_file]

    def user_files(self) -> list[Entry]:
        """Return what lies in ``files/``: regular files and links."""
        return [
            entry
            for entry in self.entries
            if entry.path.startswith("files/") and (entry.is_file or entry.is_link)
        ]

    def pins(self) -> list[Entry]:
        """Return the regular files in ``pins/``."""
        return [entry for entry in self.files if entry.path.startswith("pins/")]

    def foreign(self) -> str | None:
        """Return the first entry of the directory itself that Holdfast has not made."""
        tops = (entry.path for entry in self.entries if "/" not in entry.path)
        return next((name for name in tops if not RunDirectory.is_own_entry(name)), None)

    def spans_disks(self) -> bool:
        """Tell whether another file system is mounted in it."""
        return len({entry.dev for entry in self.entries}) > 1

    def is_same_content(self, other: Survey) -> bool:
        """Tell whether nothing in ``files/`` and ``pins/`` was added, removed or changed between two surveys."""
        return self._content() == other._content()

    def _content(self) -> dict[str, tuple[int, int, int] | None]:
        return {
            entry.path: None if entry.is_folder else entry.content
            for entry in self.entries
            if entry.path.startswith(("files/", "pins/"))
        }

    def freed_bytes(self) -> int:
        """Return how much space removing all of it gives back.

        What is allocated counts, so holes do not; a file with several names counts once, and not at all while one of
        its names lies elsewhere. Blocks that reflinks share cannot be told from others.
        """
        here = Counter((entry.dev, entry.ino) for entry in self.files)
        counted: set[tuple[int, int]] = set()
        total = 0
        for entry in self.entries:
            key = (entry.dev, entry.ino)
            if entry.is_file and (key in counted or entry.links > here[key]):
                continue
            counted.add(key)
            total += entry.allocated_bytes
        return total


def _walk(root: Path) -> Iterator[Entry]:
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(root / prefix) as found:
            names = sorted(entry.name for entry in found)
        for name in names:
            entry = _look(root, prefix + name)
            yield entry
            if entry.is_folder:
                folders.append(f"{entry.path}/")


def _look(root: Path, path: str) -> Entry:
    found = os.lstat(root / path)
    return Entry(
        path=path,
        mode=found.st_mode,
        dev=found.st_dev,
        ino=found.st_ino,
        links=found.st_nlink,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        allocated_bytes=found.st_blocks * _BLOCK_BYTES,
    )
