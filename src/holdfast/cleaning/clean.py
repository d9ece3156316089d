"""Removing one run directory, once nothing in it is only there.

**How it works.** Under the directory's lease: its logs must say that the run is over and all of it is stored, nobody may
have a file of it open for writing, and `Prover` must find every byte on the vault. Then it is set aside by a rename, looked
at once more, and removed (`rundir/trash.py`).

**Invariants.**

- Nothing is removed unless, in this very call, the vault had every byte of every file in the directory.
- What lies outside the directory is not touched: of a link the link goes.
- A kill at any moment leaves the directory whole under a name that the next call puts back, or condemned after the proof.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.cleaning.proof import Local, Prover
from holdfast.cleaning.survey import Entry, Survey
from holdfast.errors import CorruptContentError, DirectoryBusyError, LocalFileError
from holdfast.names import RunPath
from holdfast.protocol.vault import Vault
from holdfast.rundir.capturing import read_capture
from holdfast.rundir.facts import Opened, from_records
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.lease import Lease, acquire_lease
from holdfast.rundir.moved import Whereabouts
from holdfast.rundir.processes import boot_name, host_name, process_is_alive, writers_of
from holdfast.rundir.records import RecordReader
from holdfast.rundir.trash import condemn, put_back, remove, set_aside
from holdfast.sync.state import RunState
from holdfast.sync.watch import PART_SUFFIX


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of one run directory.

    Attributes:
        files: How many files of the user were in it.
        freed_bytes: How much space is free now (or would be).
        kept: Why it is still there; None: it is gone (or would be).
        is_proven: Nothing in it is missing on the vault, as far as was looked; it may be kept all the same.
    """

    files: int = 0
    freed_bytes: int = 0
    kept: str | None = None
    is_proven: bool = True


def clean_directory(
    directory: RunDirectory,
    vault: Vault,
    *,
    base_url: str | None,
    older_than_s: float = 0.0,
    dry_run: bool = False,
) -> Cleaned:
    """Remove a run directory if the vault holds every byte of it and nobody is at work on it; else say why not.

    Args:
        directory: The run directory.
        vault: Where its run is stored.
        base_url: Which server that is; None: the embedded vault.
        older_than_s: How long ago the run must have ended.
        dry_run: Do everything but the removal.

    Raises:
        HoldfastError: The vault does not answer. Nothing is removed.
        LocalFileError: What was condemned could not be removed whole; the next call goes on.
    """
    if directory.path.is_symlink():
        return Cleaned(kept="it is a symbolic link; name the folder that it leads to")
    try:
        lease = acquire_lease(directory)
    except DirectoryBusyError:
        return Cleaned(kept="a syncer or another cleaning is at work on it")
    except FileNotFoundError:
        return Cleaned(kept="another process has just taken it away")
    except OSError as exc:
        return Cleaned(kept=f"it cannot be written: {exc.strerror or exc}")
    with lease:
        try:
            cleaning = _Cleaning(directory, vault, lease, base_url, older_than_s)
            reason = cleaning.obstacle()
            if reason is not None or dry_run:
                return cleaning.result(kept=reason)
            trash = cleaning.take_away()
        except CorruptContentError as exc:
            return Cleaned(kept=f"the vault cannot read all of it: {exc.message}", is_proven=False)
        except DirectoryBusyError:
            return Cleaned(kept="a syncer is at work on it")
        except OSError as exc:
            if isinstance(exc, LocalFileError):
                raise
            return Cleaned(kept=f"{exc.filename or 'a file of it'} cannot be read or moved: {exc.strerror}")
    if trash is None:
        return cleaning.result(kept="it changed while it was being cleaned")
    try:
        remove(trash)
    except OSError as exc:
        raise LocalFileError(
            f"{trash.path} could not be removed whole: {exc}.",
            hint="The next `holdfast sync --clean` goes on.",
        ) from exc
    return cleaning.result()


