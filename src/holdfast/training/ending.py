"""The end of a run as the training process sees it: waiting for the syncer, showing progress, telling the truth."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.patterns import IgnoreRules
from holdfast.rundir.facts import Stored
from holdfast.rundir.layout import RunDirectory
from holdfast.training.synclog import SyncLog
from holdfast.training.terminal import Terminal, files_text, size_text, time_text

_SHOWN_AFTER_S = 1.0
_RATE_WINDOW_S = 10.0
_MOST_NAMED = 10
_COUNTERS = ("files_done", "files_total", "bytes_done", "bytes_total", "bytes_sent")


@dataclass(frozen=True, slots=True)
class FinishReport:
    """What became of a run's files, as far as was known when `finish` returned."""

    stored: int
    """How many files are on the vault."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """For each file that is not, or not in its last state, why."""

    @property
    def is_complete(self) -> bool:
        return not self.missing


class Wait:
    """Waits until the syncer has said how the run ended.

    Args:
        directory: The run directory.
        log: The syncer's log.
        terminal: Where progress is shown.
        alive: Called now and then; sees to it that there is a syncer.
    """

    def __init__(
        self, directory: RunDirectory, log: SyncLog, terminal: Terminal, alive: Callable[[], None]
    ) -> None:
        self._progress = directory.progress
        self._log = log
        self._terminal = terminal
        self._alive = alive
        self._moved: tuple[Any, ...] = ()
        self._moved_at = time.monotonic()
        self._samples: deque[tuple[float, int]] = deque()

    def until_ended(self, *, timeout_s: float | None, stall_s: float) -> bool:
        """Wait; False if the time ran out, or nothing moved for too long.

        Args:
            timeout_s: The most seconds; None: as long as something moves.
            stall_s: Seconds without progress after which to give up.
        """
        began = time.monotonic()

        def is_over() -> bool:
            if self._log.ended is not None or self._log.refused is not None:
                return True
            self._alive()
            now = time.monotonic()
            state = read_progress(self._progress)
            moved = (self._log.count, *(state.get(name) for name in _COUNTERS))
            if moved != self._moved:
                self._moved, self._moved_at = moved, now
            if now - began >= _SHOWN_AFTER_S:
                self._terminal.progress(self._text(state, now))
            return now - self._moved_at >= stall_s

        self._log.wait(is_over, timeout_s)
        return self._log.ended is not None

    def _text(self, state: Mapping[str, Any], now: float) -> str:
        files_done, files_total, done, total, _ = (int(state.get(name) or 0) for name in _COUNTERS)
        text = f"storing files: {files_done:,} of {files_total:,}, {size_text(done)} of {size_text(total)}"
        self._samples.append((now, done))
        while now - self._samples[0][0] > _RATE_WINDOW_S:
            self._samples.popleft()
        since, before = self._samples[0]
        if done > before:
            rate = (done - before) / (now - since)
            text += f", {size_text(rate)}/s, {time_text(max(0, total - done) / rate)} left"
        trouble = state.get("trouble")
        return f"{text}; {trouble}" if trouble else text


def read_progress(path: Path) -> dict[str, Any]:
    """Return what ``progress.json`` says; nothing while there is none."""
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def report_of(
    directory: RunDirectory,
    log: SyncLog,
    saves: Mapping[str, str],
    *,
    ignore: IgnoreRules,
    why_not: str,
) -> FinishReport:
    """Return what is stored and what is missing.

    Args:
        directory: The run directory.
        log: The syncer's log.
        saves: The last save of each name.
        ignore: What is not to be stored.
        why_not: Said of files of which nothing else is known.
    """
    if log.ended is not None:
        return FinishReport(log.ended.stored, dict(log.ended.missing))
    found = (name for name in _names_below(directory.files) if ignore.matching(name) is None)
    names = {*saves, *found}
    stored = {name for name in names if isinstance(log.newest.get(name), Stored)}
    missing = {}
    for name in sorted(names):
        answer = log.answer(saves[name], name) if name in saves else log.newest.get(name)
        if not isinstance(answer, Stored):
            missing[name] = answer.message if answer is not None else why_not
    return FinishReport(len(stored), missing)


def _names_below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def tell(report: FinishReport, terminal: Terminal, *, path: str | None, next_step: str) -> None:
    """Say how a run ended."""
    if report.is_complete:
        terminal.say(f"{files_text(report.stored)} stored{f' in {path}' if path else ''}.")
        return
    shown = [f"  {name}: {why}" for name, why in list(report.missing.items())[:_MOST_NAMED]]
    more = len(report.missing) - len(shown)
    if more > 0:
        shown.append(f"  and {more:,} more")
    text = f"{files_text(report.stored)} stored, {files_text(len(report.missing))} not stored:"
    terminal.warn("\n".join([text, *shown, f"  {next_step}"]))
