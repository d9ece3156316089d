"""Large bodies past the event loop: a worker thread reads or writes the socket of a connection itself.

**How it works.** A MiB that goes through the event loop is copied three times and costs Python more than to hash and
store it. So the connection lends its socket, as a descriptor of its own, to the worker that has the body anyway. Where
it cannot (TLS, a client that waits for a go-ahead, requests in a pipeline), bodies go the way of ASGI.

**Invariants**

- While a request's body is lent the event loop reads nothing from the connection; afterwards the HTTP parser has been
  led past exactly the bytes that the worker took.
- While an answer's body is lent the event loop writes nothing to it.
- A worker waits for a client no longer than its patience lasts, and no longer than the connection does: whoever drops
  the connection shuts the lent socket down, which wakes the worker.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from starlette.requests import ClientDisconnect

from holdfast.server.patience import Patience
from holdfast.vault.blobs import BlobSlice

_BLOCK_BYTES = 1 << 20


class DirectSocket:
    """The socket of a connection, lent to one worker thread. What it calls blocks and raises `ClientDisconnect`.

    Args:
        descriptor: Of the connection; it is duplicated.
        patience: How long the client may keep the worker waiting.
    """

    def __init__(self, descriptor: int, patience: Patience) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._patience = patience

    def fill(self, view: memoryview) -> int:
        """Receive as many bytes as fit and return their number: all, unless the client has gone."""
        filled = 0
        while filled < len(view):
            count = self._patiently(partial(self._socket.recv_into, view[filled:]))
            if count == 0:
                raise ClientDisconnect
            filled += count
        return filled

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self._patiently(partial(self._socket.send, view)) :]

    def send_file(self, part: BlobSlice) -> None:
        """Send a part of a file without reading it into this process; where the file is cut, so is the answer."""
        done = 0
        while done < part.length:
            done += self._patiently(partial(self._send_some, part, done))

    def _send_some(self, part: BlobSlice, done: int) -> int:
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        if not writable.poll((self._socket.gettimeout() or 0) * 1000):
            raise TimeoutError
        count = os.sendfile(self._socket.fileno(), part.fd, part.offset + done, part.length - done)
        if count == 0:
            raise EOFError
        return count

    def shut(self) -> None:
        """Wake the worker: the connection is over. From any thread."""
        with suppress(OSError):  # it was over before
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back; the connection stays as it is."""
        self._socket.close()

    def _patiently(self, move: Callable[[], int]) -> int:
        began = time.monotonic()
        try:
            self._socket.settimeout(max(self._patience.left_s, 0.001))
            count = move()
        except (OSError, EOFError) as exc:
            raise ClientDisconnect from exc
        self._patience.spend(time.monotonic() - began, count)
        return count


class DirectBody:
    """What is left of a request's body. Iterate over it in one worker thread; each piece lasts until the next.

    Args:
        first: What the event loop has received of it already.
        left: The number of bytes that follow.
        lent: Where they come from.
    """

    def __init__(self, first: bytes, left: int, lent: DirectSocket) -> None:
        self._first = first
        self._left = left
        self._lent = lent
        self.taken = 0
        """How many bytes were taken from the socket."""

    def __iter__(self) -> Iterator[bytes | memoryview]:
        if self._first:
            yield self._first
        block = memoryview(bytearray(min(self._left, _BLOCK_BYTES)))
        while self.taken < self._left:
            count = self._lent.fill(block[: self._left - self.taken])
            self.taken += count
            yield block[:count]
