"""How many transfers run at once: more while that helps, half as many after a fault.

**How it works.** Additive increase, multiplicative decrease. The limit starts at 2. A transfer that succeeds while all
slots are taken raises it by ``1 / limit``, so about one slot per round of transfers, but only while a transfer takes
less than twice as long as the fastest one lately: beyond that, more at once only wait for each other. A failure halves
it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_START = 2.0
_SLOWER = 2.0
_FORGET = 1.02


class AdaptiveLimit:
    """Limits how many threads are inside `slot` at once. Safe to use from several threads.

    Args:
        most: The limit never exceeds it.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = float(most)
        self._limit = min(_START, self._most)
        self._taken = 0
        self._fastest_s: float | None = None
        self._free = threading.Condition()

    @property
    def limit(self) -> int:
        """How many slots there are now."""
        return int(self._limit)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a free slot and hold it for the length of the block."""
        with self._free:
            self._free.wait_for(lambda: self._taken < self.limit)
            self._taken += 1
        try:
            yield
        finally:
            with self._free:
                self._taken -= 1
                self._free.notify_all()

    def succeeded(self, seconds: float) -> None:
        """Tell that a transfer took so long. Call it inside `slot`, for transfers of about the same size."""
        with self._free:
            fastest = seconds if self._fastest_s is None else min(self._fastest_s * _FORGET, seconds)
            self._fastest_s = fastest
            if self._taken >= self.limit and seconds < _SLOWER * fastest:
                self._limit = min(self._limit + 1 / self._limit, self._most)
                self._free.notify_all()

    def failed(self) -> None:
        """Tell that the vault refused, was too slow or could not be reached."""
        with self._free:
            self._limit = max(1.0, self._limit / 2)
