"""One connection of the server: uvicorn's own, with a limit on how long a client may take to send a request's head."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 30.0
ABORT = "holdfast.abort"
"""The ASGI extension whose ``now()`` drops the connection and what is still to be sent."""


class Connection(HttpToolsProtocol):
    """Drops a client that opens a connection, or begins a request, and does not finish its head in `HEAD_S`.

    The limit also covers what is left of a body after the request was refused.
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
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
