"""What a restore says: how far it is while it runs, and what became of each file."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.protocol.messages import FileInfo


class Outcome(Enum):
    """What became of one file."""

    RESTORED = "restored"
    UNCHANGED = "unchanged"
    """The target had this very content already; nothing was fetched."""
    FAILED = "failed"
    """The target is as it was."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file of a restore."""

    info: FileInfo
    path: Path
    """The target, absolute."""
    outcome: Outcome
    error: HoldfastError | None = None
    """Why it failed."""


@dataclass(slots=True)
class RestoreReport:
    """What became of every file, in the order in which they were done."""

    files: list[FileResult] = field(default_factory=list)
    bytes_fetched: int = 0
    """Bytes of frames that came from the vault."""
    bytes_reused: int = 0
    """Bytes of content taken from local files, verified."""

    @property
    def failed(self) -> list[FileResult]:
        return [result for result in self.files if result.outcome is Outcome.FAILED]


class RestoreProgress:
    """Counts what is restored; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.files_total = 0
        self.files_done = 0
        self.bytes_total = 0
        self.bytes_done = 0
        """Bytes of verified content that are in place."""
        self.bytes_fetched = 0
        self.bytes_reused = 0

    def add(
        self,
        *,
        files_total: int = 0,
        files_done: int = 0,
        bytes_total: int = 0,
        bytes_done: int = 0,
        bytes_fetched: int = 0,
        bytes_reused: int = 0,
    ) -> None:
        """Move the counters on."""
        with self._lock:
            self.files_total += files_total
            self.files_done += files_done
            self.bytes_total += bytes_total
            self.bytes_done += bytes_done
            self.bytes_fetched += bytes_fetched
            self.bytes_reused += bytes_reused
