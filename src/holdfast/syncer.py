"""The syncer's process: ``python -m holdfast.syncer DIR`` follows one run directory until its run is over.

It outlives the training process, Ctrl-C and the terminal; SIGTERM ends it within seconds, and whoever comes next goes on
where it was. It gives way to the training process (`nice`). What it has to say goes to standard error, which is
``logs/syncer.log`` when the training process starts it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from holdfast.connect import open_vault
from holdfast.errors import HoldfastError, NotFoundError
from holdfast.protocol.vault import Vault
from holdfast.rundir.facts import Opened, Refused, Registered, from_records
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.lease import acquire_lease
from holdfast.rundir.records import RecordReader
from holdfast.settings import Settings, load_settings
from holdfast.sync.follow import sync_directory
from holdfast.sync.ledger import Ledger
from holdfast.sync.report import SyncReport
from holdfast.sync.state import RunState

log = logging.getLogger(__name__)

NICENESS = 10
RETRY_FOR_S = 10.0
"""Short, since the follower tries for ever and tells of the trouble meanwhile."""


def settings_for(opened: Opened, settings: Settings) -> Settings:
    """Return the settings that lead to the vault which a run was meant for.

    The server is the one that the training process used, or else the embedded vault of its home folder. An API key
    that the environment has for another server is not sent to this one.
    """
    home = Path(opened.home) if Path(opened.home).is_dir() else settings.home
    elsewhere = settings.base_url is not None and settings.base_url != opened.base_url
    return dataclasses.replace(
        settings,
        home=home,
        base_url=opened.base_url,
        api_key=None if elsewhere else settings.api_key,
        entity=opened.entity or settings.entity,
    )


def follow(directory: RunDirectory, settings: Settings, stop: threading.Event) -> SyncReport:
    """Follow a run directory until its run is over, with the vault that it was meant for.

    Raises:
        NotFoundError: It is no run directory.
        HoldfastError: Another syncer holds the directory, or its vault cannot be opened.
    """
    opened = directory.opened()
    if opened is None:
        raise NotFoundError(f"{directory.path} is not a run directory.")
    try:
        vault = open_vault(settings_for(opened, settings), retry_for_s=RETRY_FOR_S)
    except HoldfastError as exc:
        _refuse(directory, exc)
        raise
    gc.freeze()  # what is loaded now stays: the collector need not look at it again and again
    try:
        return sync_directory(directory, vault, base_url=opened.base_url, follow=True, stop=stop)
    finally:
        _close(vault)


def _refuse(directory: RunDirectory, error: HoldfastError) -> None:
    """Say in the sync log that there is no vault for this run; not of one that the vault has: that may go on later."""
    said = from_records(RecordReader(directory.sync_log).read())
    if error.retryable or any(isinstance(fact, Registered) for fact in said):
        return
    with acquire_lease(directory):
        ledger = Ledger(directory, RunState())
        ledger.note(Refused(error.code, error.message, error.hint))
        ledger.close()


def _close(vault: Vault) -> None:
    with contextlib.suppress(HoldfastError):
        vault.close()


def main(arguments: list[str]) -> int:
    """Run the syncer's process; return its exit code."""
    if len(arguments) != 1:
        print("usage: python -m holdfast.syncer DIR", file=sys.stderr)  # noqa: T201 - not a log line
        return 2
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s"
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    directory = RunDirectory(Path(arguments[0]).absolute())
    try:
        report = follow(directory, load_settings(), stop)
    except HoldfastError as exc:
        log.error("%s", exc)  # noqa: TRY400 - a fact, not a bug
        return exc.exit_code
    for name, reason in report.missing.items():
        log.warning("%s is not stored: %s", name, reason)
    log.info(
        "Leaving: the run is %s, %d files are stored, %d are not.",
        report.state,
        report.stored,
        len(report.missing),
    )
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
