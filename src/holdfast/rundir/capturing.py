"""``capture.json``: how far the capture process of a run directory is, replaced as a whole.

The training process writes it before it starts the capture process, which takes it over with its own pid. So whoever
looks can tell what was to be captured, what is, what failed, and whether anybody is still at it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from typing import Self

from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.processes import host_name, process_is_alive, process_start

WAITING = "waiting"
DONE = "done"
_FAILED = "failed: "
_START_S = 15.0
"""How long a capture process may take to begin, on a machine that has much else to do."""


@dataclass(frozen=True, slots=True)
class CaptureState:
    """What is to be captured, by step: `WAITING`, `DONE`, or why it failed."""

    steps: dict[str, str]
    host: str
    at: float
    """When the capture process was started."""
    pid: int | None = None
    pid_started: float = 0.0

    @classmethod
    def begun(cls, steps: tuple[str, ...]) -> Self:
        """Return the state before the capture process runs."""
        return cls(dict.fromkeys(steps, WAITING), host_name(), time.time())

    def taken_over(self) -> CaptureState:
        """Return the state with this process as the one that captures."""
        pid = os.getpid()
        return replace(self, pid=pid, pid_started=process_start(pid) or time.time())

    def with_step(self, name: str, error: BaseException | str | None) -> CaptureState:
        """Return the state after a step; None: it did all it had to."""
        return replace(self, steps={**self.steps, name: DONE if error is None else f"{_FAILED}{error}"})

    @property
    def is_under_way(self) -> bool:
        """Something is to be captured yet, and a process of this machine is at it (or about to be)."""
        if WAITING not in self.steps.values() or self.host != host_name():
            return False
        if self.pid is None:
            return abs(time.time() - self.at) < _START_S
        return process_is_alive(self.pid, self.pid_started)

    @property
    def failures(self) -> dict[str, str]:
        """What was not captured and will not be, and why."""
        found = {
            name: how.removeprefix(_FAILED) for name, how in self.steps.items() if how.startswith(_FAILED)
        }
        if not self.is_under_way:
            ended = "the process that captures was ended before it came to this"
            found.update((name, ended) for name, how in self.steps.items() if how == WAITING)
        return found


def read_capture(directory: RunDirectory) -> CaptureState | None:
    """Return how far the capture of a run directory is; None if nothing was to be captured."""
    try:
        return CaptureState(**json.loads(directory.capture.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_capture(directory: RunDirectory, state: CaptureState) -> None:
    """Replace what ``capture.json`` says.

    Raises:
        OSError: The run directory cannot be written.
    """
    part = directory.capture.with_name(f"{directory.capture.name}.part.{os.getpid()}")
    part.write_text(json.dumps(asdict(state)), encoding="ascii")
    part.replace(directory.capture)
