"""The seam within the syncer: jobs go to the uploader, outcomes come back.

Following the journal decides *what* is to be stored and by which rule it may be read; the uploader decides *how*.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.protocol.messages import Fidelity


class ReadRule(Enum):
    """What must hold for the bytes that were read to become a version."""

    SETTLED = "settled"
    """The file was quiet for ``quiet_s``, did not change while it was read, and is whole if its format can tell."""
    PREFIX = "prefix"
    """The file only grows: its bytes up to the last whole record, as of the first look; what is stored already
    must be unchanged."""
    PINNED = "pinned"
    """Immutable bytes (a pin): only checked not to change while they are read."""
    ANYWAY = "anyway"
    """As SETTLED, but where a check fails what was read is stored as `Fidelity.UNSETTLED`."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file to store.

    Args:
        name: The file's name within the run.
        path: Where to read it; may be a pin. A symbolic link is followed.
        rule: What must hold for the bytes read.
        policy: Recorded with the version.
        saves: The saves that the version will fulfil; carried along for whoever made the job.
        fidelity: Recorded with the version, unless the reader finds worse.
        quiet_s: For SETTLED and ANYWAY: how long the file must not have changed.
        expect: ``(size, mtime_ns)`` as of a ``now`` save. A file that no longer matches is read under SETTLED
            (or ANYWAY, if that was asked) and stored as `Fidelity.LATER`.
    """

    name: str
    path: Path
    rule: ReadRule
    policy: str = "live"
    saves: tuple[str, ...] = ()
    fidelity: Fidelity = Fidelity.EXACT
    quiet_s: float = 1.0
    expect: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The file is stored: its version survives any crash from now on."""

    job: Job
    version: int
    created: bool
    """False: the vault had this content as the newest version already."""
    digest: bytes
    size: int
    """Of the version; under PREFIX it can be less than the file's."""
    mtime_ns: int
    """Of the file as it was read, like ``ino``."""
    ino: int
    fidelity: Fidelity


@dataclass(frozen=True, slots=True)
class NotReady:
    """The file may not be read at present; try again later.

    ``reason`` is one of the constants of `holdfast.sync.reader`: still being written, cut, rewritten...
    """

    job: Job
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The file cannot be stored as things are: it is gone (`StoredFileNotFoundError`), unreadable, or refused."""

    job: Job
    error: HoldfastError


Outcome = Done | NotReady | Failed


@dataclass(frozen=True, slots=True)
class ProgressState:
    """How far storing is, at one moment."""

    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    """Bytes of file content that the vault holds for sure."""
    bytes_sent: int = 0
    """Bytes of packs that the vault acknowledged."""
    names: tuple[str, ...] = ()
    """The files under way."""


class Progress:
    """Counts what is stored; safe to use from any thread.

    The totals are the follower's to set; everything else is counted by the uploader.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files_total = self._files_done = 0
        self._bytes_total = self._bytes_done = self._bytes_sent = 0
        self._names: dict[str, None] = {}

    def state(self) -> ProgressState:
        """Return the counters as of now."""
        with self._lock:
            return ProgressState(
                self._files_total,
                self._files_done,
                self._bytes_total,
                self._bytes_done,
                self._bytes_sent,
                tuple(self._names),
            )

    def expect(self, files: int, size_bytes: int) -> None:
        """Add to the totals (or take off, with negative figures)."""
        with self._lock:
            self._files_total += files
            self._bytes_total += size_bytes

    def reading(self, name: str) -> None:
        """Note that a file is under way."""
        with self._lock:
            self._names[name] = None

    def held(self, size_bytes: int) -> None:
        """Note bytes of content that the vault holds; negative when a reading was given up."""
        with self._lock:
            self._bytes_done += size_bytes

    def sent(self, size_bytes: int) -> None:
        """Note bytes of a pack that the vault acknowledged."""
        with self._lock:
            self._bytes_sent += size_bytes

    def ended(self, name: str, *, stored: bool) -> None:
        """Note that a file is no longer under way."""
        with self._lock:
            self._names.pop(name, None)
            self._files_done += stored
