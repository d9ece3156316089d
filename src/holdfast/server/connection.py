"""One connection of the server: uvicorn's own, with bodies in large pieces and no patience for heads that never end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from holdfast.server.direct import DirectBody, DirectSocket
from holdfast.server.patience import Patience

HEAD_S = 30.0
BATCH_BYTES = 1 << 20
ABORT = "holdfast.abort"
"""The ASGI extension whose ``now()`` drops the connection and what is still to be sent."""
DIRECT = "holdfast.direct"
"""The ASGI extension whose ``connection`` lends its socket."""
_ZEROS = bytes(BATCH_BYTES)


class Connection(HttpToolsProtocol):
    """Drops a client that opens a connection, or begins a request, and does not finish its head in `HEAD_S`.

    The limit also covers what is left of a body after the request was refused.

    The app gets a body in pieces of about `BATCH_BYTES`, and reading pauses while it has not taken one. uvicorn's own
    pieces of 64 KiB would cost more in Python, per byte, than hashing and writing them.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _lent: DirectSocket | None = None
    _lent_by: RequestResponseCycle
    _length: int | None = None
    """Of the request's body, as its head says."""
    _received = 0
    """Bytes of it that the parser has seen."""
    _is_skipping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        if self._lent is not None:
            self._lent.shut()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        extensions: dict[str, Any] = {ABORT: {"now": self.abort}, DIRECT: {"connection": self}}
        self.scope["extensions"] = extensions
        lengths = [int(value) for name, value in self.headers if name == b"content-length"]
        self._length, self._received = (lengths[0] if lengths else None), 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        super().on_headers_complete()
        if self._length is not None and self._length > BATCH_BYTES:
            self.flow.pause_reading()  # until the app asks for the body, or a worker takes it from the socket

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        if self._is_skipping or self.cycle.response_complete:
            return
        self._held.append(body)
        self._held_bytes += len(body)
        if self._held_bytes >= BATCH_BYTES:
            self.flow.pause_reading()
            self._hand_over()

    def on_message_complete(self) -> None:
        self._hand_over()
        super().on_message_complete()

    def _hand_over(self) -> None:
        if self._held:
            # Bytes, unlike uvicorn's own bytearray, are handed to the app without one more copy.
            self.cycle.body = b"".join([self.cycle.body, *self._held])  # type: ignore[assignment]
            self._held, self._held_bytes = [], 0
            self.cycle.message_event.set()

    # -- lending the socket

    def abort(self) -> None:
        """Drop the connection and what is still to be sent."""
        if self._lent is not None:
            self._lent.shut()
        self.transport.abort()

    def lend_body(self, patience: Patience) -> DirectBody | None:
        """Lend the rest of the request's body to a worker, or None where only the event loop can take it.

        Call it before anything of the body was taken, and `take_back` in the end.
        """
        if self._length is None or self._length == self._received or self.cycle.waiting_for_100_continue:
            return None
        lent = self._lend(patience)
        if lent is None:
            return None
        self.flow.pause_reading()
        first = b"".join([self.cycle.body, *self._held])
        self.cycle.body, self._held, self._held_bytes = bytearray(), [], 0
        return DirectBody(first, self._length - self._received, lent)

    async def lend_answer(self, patience: Patience) -> DirectSocket | None:
        """Lend the sending side once the answer's head is sent, or None where only the event loop can use it.

        Call `take_back` in the end.
        """
        await asyncio.sleep(0)  # the loop writes what it holds when it comes round
        is_plain = not self.cycle.chunked_encoding and self.scope["method"] != "HEAD"
        return self._lend(patience) if is_plain and not self.transport.get_write_buffer_size() else None

    def _lend(self, patience: Patience) -> DirectSocket | None:
        handle = self.transport.get_extra_info("socket")
        if handle is None or self.scheme == "https" or self.pipeline or self.transport.is_closing():
            return None
        self._lent, self._lent_by = DirectSocket(handle.fileno(), patience), self.cycle
        return self._lent

    def take_back(self, *, received: int = 0, sent: int = 0) -> None:
        """Go on as if the event loop had received, or sent, these bytes itself."""
        assert self._lent is not None
        self._lent.close()
        self._lent = None
        # A client that has its whole answer may have sent the next request: `self.cycle` is that one then.
        self._lent_by.expected_content_length -= sent
        self._is_skipping = True
        while received and self.parser is not None:
            skipped = _ZEROS[:received] if received < len(_ZEROS) else _ZEROS
            self.parser.feed_data(skipped)
            received -= len(skipped)
        self._is_skipping = False

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
