"""Begins a run: makes its directory, starts its syncer, and waits for the vault only where ``resume`` asks for it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.credentials import load_credential, server_url
from holdfast.errors import (
    HoldfastError,
    LocalFileError,
    SettingsError,
    StoredFileNotFoundError,
    VaultUnavailableError,
)
from holdfast.names import check_label, new_run_id
from holdfast.rundir.facts import Finished, Opened, Registered, Restored, Watched, from_records, to_record
from holdfast.rundir.layout import RunDirectory, find_run_directories
from holdfast.rundir.processes import boot_name, host_name, process_is_alive, process_start
from holdfast.rundir.records import RecordReader, RecordWriter
from holdfast.settings import HeldRun, Settings, hold_run, launcher_rank
from holdfast.training.console import Console, OutputLog
from holdfast.training.disabled import DisabledRun
from holdfast.training.ending import read_progress
from holdfast.training.launch import CaptureProcess, SyncerProcess, add_pending, remove_pending, revive
from holdfast.training.records import last_step, values_of
from holdfast.training.rules import CAPTURED, HISTORY, OUTPUT, OWN_FILES, SUMMARY
from holdfast.training.run import Restorer, Run
from holdfast.training.surroundings import imports_for_spawn, run_is_held_above
from holdfast.training.synclog import SyncLog, rebuilt_error
from holdfast.training.terminal import Terminal

EVENT_FILES = "**/*tfevents*"
"""TensorBoard's event files in ``run.dir``, which people look at while they are written."""


def start_run(settings: Settings, *, config: Any, restorer: Restorer) -> Run:
    """Begin a run.

    Does not wait for the network, unless ``settings.resume`` is given: then it waits until the vault has answered.

    Args:
        settings: The settings in force.
        config: What the run's config is to hold, or None.
        restorer: Fetches files from the vault.

    Raises:
        UsageError: The run id, project or entity is not a valid name, or the config file cannot be read.
        LocalFileError: The run directory cannot be made.
        RunNotFoundError: ``resume="must"`` and there is no such run.
        RunExistsError: ``resume="never"`` and the run exists.
        VaultUnavailableError: ``resume`` is must or never, and the vault did not answer within ``settings.init_timeout``.
    """
    terminal = Terminal(silent=settings.silent)
    given = {} if config is None else values_of(config)
    run_id, resume = _identity(settings)
    is_spawned = imports_for_spawn()
    if is_spawned:
        terminal.warn(
            "A worker that multiprocessing spawns imports the script, so init() begins no run in it. Call init() below "
            '`if __name__ == "__main__":`.'
        )
    elif run_id is not None and run_is_held_above(run_id, _rank(settings)):
        terminal.warn(
            f"Run {run_id} is that of the process which started this one; this one gets a run of its own. To share it, "
            "give each process its rank: HOLDFAST_RANK."
        )
        run_id, resume = None, None
    run_id = check_label(run_id or new_run_id(), "run id")
    check_label(settings.project, "project")
    if settings.mode == "disabled" or is_spawned:
        disabled = DisabledRun(settings, run_id)
        disabled.config.update(given)
        return disabled
    try:
        directory = RunDirectory.create(settings.run_root, run_id)
        journal = RecordWriter(directory.journal)
        opened = _opened(settings, directory, run_id, resume)
        live = (*(opened.own_name(name) for name in (*OWN_FILES, *CAPTURED)), EVENT_FILES)
        journal.append(to_record(opened), *(to_record(Watched(name, "live")) for name in live))
    except OSError as exc:
        raise LocalFileError(
            f"No run directory can be made in {settings.run_root}: {exc}.",
            hint="Set HOLDFAST_DIR to a folder that can be written.",
        ) from exc
    log = SyncLog(directory)
    syncer = SyncerProcess(directory, settings, log, terminal) if opened.mode == "online" else None
    found = None
    if syncer is not None and resume is not None:
        _start_syncers(directory, opened, settings, syncer, terminal)
        try:
            found = _answer(directory, opened, log, syncer, terminal, timeout_s=settings.init_timeout)
        except BaseException:
            journal.close()
            _abandon(directory, opened, settings, syncer)
            raise
    past = _Past()
    if found is not None and found.resumed:
        past = _take_up(
            directory, opened, found, settings=settings, journal=journal, terminal=terminal, restorer=restorer
        )
    capture = CaptureProcess(directory, settings, terminal)
    console = _console(directory, opened, settings, terminal)
    run = Run(
        directory,
        opened,
        settings=settings,
        journal=journal,
        log=log,
        syncer=syncer,
        capture=capture,
        console=console,
        terminal=terminal,
        restorer=restorer,
        step=past.step,
    )
    if past.summary:
        run.summary.merge(past.summary)
    if past.config or given:
        run.config.update({**past.config, **given})
    if syncer is not None and resume is None:
        _start_syncers(directory, opened, settings, syncer, terminal)
    capture.start()
    hold_run(HeldRun(opened.run_id, opened.rank, opened.pid, opened.pid_started))
    if console is not None:
        console.start()
    _greet(directory, opened, settings, terminal)
    return run


