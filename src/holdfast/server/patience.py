"""Patience with a client that keeps the server waiting."""

from __future__ import annotations

SLOWEST_BYTES_PER_S = 8 << 10


class Patience:
    """How long a client may still keep the server waiting: waiting uses it up, bytes that move restore it.

    Args:
        stall_s: The most; each `SLOWEST_BYTES_PER_S` that move restore a second.
    """

    def __init__(self, stall_s: float) -> None:
        self.left_s = self._stall_s = stall_s

    def spend(self, waited_s: float, moved_bytes: int) -> None:
        """The client let us wait and has sent or taken so many bytes then."""
        self.left_s = min(self.left_s - waited_s + moved_bytes / SLOWEST_BYTES_PER_S, self._stall_s)
