"""What the syncer writes into the run directory: the sync log and ``progress.json``.

A disk that refuses (full, read-only) never stops the sync: facts wait in memory and are written when that is possible
again. Were they lost, the next syncer would find the same truth by asking the vault.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time

from holdfast.rundir.facts import SyncFact, to_record
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.records import Record, RecordWriter
from holdfast.sync.jobs import Progress, ProgressState
from holdfast.sync.state import OneSave, RunState

log = logging.getLogger(__name__)

PROGRESS_GAP_S = 0.25
_RETRY_S = 5.0
_SHOWN_NAMES = 5


class Ledger:
    """Writes the sync log, and removes the pins that are not needed any more. For one thread.

    Args:
        directory: The run directory.
        state: Takes in each fact that is written.
    """

    def __init__(self, directory: RunDirectory, state: RunState) -> None:
        self._path = directory.sync_log
        self._pins = directory.pins
        self._state = state
        self._writer: RecordWriter | None = None
        self._waiting: list[Record] = []
        self._fulfilled: list[OneSave] = []
        self._retry_at = 0.0

    def note(self, fact: SyncFact) -> None:
        """Take in a fact, to be written by the next `flush`."""
        self._fulfilled += self._state.take(fact)
        self._waiting.append(to_record(fact))

    def flush(self) -> None:
        """Write what was noted: at once if the disk lets us, else in order as soon as it does."""
        if not self._waiting or time.monotonic() < self._retry_at:
            return
        try:
            if self._writer is None:
                self._writer = RecordWriter(self._path)
            self._writer.append(*self._waiting)
        except OSError as exc:
            self._retry_at = time.monotonic() + _RETRY_S
            log.warning("%s cannot be written (%s); %d facts wait.", self._path, exc, len(self._waiting))
            return
        self._waiting.clear()
        for save in self._fulfilled:  # only now: who finds no such fact in the log needs the pin
            self._unpin(save)
        self._fulfilled.clear()

    @property
    def is_written(self) -> bool:
        """Nothing waits to be written."""
        return not self._waiting

    def unpin_fulfilled(self) -> None:
        """Remove the pins that a syncer which was killed had left."""
        for file in self._state.files.values():
            for save in file.fulfilled:
                self._unpin(save)

    def _unpin(self, save: OneSave) -> None:
        if save.file.pin:
            with contextlib.suppress(OSError):
                (self._pins / save.file.pin).unlink()

    def close(self) -> None:
        """Write what waits, make it survive a crash of the machine, and close the log."""
        self._retry_at = 0.0
        self.flush()
        if self._writer is None:
            return
        try:
            self._writer.flush()
        except OSError as exc:
            log.warning("%s cannot be flushed: %s", self._path, exc)
        self._writer.close()
        self._writer = None


class ProgressFile:
    """Keeps ``progress.json`` up to date, at most four times a second."""

    def __init__(self, directory: RunDirectory, progress: Progress) -> None:
        self._path = directory.progress
        self._progress = progress
        self._last: tuple[ProgressState, str | None] | None = None
        self._next = 0.0

    def show(self, trouble: str | None, *, at_once: bool = False) -> None:
        """Write how far the syncer is, if that has changed.

        Args:
            trouble: What keeps the syncer from storing, in words for the user; None: nothing.
            at_once: Do not wait for the next turn.
        """
        now = time.monotonic()
        state = self._progress.state()
        if (state, trouble) == self._last or (now < self._next and not at_once):
            return
        self._next = now + PROGRESS_GAP_S
        part = self._path.with_name("progress.json.part")
        body = {
            "files_total": state.files_total,
            "files_done": state.files_done,
            "bytes_total": state.bytes_total,
            "bytes_done": state.bytes_done,
            "bytes_sent": state.bytes_sent,
            "current": list(state.names[:_SHOWN_NAMES]),
            "trouble": trouble,
            "at": time.time(),
        }
        try:
            part.write_text(json.dumps(body), encoding="ascii")
            part.replace(self._path)
        except OSError as exc:
            self._next = now + _RETRY_S
            log.warning("%s cannot be written: %s", self._path, exc)
            return
        self._last = (state, trouble)
