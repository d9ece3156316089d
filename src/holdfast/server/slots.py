"""Slots: how many long transfers of one kind run at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter

from holdfast.errors import VaultUnavailableError


class Slots:
    """Lets ``count`` transfers run at once; others wait for a short while and are then sent away to come back.

    Args:
        count: How many may run; each has one worker thread of its own.
        wait_s: How long one more waits.
        what: What they do, for the message.
    """

    def __init__(self, count: int, wait_s: float, what: str) -> None:
        self._free = asyncio.Semaphore(count)
        self._wait_s = wait_s
        self._what = what
        self._count = count
        self._workers: CapacityLimiter | None = None

    @property
    def workers(self) -> CapacityLimiter:
        """The limit to pass to `anyio.to_thread.run_sync`, so that transfers never take the threads of short requests."""
        if self._workers is None:  # anyio wants the running event loop
            self._workers = CapacityLimiter(self._count * 2)
        return self._workers

    async def take(self) -> None:
        """Take a slot.

        Raises:
            VaultUnavailableError: None became free in time.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise VaultUnavailableError(
                f"The server is busy with {self._count} {self._what}.", details={"retry_after_s": 1}
            ) from None

    def give_back(self) -> None:
        """Free a slot that was taken."""
        self._free.release()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Take a slot for the length of the block."""
        await self.take()
        try:
            yield
        finally:
            self.give_back()