def _identity(settings: Settings) -> tuple[str | None, str | None]:
    """Return the run id and what to do if the run exists; ``auto`` takes up the last run here if it did not end well."""
    if settings.resume != "auto":
        return settings.run_id, settings.resume
    if settings.run_id is not None:
        return settings.run_id, "allow"
    for directory in reversed(list(find_run_directories(settings.run_root))):
        facts = list(from_records(RecordReader(directory.journal).read()))
        opened = next((fact for fact in facts if isinstance(fact, Opened)), None)
        if opened is None or opened.project != settings.project or opened.rank != _rank(settings):
            continue
        finished = next((fact for fact in reversed(facts) if isinstance(fact, Finished)), None)
        ended_well = finished is not None and finished.exit_code == 0
        lives = opened.host == host_name() and process_is_alive(opened.pid, opened.pid_started)
        return (None, None) if ended_well or (lives and finished is None) else (opened.run_id, "allow")
    return None, None


def _opened(settings: Settings, directory: RunDirectory, run_id: str, resume: str | None) -> Opened:
    base_url = None if settings.base_url is None else server_url(settings.base_url)
    return Opened(
        attempt=secrets.token_hex(16),
        entity=_entity(settings, base_url),
        project=settings.project,
        run_id=run_id,
        mode=settings.mode,
        base_url=base_url,
        home=str(settings.home),
        started_at=time.time(),
        host=host_name(),
        pid=os.getpid(),
        pid_started=process_start(os.getpid()) or time.time(),
        resume=resume,
        name=settings.name,
        notes=settings.notes,
        tags=None if settings.tags is None else list(settings.tags),
        group=settings.run_group,
        job_type=settings.job_type,
        program=sys.argv[0] if sys.argv else None,
        directory=str(directory.path),
        journal_ino=directory.journal.stat().st_ino,
        boot=boot_name(),
        quiet_s=settings.quiet,
        live_interval_s=settings.live_interval,
        rank=_rank(settings),
        ignore_globs=list(settings.ignore_globs),
        ignore_source=settings.sources.get("ignore_globs"),
    )


def _rank(settings: Settings) -> int:
    """Return the rank; without a run id that others have too, the process has a run of its own."""
    if settings.rank is not None:
        return settings.rank
    return 0 if settings.run_id is None else launcher_rank()


def _entity(settings: Settings, base_url: str | None) -> str | None:
    """Return the entity of the run; None if only the server can tell."""
    if base_url is None and settings.mode == "online":
        return check_label(settings.entity_or_user, "entity")
    if settings.entity is not None:
        return check_label(settings.entity, "entity")
    if settings.api_key is not None:
        return None  # the key need not be the one that was stored
    if base_url is None:
        return None  # whoever syncs the run says whose it is
    credential = load_credential(settings.home, base_url)
    return None if credential is None else credential.entity


def _start_syncers(
    directory: RunDirectory, opened: Opened, settings: Settings, syncer: SyncerProcess, terminal: Terminal
) -> None:
    try:
        add_pending(settings.home, opened.attempt, directory)
    except OSError as exc:
        terminal.warn(
            f"{settings.home} cannot be written ({exc}). Should this machine stop, `holdfast sync {directory.path}` "
            "stores what is left."
        )
    syncer.start()
    revive(settings, own=directory)


