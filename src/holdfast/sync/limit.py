"""How many packs may be on their way at once: one more after a round of successes, half after a failure."""

from __future__ import annotations

import threading

_FIRST = 2


class Limit:
    """A semaphore whose size follows success. Thread-safe.

    Args:
        most: The largest size.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = min(_FIRST, most)
        self._taken = 0
        self._successes = 0
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        """How many may be taken at once, as of now."""
        return self._size

    def take(self) -> None:
        """Wait for a slot."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self._size)
            self._taken += 1

    def give_back(self, *, succeeded: bool | None) -> None:
        """Return a slot and say how it went; None if nothing was tried."""
        with self._changed:
            self._taken -= 1
            if succeeded is False:
                self._successes = 0
                self._size = max(1, self._size // 2)
            elif succeeded:
                self._successes += 1
            if self._successes >= self._size < self._most:
                self._size += 1
                self._successes = 0
            self._changed.notify_all()
