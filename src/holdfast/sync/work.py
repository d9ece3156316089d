"""The work on the files of a run: which are due, what is decided, what is under way, and what came of it.

At most one job per name is under way, and what came of it is in the sync log before the next job of that name begins.
So a syncer that is killed and started again stores nothing twice and mixes up no order.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from queue import SimpleQueue

from holdfast.errors import (
    HoldfastError,
    InvalidNameError,
    LocalFileError,
    StoredFileNotFoundError,
    UsageError,
)
from holdfast.names import RunPath, check_file_name
from holdfast.protocol.vault import Vault
from holdfast.rundir.facts import NotStored, Stored
from holdfast.rundir.layout import RunDirectory
from holdfast.sync.find import Finder
from holdfast.sync.jobs import Done, Failed, NotReady, Outcome, Progress, ReadRule
from holdfast.sync.lanes import BIG_BYTES, Lane
from holdfast.sync.ledger import Ledger
from holdfast.sync.plan import DELETED, Fulfil, Later, Lost, Plan, Planner, Terms
from holdfast.sync.reader import REWRITTEN
from holdfast.sync.state import FileState, RunState
from holdfast.sync.upload import Uploader
from holdfast.sync.watch import Track
from holdfast.sync.workers import Idle, Report, Worker

log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long after the end of the run a file may go on changing until it is read as it is."""
END_QUIET_S = 0.3
_GONE_LOOK_S = 1.0
_NOT_READY_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_ALWAYS_GROWING = ("history.jsonl", "output.log")


