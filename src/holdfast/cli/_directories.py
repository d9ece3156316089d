"""The run directories of this user, and what their logs say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import NotFoundError
from holdfast.rundir.facts import Opened, from_records
from holdfast.rundir.layout import RunDirectory, find_run_directories
from holdfast.rundir.lease import lease_is_live
from holdfast.rundir.moved import Whereabouts
from holdfast.rundir.processes import host_name, process_is_alive
from holdfast.rundir.records import RecordReader
from holdfast.rundir.trash import put_back_abandoned
from holdfast.settings import Settings
from holdfast.sync.state import FileState, RunState
from holdfast.sync.watch import find_files


def named_directories(folders: Sequence[Path]) -> list[RunDirectory]:
    """Return the run directories in the folders given, each of which must have some.

    Raises:
        NotFoundError: A folder has none.
    """
    found: dict[Path, RunDirectory] = {}
    for folder in folders:
        for root in (folder.absolute().parent, folder, folder / "holdfast"):
            put_back_abandoned(root)
        inside = list(find_run_directories(folder)) or list(find_run_directories(folder / "holdfast"))
        if not inside:
            raise NotFoundError(f"{folder} is not a run directory and has none in it.")
        found.update((directory.path, directory) for directory in inside)
    return list(found.values())


def known_directories(settings: Settings) -> list[RunDirectory]:
    """Return the run directories below ``./holdfast``, and those elsewhere that are not ended."""
    put_back_abandoned(settings.run_root)
    found = {directory.path: directory for directory in _pending(settings.home)}
    found.update((directory.path, directory) for directory in find_run_directories(settings.run_root))
    return sorted(found.values(), key=lambda directory: directory.path.name)


def _pending(home: Path) -> Iterator[RunDirectory]:
    try:
        entries = sorted((home / "pending").iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            path = Path(entry.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n"))
        except OSError:
            continue  # a syncer has just removed it
        if (path / "journal.jsonl").exists():
            yield RunDirectory(path)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run directory stands."""

    directory: RunDirectory
    facts: RunState
    opened: Opened
    state: str
    """running, syncing, waiting, offline, incomplete, refused or stored."""
    unstored: dict[str, str]
    """The files that are not stored as they are, and why."""

    @property
    def run(self) -> str:
        """The run's path; the entity is left out while nobody has said which."""
        registered = self.facts.registered
        entity = registered.entity if registered else self.opened.entity
        return "/".join([*([entity] if entity else []), self.opened.project, self.opened.run_id])

    @property
    def trouble(self) -> str | None:
        """What keeps the syncer from storing."""
        if self.facts.refused is not None:
            return f"{self.facts.refused.message} {self.facts.refused.hint}".rstrip()
        if self.is_done:
            return None
        try:
            found = json.loads(self.directory.progress.read_text(encoding="utf-8")).get("trouble")
        except (OSError, ValueError, AttributeError):
            return None
        return None if found is None else str(found)

    @property
    def is_done(self) -> bool:
        """Nothing is left to store."""
        return self.state == "stored"


def standing_of(directory: RunDirectory) -> Standing | None:
    """Return where a run directory stands; None for one in which no run was ever opened."""
    facts, whereabouts = RunState(), Whereabouts(directory)
    for log in (directory.journal, directory.sync_log):
        for fact in from_records(RecordReader(log).read()):
            facts.take(whereabouts.here(fact))
    if facts.opened is None:
        return None
    is_over = _is_over(facts, facts.opened)
    unstored = _unstored(directory, facts, is_over=is_over)
    state = _state(directory, facts, unstored, is_over=is_over)
    return Standing(directory, facts, facts.opened, state, unstored)


def _is_over(facts: RunState, opened: Opened) -> bool:
    """Tell whether the training has ended; on another machine it goes on until it says so."""
    if facts.finished is not None:
        return True
    return opened.host == host_name() and not process_is_alive(opened.pid, opened.pid_started)


def _state(directory: RunDirectory, facts: RunState, unstored: dict[str, str], *, is_over: bool) -> str:
    if facts.refused is not None:
        return "refused"
    if not is_over:
        return "running"
    if facts.ended is not None and not unstored:
        return "stored"
    if lease_is_live(directory):
        return "syncing"
    if facts.ended is not None:
        return "incomplete"
    is_offline = facts.opened is not None and facts.opened.mode == "offline"
    return "offline" if is_offline else "waiting"


def _unstored(directory: RunDirectory, facts: RunState, *, is_over: bool) -> dict[str, str]:
    later = "not stored yet" if is_over else "it is stored when the run ends"
    reasons = {name: why for file in facts.files.values() for name, why in _reason(facts, file, later)}
    ignores = facts.opened is not None and facts.opened.ignore_globs
    for found in find_files(directory.files) if facts.ended is None or ignores else ():
        known = facts.ignores(found.name) or found.name in facts.files or found.name in facts.restored
        if facts.ended is None and not known:
            reasons[found.name] = later
    return dict(sorted(reasons.items()))


def _reason(facts: RunState, file: FileState, later: str) -> Iterator[tuple[str, str]]:
    if file.refusal is not None:
        yield file.name, file.refusal.message
    elif facts.ended is not None and file.name in facts.ended.missing:
        yield file.name, facts.ended.missing[file.name]
    elif file.open:
        at_end = all(save.policy == "end" for save in file.open)
        yield file.name, later if at_end else "not stored yet"
