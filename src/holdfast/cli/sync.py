"""``holdfast sync``: the syncer in the foreground, on run directories that are offline or were left behind."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from holdfast.cli import _output
from holdfast.cli._cleaning import Cleaning, check_asking, parse_age
from holdfast.cli._directories import Standing, known_directories, named_directories, standing_of
from holdfast.errors import DirectoryBusyError, HoldfastError, IncompleteError, UsageError
from holdfast.rundir.lease import lease_is_live
from holdfast.settings import Settings, load_settings
from holdfast.sync.jobs import Progress
from holdfast.sync.report import SyncReport

_BUSY_LOOK_S = 0.2
_DONE = ("stored", "incomplete", "refused")


@click.command
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--follow", is_flag=True, help="Stay until the runs are over, on whichever machine they run.")
@click.option(
    "--clean", is_flag=True, help="Then remove the run directories that the vault holds every byte of."
)
@click.option(
    "--older-than",
    "older_than_s",
    metavar="AGE",
    callback=parse_age,
    help="With --clean: only runs that ended so long ago (30m, 24h, 7d).",
)
@click.option("--dry-run", is_flag=True, help="With --clean: store and remove nothing; tell what would go.")
@click.option("--yes", is_flag=True, help="With --clean: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(
    folders: tuple[Path, ...],
    *,
    follow: bool,
    clean: bool,
    older_than_s: float,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Store what is in run directories and end with the truth: what is stored, what is not, and why.

    Without DIR: all run directories below ./holdfast, and those elsewhere, that are not done. Syncing twice makes one
    run and sends nothing twice. An offline run goes to the server that is configured now, and what ignore_globs names
    now is left out, besides what it named when the run began; any other one goes to the vault that it was meant for.
    Ends with exit code 9 when something is not stored.

    With --clean the run directories go afterwards, if all of this holds for one: its run is over and no syncer is at
    work on it; no process has a file of it open for writing; and, in this very call, each of its files was read and
    hashed here and the vault read every byte of the same content there. What is not proven stays, and the reason is told:
    a file that was never stored, that is ignored by a rule, that has changed, that cannot be read. Files outside the run
    directory are never removed, only the links to them. Without DIR a run that resume="auto" would go on with stays
    too. It asks before it removes anything; --yes answers, which a script needs. A call that is cut short leaves nothing
    half removed that a later one could mistake for a run.

    \b
    Examples:
        holdfast sync holdfast/offline-run
        holdfast sync --follow /shared/holdfast/run-20171023_105053-3o4933r0
        holdfast sync --clean --dry-run
        holdfast sync --clean --older-than 7d --yes
    """  # noqa: D301 - click needs the backspace itself
    settings = load_settings()
    if clean:
        check_asking(yes=yes, dry_run=dry_run, is_terminal=sys.stdin.isatty())
    elif dry_run or yes or older_than_s:
        raise UsageError("--older-than, --dry-run and --yes mean nothing without --clean.")
    if clean and follow:
        raise UsageError("--follow stays until runs are over, --clean wants runs that are: use one of both.")
    directories = named_directories(folders) if folders else known_directories(settings)
    work = [
        _Work(standing, settings, follow=follow)
        for directory in directories
        if (standing := standing_of(directory)) is not None and (folders or not standing.is_done)
    ]
    is_cut = not dry_run and _store(work, settings, follow=follow)
    records = [] if dry_run else [item.record() for item in work]
    code = next((item.exit_code for item in work if item.exit_code), 0) if records else 0
    if not as_json and (records or not clean):
        _tell(records)
    cleaning = None
    if clean and not is_cut:
        cleaning = Cleaning(
            directories, settings, older_than_s=older_than_s, dry_run=dry_run, named=bool(folders)
        )
        cleaning.run(ask=not (yes or dry_run))
        code = code or cleaning.exit_code
    if as_json:
        cleaned = None if cleaning is None else cleaning.record()
        _output.data_json({"stored": records, "cleaned": cleaned} if clean else records)
    elif cleaning is not None:
        cleaning.tell()
    if clean and is_cut:
        code = code or 128 + signal.SIGINT
    if code:
        raise click.exceptions.Exit(code)


