"""Starts syncers: the one of this run, again if it died, and those of run directories that were left behind."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from holdfast.capture import STEPS
from holdfast.capture.scene import Scene
from holdfast.rundir.capturing import CaptureState, write_capture
from holdfast.rundir.facts import Ended, Fact, Opened, Refused, from_records
from holdfast.rundir.layout import RunDirectory, find_run_directories
from holdfast.rundir.lease import lease_is_live
from holdfast.rundir.records import decode_line
from holdfast.settings import Settings, environment_for_syncer
from holdfast.training.synclog import SyncLog
from holdfast.training.terminal import Terminal

_CHECK_INTERVAL_S = 1.0
_LONGEST_RESTART_PAUSE_S = 60.0
_REVIVED_AT_ONCE = 8
_LOCAL_DIRECTORIES = 50
_TAIL_BYTES = 64 << 10


def start_syncer(directory: RunDirectory, settings: Settings) -> subprocess.Popen[bytes]:
    """Start a syncer for a run directory: a process of its own session that outlives this one.

    Raises:
        OSError: No process can be started, or the directory cannot be written.
    """
    return _start("holdfast.syncer", "syncer.log", directory, settings, stdin=subprocess.DEVNULL)


def _start(
    module: str, log_name: str, directory: RunDirectory, settings: Settings, *, stdin: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    directory.logs.mkdir(exist_ok=True)
    environment = environment_for_syncer(settings)
    search_path = environment.get("PYTHONPATH", "")
    if search_path:  # relative folders in it are meant from here, and the process runs elsewhere
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(part).absolute()) for part in search_path.split(os.pathsep)
        )
    with (directory.logs / log_name).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(directory.path)],
            stdin=stdin,
            stdout=log,
            stderr=log,
            cwd=directory.path,
            env=environment,
            start_new_session=True,
        )


class CaptureProcess:
    """The process that captures what belongs to a run, as the training process sees it.

    Args:
        directory: The run directory.
        settings: Those of the run; ``capture`` says which steps are taken.
        terminal: Where it is said that nothing can be captured.
    """

    def __init__(self, directory: RunDirectory, settings: Settings, terminal: Terminal) -> None:
        self._directory = directory
        self._settings = settings
        self._terminal = terminal
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; where that fails say so."""
        steps = tuple(name for name in STEPS if name in self._settings.capture)
        if not steps:
            return
        state = CaptureState.begun(steps)
        try:
            write_capture(self._directory, state)
            with _anonymous_file(Scene.here(self._settings).to_json()) as scene:
                self._process = _start(
                    "holdfast.capture", "capture.log", self._directory, self._settings, stdin=scene
                )
        except OSError as exc:
            self._terminal.warn(f"{', '.join(steps)} cannot be captured: {exc}.")
            for name in steps:
                state = state.with_step(name, exc)
            with contextlib.suppress(OSError):
                write_capture(self._directory, state)

    def wait(self, timeout_s: float) -> None:
        """Wait until all is captured, at most so long."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, timeout_s))


def _anonymous_file(content: bytes) -> IO[bytes]:
    """Return a file without a name that is read from its start: what is in it is on no disk, if the system can do that."""
    if sys.platform == "linux":
        file: IO[bytes] = os.fdopen(os.memfd_create("holdfast-scene"), "w+b")
    else:
        import tempfile

        file = tempfile.TemporaryFile()  # noqa: SIM115 - it is the caller's to close
    file.write(content)
    file.seek(0)
    return file


class SyncerProcess:
    """The syncer of this run, as the training process sees it.

    It belongs to the process that made it: in processes forked off it does nothing.
    """

    def __init__(self, directory: RunDirectory, settings: Settings, log: SyncLog, terminal: Terminal) -> None:
        self._directory = directory
        self._settings = settings
        self._log = log
        self._terminal = terminal
        self._pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._next_check = 0.0
        self._next_start = 0.0
        self._pause = _CHECK_INTERVAL_S
        self._told: Refused | None = None

    def start(self) -> None:
        """Start the syncer; where that fails say so, and `ensure` will try again."""
        self._next_start = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_RESTART_PAUSE_S)
        try:
            self._process = start_syncer(self._directory, self._settings)
        except OSError as exc:
            self._terminal.warn(f"The syncer cannot be started ({exc}); it is tried again later.")

    def stop(self) -> None:
        """End the syncer and wait until it is gone; for a run that did not come about."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def ensure(self) -> None:
        """Start the syncer again if it died. Cheap to call often; looks at most once a second."""
        now = time.monotonic()
        if now < self._next_check or os.getpid() != self._pid:
            return
        self._next_check = now + _CHECK_INTERVAL_S
        if self._process is not None and self._process.poll() is None:
            return
        self._log.look()
        refused = self._log.refused
        if refused is not None and refused != self._told:
            self._told = refused
            self._terminal.warn(f"Nothing is stored: {refused.message} {refused.hint}".rstrip())
        if (
            (refused is not None and refused.is_final)
            or self._log.ended is not None
            or now < self._next_start
        ):
            return
        if not lease_is_live(self._directory):
            self.start()