def _answer(
    directory: RunDirectory,
    opened: Opened,
    log: SyncLog,
    syncer: SyncerProcess,
    terminal: Terminal,
    *,
    timeout_s: float,
) -> Registered | None:
    """Wait for the vault's answer to a resume."""

    def is_answered() -> bool:
        syncer.ensure()
        return log.registered is not None or log.refused is not None

    log.wait(is_answered, timeout_s)
    if log.refused is not None:
        raise rebuilt_error(log.refused)
    if log.registered is None:
        trouble = read_progress(directory.progress).get("trouble") or "The vault does not answer."
        if opened.resume != "allow":
            raise VaultUnavailableError(f"It cannot be told whether run {opened.run_id} exists. {trouble}")
        terminal.warn(f"Run {opened.run_id} goes on without its earlier config, summary and step. {trouble}")
    return log.registered


@dataclass(frozen=True, slots=True)
class _Past:
    """What a resumed run goes on with."""

    config: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    summary: Mapping[str, Any] = field(default_factory=dict)


def _take_up(
    directory: RunDirectory,
    opened: Opened,
    found: Registered,
    *,
    settings: Settings,
    journal: RecordWriter,
    terminal: Terminal,
    restorer: Restorer,
) -> _Past:
    """Bring what the run had logged into its new directory, so that the history goes on where it was.

    The vault's summary and step are those of the lowest rank; another one has its own in its own files.
    """
    path = f"{found.entity}/{found.project}/{found.run_id}"

    def fetch(own: str) -> Path | None:
        name = opened.own_name(own)

        def announce(digest: str, size: int) -> None:
            journal.append(to_record(Restored(name, digest, size)))

        try:
            restorer(
                settings,
                name,
                path,
                root=directory.files,
                replace=False,
                version=None,
                mode="rb",
                announce=announce,
            ).close()
        except StoredFileNotFoundError:
            return None
        except HoldfastError as exc:
            terminal.warn(f"{name} begins anew; the earlier one is kept as an older version. {exc}")
            return None
        return directory.files / name

    if settings.console != "off":
        fetch(OUTPUT)
    if opened.rank == 0:
        if found.step is not None:
            fetch(HISTORY)
        return _Past(found.config, 0 if found.step is None else found.step + 1, found.summary)
    history, summary = fetch(HISTORY), fetch(SUMMARY)
    step = None if history is None else last_step(history)
    values = {} if summary is None else json.loads(summary.read_bytes())
    return _Past(found.config, 0 if step is None else step + 1, values)


def _console(
    directory: RunDirectory, opened: Opened, settings: Settings, terminal: Terminal
) -> Console | None:
    if settings.console == "off":
        return None
    keys = [settings.api_key] if settings.api_key else []
    with contextlib.suppress(SettingsError):  # who needs the credentials says what is wrong with them
        credential = load_credential(settings.home, opened.base_url) if opened.base_url else None
        keys += [credential.api_key] if credential else []
    path = directory.files / opened.own_name(OUTPUT)
    return Console(OutputLog(path, keys, terminal.warn))


def _abandon(directory: RunDirectory, opened: Opened, settings: Settings, syncer: SyncerProcess) -> None:
    """Leave nothing of a run that did not come about; its directory holds nothing of the user's."""
    syncer.stop()
    shutil.rmtree(directory.path, ignore_errors=True)
    with contextlib.suppress(OSError):
        remove_pending(settings.home, opened.attempt)


def _greet(directory: RunDirectory, opened: Opened, settings: Settings, terminal: Terminal) -> None:
    where = "offline" if opened.mode == "offline" else opened.base_url or f"the vault in {settings.vault_dir}"
    path = "/".join(part for part in (opened.entity, opened.project, opened.run_id) if part)
    rank = f", rank {opened.rank}" if opened.rank else ""
    terminal.say(f"run {path}{rank}, {where}")
    terminal.say(f"files in {directory.files}")
