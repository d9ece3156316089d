"""The syncer: follows one run directory until its run is over and everything is on the vault.

**How it works.** One thread, the follower, owns all that is known (`state`), looks at the disk (`find`, `watch`), decides
(`plan`) and writes the sync log (`ledger`). It never speaks with the vault: that is done by workers, whose reports arrive
in one queue: two lanes for files (`lanes`, fed by `work`) and one for the run itself (`herald`).

**Invariants.**

- Nothing is written to the vault unless the lease is held (`workers.LeasedVault`).
- A fact counts once it is in a log; everything else in memory can be made again from the two logs and the disk.
- ``ended`` with nothing missing is written only when every open save has its version, every file of ``run.dir`` is
  stored as it is now, and the vault knows how the run ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from holdfast.errors import (
    DirectoryBusyError,
    ForbiddenError,
    HoldfastError,
    LocalFileError,
    RunExistsError,
    RunNotFoundError,
    UnauthorizedError,
    UsageError,
)
from holdfast.names import RunPath
from holdfast.protocol.messages import RunInfo
from holdfast.protocol.messages import RunState as Outcome
from holdfast.protocol.vault import Vault
from holdfast.rundir.capturing import read_capture
from holdfast.rundir.facts import Ended, Refused, Registered, Saved, SyncerStarted, from_records
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.lease import Lease, acquire_lease
from holdfast.rundir.moved import Whereabouts
from holdfast.rundir.processes import host_name, process_is_alive
from holdfast.rundir.records import RecordReader
from holdfast.sync.find import Finder
from holdfast.sync.herald import Herald, RunIsOpen, RunIsTold
from holdfast.sync.jobs import Progress
from holdfast.sync.lanes import Backoff
from holdfast.sync.ledger import Ledger, ProgressFile
from holdfast.sync.removing import Remover
from holdfast.sync.report import SyncReport
from holdfast.sync.state import RunState
from holdfast.sync.work import PATIENCE_S, FileWork
from holdfast.sync.workers import Idle, LeasedVault, Report

log = logging.getLogger(__name__)

TICK_S = 0.1
_GLANCE_S = 0.01
TRAINER_LOOK_S = 0.5
GIVE_UP_S = 24 * 3600.0
"""How long after the end of the run the vault may be out of reach until the syncer goes."""
CAPTURE_S = 60.0
"""How long after the end of the run the syncer stays for what is still being captured."""


@dataclass(slots=True)
class _Ending:
    """The run is over: since when (on the monotonic clock), and how it ended."""

    since: float
    state: Outcome
    exit_code: int | None
    is_told: bool = False
    """The vault knows."""


def sync_directory(
    directory: RunDirectory,
    vault: Vault,
    *,
    base_url: str | None,
    follow: bool = False,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    ignore_globs: Sequence[str] = (),
) -> SyncReport:
    """Store what is in a run directory, unless another syncer is at it. Doing so again has no further effect.

    Args:
        directory: The run directory.
        vault: Where to store.
        base_url: Which server the vault is; None: the embedded vault.
        follow: Stay until the run is over, whatever happens to the vault. False: store what is there. If the run is
            over, or was on another machine, everything is stored and the run ended; if it goes on here, what of it is
            live is stored once. Come back with the error if the vault cannot be used.
        stop: Set it (from a signal handler or another thread) to make this come back soon.
        progress: Counts what is stored, for whoever shows it.
        ignore_globs: What is not stored, besides what the run itself ignores.

    Raises:
        DirectoryBusyError: Another living syncer holds the directory.
        LocalFileError: The run directory cannot be written.
    """
    try:
        lease = acquire_lease(directory)
    except OSError as exc:
        if isinstance(exc, HoldfastError):
            raise
        raise LocalFileError(f"{directory.path} cannot be written: {exc.strerror or exc}.") from exc
    with lease:
        return Follower(
            directory,
            vault,
            lease,
            base_url=base_url,
            follow=follow,
            stop=stop or threading.Event(),
            progress=progress or Progress(),
            ignore_globs=ignore_globs,
        ).run()


class Follower:
    """Syncs one run directory. Use once, by `run`.

    Args:
        directory: The run directory.
        vault: Where to store.
        lease: The lease on the directory; the caller releases it.
        base_url: Which server the vault is, for the log; None: the embedded vault.
        follow: Stay until the run is over. False: store what is there, and come back at once when the vault cannot be
            used; a run of another machine that nobody can ask counts as over.
        stop: Set it to make `run` come back soon.
        progress: Counts what is stored.
        ignore_globs: What is not stored, besides what the run itself ignores.
    """

    def __init__(
        self,
        directory: RunDirectory,
        vault: Vault,
        lease: Lease,
        *,
        base_url: str | None,
        follow: bool,
        stop: threading.Event,
        progress: Progress,
        ignore_globs: Sequence[str],
    ) -> None:
        self._directory = directory
        self._lease = lease
        self._base_url = base_url
        self._follow = follow
        self._stop = stop
        self._vault, self._close_vault = LeasedVault.wrap(vault, lease)
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._state = RunState(ignore_globs)
        self._journal = RecordReader(directory.journal)
        self._whereabouts = Whereabouts(directory, is_shared=follow)
        self._ledger = Ledger(directory, self._state)
        self._progress_file = ProgressFile(directory, progress)
        finder = Finder(directory.files, self._state, lease.keep)
        self._work = FileWork(
            directory,
            state=self._state,
            ledger=self._ledger,
            finder=finder,
            progress=progress,
            reports=self._reports,
        )
        self._remover = Remover(
            directory, state=self._state, ledger=self._ledger, reports=self._reports, pulse=lease.check
        )
        self._herald = Herald(self._vault, directory.files, self._reports)
        self._herald_backoff = Backoff()
        self._run: RunPath | None = None
        self._ending: _Ending | None = None
        self._refusal: HoldfastError | None = None
        self._next_trainer_look = 0.0
        self._began = time.monotonic()

    def run(self) -> SyncReport:
        """Sync until there is nothing left to do.

        Raises:
            DirectoryBusyError: Another syncer was given the directory.
        """
        self._read_logs()
        if self._state.opened is None:
            return SyncReport(None, "unknown", 0)
        self._look_at_trainer()
        try:
            if self._was_all_done():
                return self._report(ended=True)
            self._ledger.note(SyncerStarted(host_name(), os.getpid(), time.time()))
            return self._loop()
        finally:
            self._close_vault()
            self._show_progress(at_once=True)
            self._ledger.close()
            for worker in (self._herald.worker, self._remover.worker, *self._work.workers):
                worker.close(timeout_s=1.0)

    def _loop(self) -> SyncReport:
        while not self._stop.is_set():
            self._lease.keep()
            report = self._turn(time.monotonic())
            if report is not None:
                return report
            self._show_progress()
            self._rest_until(time.monotonic() + TICK_S)
            with contextlib.suppress(Empty):
                while True:
                    self._take(self._reports.get_nowait())
            self._ledger.flush()  # before the next job of a name begins
        return self._report()

    def _rest_until(self, tick: float) -> None:
        """Wait for a report, for a word of the training, or for the next tick."""
        while time.monotonic() < tick and not self._journal.has_grown():
            with contextlib.suppress(Empty):
                self._take(self._reports.get(timeout=_GLANCE_S))
                return

    def _turn(self, now: float) -> SyncReport | None:
        self._read_journal()
        if now >= self._next_trainer_look:
            self._next_trainer_look = now + TRAINER_LOOK_S
            self._look_at_trainer()
        error = self._reason_to_go(now)
        if error is not None:
            return self._report(error=error)
        if self._run is None:
            self._open_run(now)
            return None
        self._work.turn(now)
        self._remover.turn(now)
        if self._ending is not None:
            return self._close(self._run, self._ending, now)
        self._herald.keep(self._run, self._state.described)
        return self._report() if not self._follow and self._is_pass_over(now) else None

    def _reason_to_go(self, now: float) -> HoldfastError | None:
        """Return the error that ends the sync although it is not complete."""
        if self._refusal is not None:
            return self._refusal
        trouble = self._trouble()
        is_hopeless = self._ending is not None and now - self._ending.since > GIVE_UP_S
        return trouble if is_hopeless or not self._follow else None

    # ------------------------------------------------------------ what the logs say

    def _read_logs(self) -> None:
        self._read_journal()
        for fact in from_records(RecordReader(self._directory.sync_log).read()):
            self._state.take(fact)
        self._state.try_again()
        self._ledger.unpin_fulfilled()
        self._remover.give_back()
        self._work.wake_all()

    def _read_journal(self) -> None:
        try:
            records = self._journal.read()
        except OSError as exc:  # a network disk that is away for a moment
            log.warning("%s cannot be read: %s", self._directory.journal, exc)
            return
        for fact in map(self._whereabouts.here, from_records(records)):
            self._state.take(fact)
            for item in fact.files if isinstance(fact, Saved) else ():
                self._work.wake(item.name)

    # ------------------------------------------------------------ the run

    def _look_at_trainer(self) -> None:
        opened = self._state.opened
        if self._ending is not None or opened is None:
            return
        if self._state.finished is None:
            if opened.host != host_name():
                if self._follow:
                    return  # nobody here can tell whether it lives
            elif process_is_alive(opened.pid, opened.pid_started):
                return
            self._read_journal()  # what it said between the last look and its end
        finished = self._state.finished
        if finished is None:
            state, exit_code = Outcome.CRASHED, None
        else:
            state, exit_code = Outcome.FAILED if finished.exit_code else Outcome.FINISHED, finished.exit_code
        log.info("The run is over: %s.", state)
        self._ending = _Ending(time.monotonic(), state, exit_code)
        self._work.begin_ending(self._ending.since)
        self._remover.begin_ending()

    def _open_run(self, now: float) -> None:
        opened = self._state.opened
        if opened is None or self._herald.worker.is_busy or not self._herald_backoff.is_over(now):
            return
        before = self._state.registered
        known = before.entity if before is not None and before.base_url == self._base_url else None
        self._herald.open(opened, opened.entity or known)

    def _opened(self, info: RunInfo) -> None:
        opened = self._state.opened
        assert opened is not None
        log.info("The run %s is open.", info.path)
        self._run = info.path
        self._ledger.note(
            Registered(
                entity=info.entity,
                project=info.project,
                run_id=info.run_id,
                name=info.name,
                base_url=self._base_url,
                resumed=info.attempts > 1,
                config=info.config,
                summary=info.summary,
                step=info.step,
                notes=info.notes,
                tags=info.tags,
                group=info.group,
                job_type=info.job_type,
            )
        )
        self._work.open_lanes(self._vault, info.path, opened.attempt)
        self._work.wake_all()

    # ------------------------------------------------------------ reports

    def _take(self, report: Report) -> None:
        if self._work.take(report) or self._remover.take(report):
            return
        match report.item:
            case RunIsOpen(info):
                self._opened(info)
            case RunIsTold(state):
                if self._ending is not None and state is not None:
                    self._ending.is_told = True
            case Idle(error):
                report.worker.is_busy = False
                self._rest(error)

    def _rest(self, error: Exception | None) -> None:
        """The herald has come to the end of an errand."""
        if error is None:
            self._herald_backoff.succeed()
            self._work.troubles.pop(self._herald.worker, None)
            return
        if not isinstance(error, HoldfastError):
            log.error("An error that should not be; trying again.", exc_info=error)
            error = HoldfastError(f"internal error: {error!r}")
        if isinstance(error, DirectoryBusyError):
            raise error
        if self._run is None and self._is_refusal(error):
            self._refusal = error
            self._ledger.note(Refused(error.code, error.message, error.hint))
            return
        self._work.troubles[self._herald.worker] = error
        self._herald_backoff.fail(slow=not error.retryable)

    def _is_refusal(self, error: HoldfastError) -> bool:
        if isinstance(error, UnauthorizedError):
            return self._state.registered is None  # later on, the user may log in again
        return isinstance(error, RunExistsError | RunNotFoundError | ForbiddenError | UsageError)

    def _trouble(self) -> HoldfastError | None:
        return next(iter(self._work.troubles.values()), None)

    def _show_progress(self, *, at_once: bool = False) -> None:
        trouble = self._trouble()
        self._progress_file.show(None if trouble is None else str(trouble), at_once=at_once)

    # ------------------------------------------------------------ the end

    def _is_pass_over(self, now: float) -> bool:
        """Tell whether a run that goes on has nothing more to store for now, or nothing that settles."""
        return (self._work.is_done and self._remover.is_done()) or (
            not self._work.is_busy and now - self._began > PATIENCE_S
        )

    def _was_all_done(self) -> bool:
        """Tell whether the run was over before, with everything on this vault, and nothing has changed since."""
        ended, before = self._state.ended, self._state.registered
        if ended is None or ended.missing or self._ending is None:
            return False
        if before is None or before.base_url != self._base_url or not self._work.needs_nothing():
            return False
        if not self._remover.is_done():
            return False
        self._run = RunPath(before.entity, before.project, before.run_id)
        self._forget_pending()
        return True

    def _close(self, run: RunPath, ending: _Ending, now: float) -> SyncReport | None:
        """Once all is stored, tell the vault how the run ended; once it knows, say so in the log."""
        is_done = self._work.is_done and self._remover.is_done()
        if not is_done or (now - ending.since < CAPTURE_S and self._is_capturing()):
            return None
        if ending.is_told:
            return self._end(ending)
        if self._herald.worker.is_busy or not self._herald_backoff.is_over(now):
            return None
        self._work.sweep()
        self._work.turn(now)
        if self._work.is_done:
            self._herald.end(run, self._state.described, ending.state, ending.exit_code)
        return None

    def _is_capturing(self) -> bool:
        """Tell whether more files of the run's own are about to come; the last step looks for them once more."""
        state = read_capture(self._directory)
        return state is not None and state.is_under_way

    def _end(self, ending: _Ending) -> SyncReport:
        report = self._report(ended=True)
        state = str(ending.state)
        self._ledger.note(Ended(state, ending.exit_code, report.stored, report.missing, time.time()))
        if not report.missing:
            self._forget_pending()
        return report

    def _forget_pending(self) -> None:
        opened = self._state.opened
        assert opened is not None
        with contextlib.suppress(OSError):
            (Path(opened.home) / "pending" / opened.attempt).unlink()

    def _report(self, *, ended: bool = False, error: HoldfastError | None = None) -> SyncReport:
        state = str(self._ending.state) if self._ending is not None else "running"
        stored, missing, ignored = self._state.stored_count(), self._work.missing(), dict(self._state.ignored)
        return SyncReport(self._run, state, stored, missing, ended, error, ignored)