def _store(work: Sequence[_Work], settings: Settings, *, follow: bool) -> bool:
    """Sync; return True if the user ended it early."""
    from holdfast.training.launch import revive

    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    with (
        _output.progress("Storing", lambda: _meter(work)),
        ThreadPoolExecutor(_threads(work, follow)) as pool,
    ):
        list(pool.map(lambda item: item.run(stop), work))
    for number, handler in before.items():
        signal.signal(number, handler)
    revive(settings)
    return stop.is_set()


class _Work:
    """One run directory to sync, and what became of it."""

    def __init__(self, standing: Standing, settings: Settings, *, follow: bool) -> None:
        self.standing = standing
        self.progress = Progress()
        self._settings = settings
        self._follow = follow
        self._report: SyncReport | None = None
        self._error: HoldfastError | None = None

    def run(self, stop: threading.Event) -> None:
        """Sync; whatever prevents it is kept for the report."""
        while not stop.is_set():
            try:
                self._report = self._sync(stop)
            except DirectoryBusyError as exc:
                if self._wait_for_other(stop):
                    continue
                self._error = exc
            except HoldfastError as exc:
                self._error = exc
            return

    def _sync(self, stop: threading.Event) -> SyncReport:
        from holdfast.connect import open_vault
        from holdfast.sync.follow import sync_directory
        from holdfast.syncer import settings_for

        opened = dataclasses.replace(self.standing.opened, base_url=self._base_url())
        vault = open_vault(settings_for(opened, self._settings))
        try:
            return sync_directory(
                self.standing.directory,
                vault,
                base_url=opened.base_url,
                follow=self._follow,
                stop=stop,
                progress=self.progress,
                ignore_globs=self._settings.ignore_globs if opened.mode == "offline" else (),
            )
        finally:
            vault.close()

    def _base_url(self) -> str | None:
        registered, opened = self.standing.facts.registered, self.standing.opened
        if registered is not None:
            return registered.base_url
        return self._settings.base_url if opened.mode == "offline" else opened.base_url

    def _wait_for_other(self, stop: threading.Event) -> bool:
        """Wait for the syncer that is at it; False if that would be as long as the run goes on."""
        while not stop.is_set():
            standing = standing_of(self.standing.directory)
            if standing is None or (standing.state == "running" and not self._follow):
                return False
            if standing.state in _DONE or not lease_is_live(self.standing.directory):
                time.sleep(_BUSY_LOOK_S)  # the other one is about to let go
                return True
            time.sleep(_BUSY_LOOK_S)
        return False

    @property
    def missing(self) -> dict[str, str]:
        """What is not stored, and why."""
        if self._report is not None:
            return self._report.missing
        standing = standing_of(self.standing.directory)
        return standing.unstored if standing is not None else {}

    @property
    def error(self) -> HoldfastError | None:
        return self._report.error if self._report is not None else self._error

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        if self._report is None or self.missing:
            return IncompleteError.exit_code
        return 0

    def record(self) -> dict[str, Any]:
        """Return what became of it."""
        report = self._report
        return {
            "run": str(report.run) if report is not None and report.run is not None else self.standing.run,
            "directory": str(self.standing.directory.path),
            "state": report.state if report is not None else self.standing.state,
            "files_stored": report.stored if report is not None else self.standing.facts.stored_count(),
            "not_stored": self.missing,
            "ignored": report.ignored if report is not None else self.standing.facts.ignored,
            "error": self.error.message if self.error is not None else None,
            "hint": self.error.hint if self.error is not None else "",
        }


def _threads(work: Sequence[_Work], follow: bool) -> int:
    return max(1, len(work)) if follow else 1


def _meter(work: Sequence[_Work]) -> _output.Meter:
    states = [item.progress.state() for item in work]
    return _output.Meter(
        sum(state.files_done for state in states),
        sum(state.files_total for state in states),
        sum(state.bytes_done for state in states),
        sum(state.bytes_total for state in states),
    )


def _tell(records: Sequence[dict[str, Any]]) -> None:
    if not records:
        _output.note("There is nothing to sync.")
    for record in records:
        missing = record["not_stored"]
        not_stored = f", {len(missing)} not" if missing else ""
        ignored = f", {len(record['ignored'])} ignored" if record["ignored"] else ""
        stored = _output.count_text(record["files_stored"], "file")
        _output.data(f"{record['run']}: {record['state']}, {stored} stored{not_stored}{ignored}")
        for name, reason in missing.items():
            _output.data(f"    {name}: {reason}")
        if record["error"]:
            _output.error(f"{record['directory']}: {record['error']}", record["hint"])
