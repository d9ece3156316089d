"""Where things lie in a run directory, and which run directories there are."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.rundir.facts import Opened, from_records
from holdfast.rundir.records import RecordReader

_NAME = re.compile(r"run-\d{8}_\d{6}-.+\Z")
_OWN_ENTRIES = re.compile(
    r"files|pins|logs|journal\.jsonl|sync\.jsonl|progress\.json(\.part)?|syncer\.lease\.\d+"
    r"|capture\.json|[\w.]+\.part\.\d+"
)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The places in one run directory.

    Args:
        path: The directory, absolute.
    """

    path: Path

    @property
    def files(self) -> Path:
        """``run.dir``: the user's files and links to them."""
        return self.path / "files"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def sync_log(self) -> Path:
        return self.path / "sync.jsonl"

    @property
    def progress(self) -> Path:
        """How far the syncer is: a small JSON object, replaced as a whole."""
        return self.path / "progress.json"

    @property
    def capture(self) -> Path:
        """How far the capture process is; see `holdfast.rundir.capturing`."""
        return self.path / "capture.json"

    @property
    def lease(self) -> Path:
        """Which syncer holds the directory."""
        return self.path / "syncer.lease"

    @property
    def pins(self) -> Path:
        return self.path / "pins"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @staticmethod
    def is_own_entry(name: str) -> bool:
        """Tell whether Holdfast has made the entry of this name in a run directory."""
        return _OWN_ENTRIES.fullmatch(name) is not None

    def opened(self) -> Opened | None:
        """Return the first fact of the journal, or None while there is none."""
        for fact in from_records(RecordReader(self.journal).read()):
            if isinstance(fact, Opened):
                return fact
        return None

    @classmethod
    def create(cls, root: Path, run_id: str, *, now: float | None = None) -> RunDirectory:
        """Make a new run directory ``root/run-<local time>-<run_id>`` (a suffix if that is taken).

        Raises:
            OSError: The root cannot be made or written.
        """
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(now))
        root.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            path = root / f"run-{stamp}-{run_id}{f'-{attempt}' if attempt else ''}"
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            found = cls(path)
            for folder in (found.files, found.pins, found.logs):
                folder.mkdir(mode=0o755)
            return found
        raise FileExistsError(f"{root} has a thousand run directories of run {run_id} of one second.")


def find_run_directories(root: Path) -> Iterator[RunDirectory]:
    """Yield the run directories below ``root`` (itself, or its children), oldest first."""
    if (root / "journal.jsonl").exists():
        yield RunDirectory(root.absolute())
        return
    try:
        entries = sorted(entry.name for entry in os.scandir(root) if _NAME.match(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in entries:
        if (root / name / "journal.jsonl").exists():
            yield RunDirectory((root / name).absolute())