def add_pending(home: Path, attempt: str, directory: RunDirectory) -> None:
    """List a run directory as not ended, so that any later use of Holdfast by this user can go on with it.

    Raises:
        OSError: The home folder cannot be written.
    """
    folder = home / "pending"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / attempt).write_text(f"{directory.path}\n", encoding="utf-8", errors="surrogateescape")


def remove_pending(home: Path, attempt: str) -> None:
    """Take a run directory off that list."""
    (home / "pending" / attempt).unlink(missing_ok=True)


def revive(settings: Settings, *, own: RunDirectory | None = None) -> list[subprocess.Popen[bytes]]:
    """Start syncers for run directories that were left behind: not ended, and no syncer follows them.

    Looks at what the user's home folder lists and at the newest directories of the local ``holdfast`` folder. Of many
    it takes some by chance, so that each has its turn. Returns the processes; nothing need be done with them.

    Args:
        settings: Which home folder, which local folder.
        own: The run directory of the caller, which is left alone.
    """
    found = {directory.path: directory for directory in _left_behind(settings) if directory != own}
    chosen = random.sample(list(found.values()), min(len(found), _REVIVED_AT_ONCE))
    started = []
    for directory in chosen:
        try:
            started.append(start_syncer(directory, settings))
        except OSError:
            continue  # it is not ours to write; its owner will revive it
    return started


def _left_behind(settings: Settings) -> Iterator[RunDirectory]:
    listed = [*_listed(settings.home), *list(find_run_directories(settings.run_root))[-_LOCAL_DIRECTORIES:]]
    for directory in listed:
        try:
            if directory.path.stat().st_uid != os.getuid() or lease_is_live(directory):
                continue
            opened, last = _first_fact(directory.journal), _last_fact(directory.sync_log)
        except OSError:
            continue  # removed, or on a disk that is away at present
        ended = (isinstance(last, Refused) and last.is_final) or (
            isinstance(last, Ended) and not last.missing
        )
        if isinstance(opened, Opened) and opened.mode == "online" and not ended:
            yield directory


def _listed(home: Path) -> Iterator[RunDirectory]:
    try:
        entries = sorted((home / "pending").iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            text = entry.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
        except OSError:
            continue  # a syncer has removed it just now
        if text:
            yield RunDirectory(Path(text))


def _first_fact(log: Path) -> Fact | None:
    with log.open("rb") as file:
        record = decode_line(file.readline().rstrip(b"\n"))
    return next(from_records([record]), None) if record else None


def _last_fact(log: Path) -> Fact | None:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    records = [record for line in lines[-1:] if (record := decode_line(line))]
    return next(from_records(records), None)
