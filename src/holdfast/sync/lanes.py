"""The two lanes on which files go to the vault: a big file never holds up the small ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from holdfast.sync.jobs import Outcome
from holdfast.sync.plan import Plan
from holdfast.sync.upload import Uploader
from holdfast.sync.workers import Report, Worker

BIG_BYTES = 32 << 20
_BATCH_BYTES = 64 << 20
_BATCH_FILES = 5_000
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 20.0
_SLOW_PAUSE_S = 20.0


class Backoff:
    """When to try again after something failed: soon at first, then less and less often."""

    def __init__(self) -> None:
        self._pause = _FIRST_PAUSE_S
        self._until = 0.0

    def is_over(self, now: float) -> bool:
        return now >= self._until

    def fail(self, *, slow: bool) -> None:
        """Wait longer than the last time; ``slow``: nothing but the user can mend it."""
        pause = max(self._pause, _SLOW_PAUSE_S) if slow else self._pause
        self._until = time.monotonic() + pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_S)

    def succeed(self) -> None:
        self._pause, self._until = _FIRST_PAUSE_S, 0.0


@dataclass(slots=True)
class _Batch:
    plans: dict[str, Plan]
    bytes: int
    began: float


class Lane:
    """One uploader and the thread that it works in.

    Args:
        name: Of the thread.
        uploader: Not shared with another lane.
        reports: Where the outcomes arrive.
    """

    def __init__(self, name: str, uploader: Uploader, reports: SimpleQueue[Report]) -> None:
        self.worker = Worker(name, reports)
        self.backoff = Backoff()
        self.is_careful = False
        """One file at a time, since something failed in a way that it should not."""
        self._uploader = uploader
        self._batch = _Batch({}, 0, 0.0)

    def is_free(self, now: float) -> bool:
        """Tell whether it takes a batch now."""
        return not self.worker.is_busy and self.backoff.is_over(now)

    def is_full(self, files: int, size_bytes: int) -> bool:
        """Tell whether so much is enough for one batch."""
        return size_bytes > _BATCH_BYTES or files >= (1 if self.is_careful else _BATCH_FILES)

    def send(self, plans: Sequence[Plan]) -> list[Plan]:
        """Begin to store some of the plans, the small ones first; return those that were taken."""
        taken: list[Plan] = []
        total = 0
        for plan in sorted(plans, key=lambda plan: plan.size):
            if taken and self.is_full(len(taken), total + plan.size):
                break
            taken.append(plan)
            total += plan.size
        self._batch = _Batch({plan.job.name: plan for plan in taken}, total, time.monotonic())
        jobs = [plan.job for plan in taken]

        def errand() -> Iterator[Outcome]:
            yield from self._uploader.store(jobs)

        self.worker.give(errand)
        return taken

    def finish(self, name: str) -> tuple[Plan, float]:
        """Take a file off the batch; return its plan and about how many seconds of work it was."""
        plan = self._batch.plans.pop(name)
        share = (plan.size + 1) / (self._batch.bytes + 1)
        return plan, (time.monotonic() - self._batch.began) * min(1.0, share)

    def give_up(self) -> list[Plan]:
        """End the batch; return what was not done."""
        left = list(self._batch.plans.values())
        self._batch.plans.clear()
        return left
