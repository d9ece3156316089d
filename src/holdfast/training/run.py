"""The run under way, as the training script sees it.

Everything here only touches the run directory: nothing waits for the network, except where a method says so.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, Self, overload

from holdfast.errors import IncompleteError, UsageError
from holdfast.names import check_file_name
from holdfast.patterns import IgnoreRules
from holdfast.rundir.facts import Finished, Opened, Registered, Restored, Stored, to_record
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.records import RecordWriter
from holdfast.settings import Settings, hold_run
from holdfast.training.console import Console
from holdfast.training.ending import FinishReport, Wait, report_of, tell
from holdfast.training.exits import ExitWatch, exit_at_once, exit_code_of
from holdfast.training.identity import Description, Identity
from holdfast.training.launch import CaptureProcess, SyncerProcess
from holdfast.training.records import Config, History, OwnFile, Summary
from holdfast.training.save import Saver
from holdfast.training.saved import SavedFileHandle, SavedFiles, wait_for_stored
from holdfast.training.synclog import SyncLog
from holdfast.training.terminal import Terminal

if TYPE_CHECKING:
    from holdfast.times import Which

_REGISTER_WAIT_S = 30.0
_CAPTURE_WAIT_S = 10.0
"""How long the end of an offline run waits for what is captured, so that the directory can be moved away then."""


class Restorer(Protocol):
    """Fetches a file of a run from the vault; given to a run by whoever knows the vault."""

    def __call__(
        self,
        settings: Settings,
        name: str,
        run_path: str,
        *,
        root: Path,
        replace: bool,
        version: Which | None,
        mode: str,
        announce: Callable[[str, int], None] | None,
    ) -> IO[Any]:
        """Restore a file and open it; ``announce`` is told digest and size before the file appears."""


class Run(Identity):
    """A training run. Made by `holdfast.init`; usable as a context manager that finishes it.

    Safe to use from several threads. Processes forked off may `save` and `log`; the run is finished by the process
    that began it.

    Attributes:
        config: The configuration; kept with the run.
        summary: The last value of everything logged; kept with the run.
    """

    config: Config
    summary: Summary

    def __init__(
        self,
        directory: RunDirectory,
        opened: Opened,
        *,
        settings: Settings,
        journal: RecordWriter,
        log: SyncLog,
        syncer: SyncerProcess | None,
        capture: CaptureProcess,
        console: Console | None,
        terminal: Terminal,
        restorer: Restorer,
        step: int = 0,
    ) -> None:
        super().__init__(opened, Description(journal, terminal.complain))
        self._directory = directory
        self._settings = settings
        self._journal = journal
        self._terminal = terminal
        self._restorer = restorer
        self._log = log
        self._syncer = syncer
        self._capture = capture
        self._console = console
        self._report: FinishReport | None = None
        self._pid = os.getpid()
        self._unlogged: dict[str, Any] = {}
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._renew_lock)
        history = directory.files / opened.own_name("history.jsonl")
        history.parent.mkdir(parents=True, exist_ok=True)
        self.config = Config(self._own_file("config.yaml"))
        self.summary = Summary(self._own_file("summary.json"))
        self._history = History(history, step, terminal.complain)
        self._ignore = IgnoreRules(opened.ignore_globs)
        self._saver = Saver(
            directory,
            run_root=str(settings.run_root),
            journal=journal,
            copy_limit=settings.pin_copy_limit,
            home=opened.home,
            ignore=self._ignore,
            ignore_source=opened.ignore_source,
            terminal=terminal,
            wait=self._wait_for,
            is_offline=opened.mode == "offline",
        )
        self._exit = ExitWatch(self._finish_at_exit)

    def _own_file(self, name: str) -> OwnFile:
        part = self._directory.path / f"{name}.part"
        return OwnFile(self._directory.files / self._opened.own_name(name), part, self._terminal.complain)

    # ------------------------------------------------------------ where and how far

    @property
    def dir(self) -> str:
        """The folder whose files belong to the run, absolute: what is in it is stored at the end at the latest."""
        return str(self._directory.files)

    @property
    def step(self) -> int:
        """The step that the next `log` without one gets."""
        return self._history.step

    @property
    def is_finished(self) -> bool:
        return self._report is not None

    def __repr__(self) -> str:
        return f"<Run {self.project}/{self.id} in {self._directory.path}>"

    # ------------------------------------------------------------ files

    @overload
    def save(self) -> bool: ...
    @overload
    def save(
        self,
        glob_str: str | bytes | os.PathLike[str] | None = None,
        base_path: str | bytes | os.PathLike[str] | None = None,
        policy: Literal["live", "now", "end"] = "live",
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        glob: bool = True,
        keep_local: Literal["always", "until_stored"] = "always",
    ) -> SavedFiles: ...
    def save(
        self,
        glob_str: object = None,
        base_path: object = None,
        policy: str = "live",
        *,
        path: object = None,
        glob: bool = True,
        keep_local: str = "always",
    ) -> SavedFiles | bool:
        """Keep files with the run.

        Returns in a millisecond whatever the size: the files are linked into `dir` and recorded. When this has
        returned they are not forgotten, whatever dies next; a syncer stores them, now or later.

        Without any argument it makes sure that the run is on the vault (so that `name` is known) and returns whether
        it is.

        Args:
            glob_str: A file, a folder (all that is in it), or a pattern with ``*``, ``?``, ``[...]`` and the recursive
                ``**``. A path that exists is that file, whatever characters it has.
            base_path: The folder that the names within the run are relative to. None: a relative path keeps its
                folders, an absolute one those below the working directory or `dir`, else the folder it lies in.
            policy: ``live``: store now and whenever the file changes. ``now``: store the bytes of this moment, once.
                ``end``: store when the run ends.
            path: The same as ``glob_str``.
            glob: False: take the path as it is written and not as a pattern.
            keep_local: ``until_stored``: the syncer removes the file here once the vault has it, unless it changed since,
                somebody has it open for writing, or another save of it says ``always``. `restore` brings it back.

        Returns:
            A handle for each file, whose `wait` tells when it is stored. Empty, after a warning, if nothing matches.
            Files that the ignore globs leave out are told of and listed in ``ignored`` of the result.
            If the run directory cannot be written (its disk is full), that is a warning too: nothing of the call is
            recorded, `wait` raises `LocalFileError`, and `finish` names the files as missing unless a later call
            saves them.

        Raises:
            CloudUrlError: A cloud storage URL was given.
            UsageError: The call cannot be meant; nothing of it is recorded.
        """
        self._check_running()
        if glob_str is None and path is None:
            if base_path is not None or not glob:
                raise UsageError("save() was given no path.")
            return self._ensure_registered()
        if glob_str is not None and path is not None:
            raise UsageError("save() takes either glob_str or path, not both.")
        argument = path if glob_str is None else glob_str
        saved = self._saver.save(
            argument, base_path=base_path, policy=policy, literal=not glob, keep_local=keep_local
        )
        self._keep_going()
        return saved

    def restore(
        self,
        name: str,
        run_path: str | None = None,
        replace: bool = False,
        root: str | os.PathLike[str] | None = None,
        *,
        version: Which | None = None,
        mode: str = "rb",
    ) -> IO[Any]:
        """Get a file of a run back from the vault, every byte verified. Waits for the network; writes nothing there.

        Args:
            name: The file's name within the run.
            run_path: ``entity/project/id``; None: this run, if it was resumed.
            replace: Overwrite a local file that has other content.
            root: The folder to restore to; None: `dir`.
            version: An older version: its number, or a time (a `datetime.datetime`, or text such as
                ``"2026-11-22T18:00"``) for the one that was the newest then. None: the newest.
            mode: ``"rb"``, or ``"r"`` for text.

        Returns:
            The file, open for reading; its ``name`` is the path.

        Raises:
            UsageError: Neither ``run_path`` nor a resumed run; or the version is no version.
            StoredFileNotFoundError: The run has no such file, or the file no such version.
            TargetExistsError: There is a local file with other content and ``replace`` is False.
        """
        name = check_file_name(name)
        if run_path is None:
            self._await_registration(_REGISTER_WAIT_S)
            if not self.resumed:
                raise UsageError(
                    "There is no earlier state of this run to restore from.",
                    hint='Pass run_path="entity/project/run_id", or resume a run: init(id=..., resume="must").',
                )
            run_path = self.path
        elif "://" not in run_path and run_path.strip("/").count("/") < 2:
            run_path = "/".join(
                [*self.path.split("/")[: -1 - run_path.strip("/").count("/")], run_path.strip("/")]
            )
        folder = Path(self.dir if root is None else root).absolute()
        return self._restorer(
            self._settings,
            name,
            run_path,
            root=folder,
            replace=replace,
            version=version,
            mode=mode,
            announce=self._announcer(folder / name),
        )

    def _announcer(self, target: Path) -> Callable[[str, int], None] | None:
        """What a restore brings into `dir` is not a file of this run; the journal says so before it appears."""
        inside = Path(os.path.normpath(target))
        if self.is_finished or not inside.is_relative_to(self.dir):
            return None
        name = inside.relative_to(self.dir).as_posix()
        return lambda digest, size: self._journal.append(to_record(Restored(name, digest, size)))

    # ------------------------------------------------------------ values

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log values: one line in ``history.jsonl``, and the last values in `summary`.

        NaN and infinities are kept as the texts ``"NaN"``, ``"Infinity"``, ``"-Infinity"``. What the disk does not take
        now, after a warning, is written by a later call.

        Args:
            data: The values by name.
            step: The step they belong to; None: one more than the last.
            commit: False: keep them for the next call, which logs them along with its own.
        """
        self._check_running()
        if not isinstance(data, Mapping):
            raise TypeError(f"log() takes a dictionary, not {data!r} of type {type(data).__name__}.")
        with self._lock:
            if commit is False:
                self._unlogged.update(data)
                return
            row, self._unlogged = {**self._unlogged, **data}, {}
            self.summary.merge(self._history.append(row, step))
        self._keep_going()

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # another thread may have held it when this process was forked off

    # ------------------------------------------------------------ the end

    def finish(
        self, exit_code: int | None = None, timeout: float | None = None, strict: bool | None = None
    ) -> FinishReport:
        """End the run and wait until its files are stored, showing progress; then say which are not, and why.

        What is not stored when this returns is stored by the syncer in the background. Calling again changes nothing.

        Args:
            exit_code: Anything but 0 and None marks the run as failed.
            timeout: The most seconds to wait. None: the setting ``finish_timeout``; without it, as long as bytes
                move (gives up after ``stall_timeout`` seconds without progress).
            strict: Raise if something is missing. None: the setting ``strict``.

        Raises:
            IncompleteError: ``strict``, and not everything is stored.
        """
        if os.getpid() != self._pid:
            self._terminal.warn("finish() was called by a process forked off; the run goes on.")
            return FinishReport(0)
        if self._report is None:
            self._report = self._finish(exit_code or 0, timeout)
        strict = self._settings.strict if strict is None else strict
        if strict and self._report.missing:
            missing = dict(self._report.missing)
            raise IncompleteError(
                f"{len(missing)} of the run's files are not stored: {', '.join(list(missing)[:10])}.",
                details={"missing": missing},
            )
        return self._report

    def _finish(self, exit_code: int, timeout: float | None) -> FinishReport:
        self._exit.remove()
        hold_run(None)
        if self._console is not None:
            self._console.stop()
        try:
            if self._unlogged:
                self.log({})
            for own in (self._description, self._history, self.summary, self.config):
                own.flush()
            self._journal.append(to_record(Finished(exit_code, time.time(), self._saver.gather())))
            self._journal.flush()
        except OSError as exc:
            self._terminal.warn(
                f"The end of the run could not be recorded ({exc}); the syncer finds out by itself."
            )
        report = self._wait_for_end(timeout)
        self._history.close()
        self._saver.close()
        self._journal.close()
        return report

    def _wait_for_end(self, timeout: float | None) -> FinishReport:
        sync = f"`holdfast sync {self._directory.path}`"
        timeout_s = self._settings.finish_timeout if timeout is None else timeout
        if self._syncer is None:
            self._capture.wait(_CAPTURE_WAIT_S if timeout_s is None else min(timeout_s, _CAPTURE_WAIT_S))
            why, next_step = "the run is offline", f"{sync} stores them."
        else:
            self._keep_going()
            waiting = Wait(self._directory, self._log, self._terminal, self._keep_going)
            ended = waiting.until_ended(timeout_s=timeout_s, stall_s=self._settings.stall_timeout)
            refused = self._log.refused
            why = "not stored yet" if refused is None else refused.message
            next_step = f"The upload goes on in the background; {sync} shows it."
            if ended or refused is not None:
                next_step = f"{refused.hint if refused else ''} {sync} tries again.".strip()
            self._capture.wait(0.0)
        report = report_of(self._directory, self._log, self._saver.last, ignore=self._ignore, why_not=why)
        report = FinishReport(report.stored, {**report.missing, **self._saver.refused})
        known = self._opened.entity is not None or self._log.registered is not None
        tell(report, self._terminal, path=self.path if known else None, next_step=next_step)
        return report

    def _finish_at_exit(self, exit_code: int) -> None:
        try:
            self.finish(exit_code)
        except IncompleteError as exc:
            if exit_code == 0:
                self._terminal.warn(str(exc))
                exit_at_once(exc.exit_code)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(exit_code_of(exc), strict=False if exc is not None else None)

    # ------------------------------------------------------------ the syncer

    def _check_running(self) -> None:
        if self._report is not None:
            raise UsageError("The run is finished.", hint="Call holdfast.init() to begin another.")
        self._exit.goes_on()

    def _keep_going(self) -> None:
        if self._syncer is not None:
            self._syncer.ensure()

    def _await_registration(self, timeout_s: float) -> Registered | None:
        """Wait until the vault has the run, has refused it, or the time is up."""

        def is_answered() -> bool:
            self._keep_going()
            return self._log.registered is not None or self._log.refused is not None

        if self._syncer is not None:
            self._log.wait(is_answered, timeout_s)
        return self._log.registered

    def _ensure_registered(self) -> bool:
        if self._await_registration(_REGISTER_WAIT_S) is not None:
            return True
        refused = self._log.refused
        why = (
            refused.message
            if refused
            else "it is offline"
            if self._syncer is None
            else "the vault does not answer"
        )
        self._terminal.warn(f"The run is not on the vault: {why}.")
        return False

    def _wait_for(self, save_id: str, handle: SavedFileHandle, timeout: float | None) -> Stored:
        if self._syncer is None:
            raise UsageError(
                f"{handle.name!r} is not stored while the run is offline.",
                hint=f"`holdfast sync {self._directory.path}` stores it.",
            )
        if handle.policy == "end" and not self.is_finished:
            raise UsageError(f"{handle.name!r} is stored when the run ends.", hint="Call finish() first.")
        return wait_for_stored(self._log, save_id, handle, timeout, self._keep_going)