class FileWork:
    """Stores the files of one run directory. For one thread.

    Args:
        directory: The run directory.
        state: What its logs say.
        ledger: Where it is noted what came of each file.
        finder: Finds what changed.
        progress: Counts what is stored.
        reports: Where the lanes report; whoever reads it hands reports on to `take`.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        state: RunState,
        ledger: Ledger,
        finder: Finder,
        progress: Progress,
        reports: SimpleQueue[Report],
    ) -> None:
        self._directory = directory
        self._state = state
        self._ledger = ledger
        self._finder = finder
        self._progress = progress
        self._reports = reports
        self._planner = Planner(directory.pins)
        self._tracks: dict[str, Track] = {}
        self._due: dict[str, float] = {}
        """When to look next at each file that needs something."""
        self._under_way: set[str] = set()
        self._expected: dict[str, int] = {}
        """The sizes of the files that the totals of the progress count and that are not stored yet."""
        self._big: set[str] = set()
        self._lanes: dict[bool, Lane] = {}
        """The lane of the big files (True), and the one of the others."""
        self._ending_since: float | None = None
        self.troubles: dict[Worker, HoldfastError] = {}
        """Why a lane stands still."""

    @property
    def is_done(self) -> bool:
        """Nothing is due or under way."""
        return not self._due and not self._under_way

    @property
    def is_busy(self) -> bool:
        """Something is under way."""
        return bool(self._under_way)

    @property
    def workers(self) -> list[Worker]:
        return [lane.worker for lane in self._lanes.values()]

    def open_lanes(self, vault: Vault, run: RunPath, attempt: str) -> None:
        """Begin to store files with a run that is open."""
        for is_big, name in ((True, "holdfast-big"), (False, "holdfast-small")):
            uploader = Uploader(vault, run, attempt, progress=self._progress)
            self._lanes[is_big] = Lane(name, uploader, self._reports)

    def wake(self, name: str) -> None:
        """Look at a file now."""
        self._due[name] = 0.0

    def wake_all(self) -> None:
        """Look at every file now."""
        self._due = dict.fromkeys(self._state.files, 0.0)

    def begin_ending(self, now: float) -> None:
        """The run is over: everything is wanted now."""
        self._ending_since = now
        for track in self._tracks.values():
            track.not_before = 0.0
        self.sweep()

    def sweep(self) -> None:
        """Make everything in ``run.dir`` a file of the run, and look at all files."""
        self._finder.adopt_everything()
        self.wake_all()

    def needs_nothing(self) -> bool:
        """Tell whether every file is stored as it is, by looks alone."""
        terms = self._terms(time.monotonic())
        return all(
            self._planner.decide(self._state.file(n), self._track(n), terms) is None for n in self._due
        )

    def turn(self, now: float) -> None:
        """Look for changes, decide, and send to the lanes what may be stored."""
        for name in self._finder.changed(now):
            if name not in self._under_way:
                self._due.setdefault(name, now)
        if any(lane.is_free(now) for lane in self._lanes.values()):
            self._send(now)

    def missing(self) -> dict[str, str]:
        """Return what is not stored, and why."""
        missing = {}
        for file in self._state.files.values():
            track = self._tracks.get(file.name)
            reason = track.reason if track is not None else None
            if file.refusal is not None:
                missing[file.name] = file.refusal.message
            elif file.open or reason is not None:
                missing[file.name] = reason or "not stored yet"
        return missing

    # ------------------------------------------------------------ deciding

    def _terms(self, now: float) -> Terms:
        opened = self._state.opened
        assert opened is not None
        since = self._ending_since
        quiet_s = opened.quiet_s if since is None else min(opened.quiet_s, END_QUIET_S)
        return Terms(now, time.time(), quiet_s, since is not None, since is None or now - since < PATIENCE_S)

    def _track(self, name: str) -> Track:
        track = self._tracks.get(name)
        if track is None:
            track = self._tracks[name] = Track()
            file = self._state.file(name)
            if name.rpartition("/")[2] in _ALWAYS_GROWING:
                track.growth.is_trusted = file.path == str(self._directory.files / name)
            self._check_name(file, track)
        return track

    def _check_name(self, file: FileState, track: Track) -> None:
        try:
            check_file_name(file.name)
        except InvalidNameError as exc:
            self._refuse(file, track, exc)

    def _send(self, now: float) -> None:
        free = {is_big: lane.is_free(now) for is_big, lane in self._lanes.items()}
        terms = self._terms(now)
        plans: dict[bool, list[Plan]] = {True: [], False: []}
        size = {True: 0, False: 0}
        for name in list(self._due) if free[False] else self._big & self._due.keys():
            if self._due[name] > now or name in self._under_way or not free[name in self._big]:
                continue
            plan = self._decide(name, terms)
            if plan is not None:
                is_big = self._is_big(plan)
                plans[is_big].append(plan)
                size[is_big] += plan.size
                free[is_big] &= not self._lanes[is_big].is_full(len(plans[is_big]), size[is_big])
        for is_big, lane in self._lanes.items():
            if plans[is_big] and lane.is_free(now):
                self._under_way.update(plan.job.name for plan in lane.send(plans[is_big]))

    def _is_big(self, plan: Plan) -> bool:
        if plan.size > BIG_BYTES and plan.job.rule is not ReadRule.PREFIX:
            self._big.add(plan.job.name)  # and stays there: a lane knows what it stored of a growing file
        return plan.job.name in self._big

    def _decide(self, name: str, terms: Terms) -> Plan | None:
        """Return what is to be stored of a file now; see to all that is not storing."""
        file, track = self._state.file(name), self._track(name)
        while True:
            match self._planner.decide(file, track, terms):
                case Plan() as plan:
                    self._expect(name, plan.size)
                    return plan
                case Fulfil(saves):
                    assert file.stored is not None
                    self._ledger.note(replace(file.stored, created=False, saves=list(saves)))
                case Later(at):
                    self._due[name] = at
                    self._expect(name, track.seen.size if track.seen else 0)
                    return None
                case Lost(saves):
                    self._lose(file, track, saves, terms)
                    return None
                case None:
                    if not track.is_final and file.refusal is None:
                        track.reason = None
                    self._due.pop(name, None)
                    self._expect(name, None)
                    return None

    def _lose(self, file: FileState, track: Track, saves: tuple[str, ...], terms: Terms) -> None:
        self._complain(file, track, StoredFileNotFoundError(f"{file.name!r} was {DELETED}."), saves)
        self._expect(file.name, None)
        # It may come back, or be saved anew.
        self._due[file.name] = terms.now if track.is_final else terms.now + _GONE_LOOK_S

    def _expect(self, name: str, size: int | None) -> None:
        """Let the totals of the progress count a file that is to be stored (None: not any more)."""
        before = self._expected.pop(name, None)
        if before is not None:
            self._progress.expect(-1, -before)
        if size is not None:
            self._expected[name] = size
            self._progress.expect(1, size)

    # ------------------------------------------------------------ what came of it

    def take(self, report: Report) -> bool:
        """Take in the report of a lane; False: it is not from a lane."""
        lane = next((lane for lane in self._lanes.values() if lane.worker is report.worker), None)
        if lane is None:
            return False
        match report.item:
            case Idle(error):
                lane.worker.is_busy = False
                self._rest(lane, error)
            case outcome:
                self._under_way.discard(outcome.job.name)
                self._judge(outcome, *lane.finish(outcome.job.name))
        return True

    def _judge(self, outcome: Outcome, plan: Plan, took_s: float) -> None:
        name = outcome.job.name
        file, track = self._state.file(name), self._track(name)
        now = time.monotonic()
        self._due[name] = now
        match outcome:
            case Done():
                self._stored(outcome, file, track, plan, took_s)
            case NotReady(job, reason):
                if reason == REWRITTEN and job.rule is ReadRule.PREFIX:
                    track.growth.distrust()
                track.not_before = now + min(job.quiet_s, _NOT_READY_PAUSE_S)
                if plan.is_last:
                    self._complain(
                        file, track, LocalFileError(f"{name!r} cannot be read: {reason}."), job.saves
                    )
            case Failed(_, StoredFileNotFoundError()):
                track.not_before = now + 0.1  # then its pin is read, or it is back
            case Failed(_, UsageError() as error):
                self._refuse(file, track, error)
            case Failed(job, error):
                self._put_off(track, now)
                self._complain(file, track, error, job.saves)

    def _stored(self, done: Done, file: FileState, track: Track, plan: Plan, took_s: float) -> None:
        opened = self._state.opened
        assert opened is not None
        track.reason, track.failures, track.is_final = None, 0, plan.is_last
        track.next_version = time.monotonic() + max(opened.live_interval_s, min(60.0, 10 * took_s))
        before = self._expected.pop(file.name, None)
        self._progress.expect(int(before is None), done.size - (before or 0))
        self._ledger.note(
            Stored(
                name=file.name,
                version=done.version,
                digest=done.digest.hex(),
                size=done.size,
                mtime_ns=done.mtime_ns,
                ino=done.ino,
                fidelity=str(done.fidelity),
                created=done.created,
                saves=list(done.job.saves),
                grown=done.job.rule is ReadRule.PREFIX,
            )
        )
        if not file.open:
            self._due.pop(file.name, None)  # a change since then is found by looking

    def _complain(self, file: FileState, track: Track, error: HoldfastError, saves: tuple[str, ...]) -> None:
        """Note why a file is not stored: once while that may change, and for good when the run is over."""
        track.is_final = self._ending_since is not None
        if track.is_final or track.reason != error.message:
            track.reason = error.message
            self._ledger.note(
                NotStored(
                    file.name, error.code, error.message, retrying=not track.is_final, saves=list(saves)
                )
            )

    def _refuse(self, file: FileState, track: Track, error: HoldfastError) -> None:
        if file.refusal is None:
            track.reason = error.message
            saves = [save.save_id for save in file.open]
            self._ledger.note(NotStored(file.name, error.code, error.message, retrying=False, saves=saves))

    def _put_off(self, track: Track, now: float) -> None:
        track.failures += 1
        track.not_before = now + min(2.0**track.failures, _LONGEST_PAUSE_S)

    def _rest(self, lane: Lane, error: Exception | None) -> None:
        """A lane has come to the end of its batch."""
        left = lane.give_up()
        self._under_way.difference_update(plan.job.name for plan in left)
        if error is None:
            lane.backoff.succeed()
            self.troubles.pop(lane.worker, None)
            return
        if not isinstance(error, HoldfastError):
            log.error("An error that should not be; the files are tried again.", exc_info=error)
            error = HoldfastError(f"internal error: {error!r}")
            self._suspect(lane, left, error)
        self.troubles[lane.worker] = error
        lane.backoff.fail(slow=not error.retryable)

    def _suspect(self, lane: Lane, left: list[Plan], error: HoldfastError) -> None:
        """After an error of our own: store one file at a time, and put off the one that it happens with."""
        for plan in left if lane.is_careful else ():
            track = self._track(plan.job.name)
            self._put_off(track, time.monotonic())
            self._complain(self._state.file(plan.job.name), track, error, plan.job.saves)
        lane.is_careful = True
