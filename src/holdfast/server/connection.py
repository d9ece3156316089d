"""One connection of the server: uvicorn's own, with bodies in large pieces and no patience for heads that never end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 30.0
BATCH_BYTES = 1 << 20
ABORT = "holdfast.abort"
"""The ASGI extension whose ``now()`` drops the connection and what is still to be sent."""


class Connection(HttpToolsProtocol):
    """Drops a client that opens a connection, or begins a request, and does not finish its head in `HEAD_S`.

    The limit also covers what is left of a body after the request was refused.

    The app gets a body in pieces of about `BATCH_BYTES`, and reading pauses while it has not taken one. uvicorn's own
    pieces of 64 KiB would cost more in Python, per byte, than hashing and writing them.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        extensions: dict[str, Any] = {ABORT: {"now": self.transport.abort}}
        self.scope["extensions"] = extensions
        self._held: list[bytes] = []
        self._held_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
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

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