class _Cleaning:
    """One run directory under its lease."""

    def __init__(
        self, directory: RunDirectory, vault: Vault, lease: Lease, base_url: str | None, older_than_s: float
    ) -> None:
        self._directory = directory
        self._vault = vault
        self._lease = lease
        self._base_url = base_url
        self._older_than_s = older_than_s
        self._state = read_state(directory)
        self._survey = Survey(directory)
        self._is_proven = True

    def result(self, *, kept: str | None = None) -> Cleaned:
        files = len(self._survey.user_files())
        return Cleaned(files, self._survey.freed_bytes(), kept, self._is_proven)

    def obstacle(self) -> str | None:
        """Return what keeps the directory from being removed, the cheap reasons first."""
        return (
            why_held(self._directory, self._state, self._older_than_s)
            or self._why_not_ours()
            or self._why_written()
            or self._why_unproven()
        )

    def take_away(self) -> RunDirectory | None:
        """Condemn the directory and return it under its new name; None: it changed, and is as it was.

        Raises:
            DirectoryBusyError: Another syncer was given it.
            OSError: It cannot be renamed.
        """
        self._lease.check()
        aside = set_aside(self._directory)
        is_unchanged = False
        try:
            is_unchanged = Survey(aside).is_same_content(self._survey) and not self._why_written()
        finally:
            if not is_unchanged:
                put_back(aside)
        if not is_unchanged:
            return None
        trash = condemn(aside)
        opened = self._state.opened
        assert opened is not None
        with contextlib.suppress(OSError):
            (Path(opened.home) / "pending" / opened.attempt).unlink()
        return trash

    def _why_not_ours(self) -> str | None:
        foreign = self._survey.foreign()
        if foreign is not None:
            return f"Holdfast has not made {foreign!r} in it"
        if self._survey.spans_disks():
            return "another disk is mounted in it"
        return None

    def _why_written(self) -> str | None:
        found = writers_of({(entry.dev, entry.ino): entry.path for entry in self._survey.files})
        return None if found is None else f"process {found[0]} has {found[1]} open for writing"

    def _why_unproven(self) -> str | None:
        self._is_proven = False
        before = self._state.registered
        ended = self._state.ended
        if before is None or ended is None:
            return "it is not stored yet"
        if before.base_url != self._base_url:
            return f"it is stored at {before.base_url or 'the embedded vault'}, which is not asked now"
        missing = ended.missing or {file.name: "" for file in self._state.files.values() if file.open}
        if missing:
            return f"{next(iter(missing))!r} is not stored" + _and_more(len(missing))
        run = RunPath(before.entity, before.project, before.run_id)
        prover = Prover(self._vault, run, self._lease.keep)
        versions = []
        for file in self._state.files.values():
            if file.stored is None:
                continue
            version = prover.version(file.name, file.stored.version, bytes.fromhex(file.stored.digest))
            if version is None:
                return f"{file.name!r} is not on the vault any more"
            versions.append(version)
        reason = self._why_ignored(prover) or prover.gap([*self._locals(), *self._pins()])
        if reason is None:
            prover.check(versions)  # also of what only a link is here for
        self._is_proven = reason is None
        return reason

    def _why_ignored(self, prover: Prover) -> str | None:
        for file in self._locals():
            name = file.names[0]
            if self._state.ignores(name) and not prover.has(name):
                return f"{name!r} is not stored, as ignore_globs ({self._state.ignored[name]}) wants it"
        return None

    def _locals(self) -> Iterator[Local]:
        for entry in self._survey.user_files():
            if entry.is_file and not entry.path.endswith(PART_SUFFIX):
                name = entry.path.removeprefix("files/")
                yield self._local(entry, repr(name), (name,))

    def _pins(self) -> Iterator[Local]:
        """Yield what is kept as a pin; what has a name in ``files/`` or elsewhere too is not lost with the pin."""
        names = {
            save.file.pin: file.name
            for file in self._state.files.values()
            for save in file.fulfilled
            if save.file.pin is not None
        }
        pins = self._survey.pins()
        here = Counter((entry.dev, entry.ino) for entry in pins)
        for entry in pins:
            if entry.links <= here[entry.dev, entry.ino]:
                name = names.get(entry.path.removeprefix("pins/"))
                yield self._local(entry, entry.path, () if name is None else (name,))

    def _local(self, entry: Entry, shown: str, names: tuple[str, ...]) -> Local:
        return Local(self._directory.path / entry.path, entry.content, shown, names)


def read_state(directory: RunDirectory) -> RunState:
    """Return what the two logs of a run directory say."""
    state, whereabouts = RunState(), Whereabouts(directory)
    for log in (directory.journal, directory.sync_log):
        for fact in from_records(RecordReader(log).read()):
            state.take(whereabouts.here(fact))
    return state


def why_held(directory: RunDirectory, state: RunState, older_than_s: float) -> str | None:
    """Return why a run directory must not be touched whatever is stored: its run goes on, or is too young."""
    opened = state.opened
    if opened is None:
        return "no run was opened in it"
    if state.finished is None:
        reason = _why_alive(opened)
        if reason is not None:
            return reason
    capture = read_capture(directory)
    if capture is not None and capture.is_under_way:
        return "what belongs to its run is still being captured"
    over_at = state.finished.at if state.finished is not None else directory.journal.stat().st_mtime
    if time.time() - over_at < older_than_s:
        return "its run ended too short a time ago"
    return None


def _why_alive(opened: Opened) -> str | None:
    """Return why a training that has not said its end may go on, as far as this machine can tell."""
    if opened.host != host_name():
        return f"its training was begun on {opened.host} and has not said that it ended; clean it there"
    is_near = opened.boot is None or opened.boot == boot_name()
    if is_near and process_is_alive(opened.pid, opened.pid_started):
        return "its training goes on"
    if not is_near and opened.boot is not None and _boot_id(opened.boot) == _boot_id(boot_name()):
        return "its training was begun in another container and has not said that it ended; clean it there"
    return None


def _boot_id(boot: str) -> str:
    return boot.partition("/")[0]


def _and_more(count: int) -> str:
    return f", nor are {count - 1} more" if count > 1 else ""
