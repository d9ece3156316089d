"""The gate that every request passes: who asks, how long he may dawdle, and the line in the log.

**How it works.** A pure ASGI middleware. It gives the request an id, refuses callers without a valid key on every
path that is not declared open, so that a new route is closed unless somebody opens it, and bounds the time that a
client may keep the server waiting: a patience that waiting uses up and bytes that move restore. Whatever fails behind it
is answered here, or, if the answer has begun, the connection is cut, so that the client sees that it is not whole.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.errors import HoldfastError, UnauthorizedError, UsageError
from holdfast.server.connection import ABORT
from holdfast.server.errors import error_response
from holdfast.server.patience import Patience
from holdfast.vault import LocalVault

log = logging.getLogger(__name__)
access_log = logging.getLogger("holdfast.server.access")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
OPEN_PATHS = frozenset({"/healthz", "/openapi.json"})
STALL_S = 60.0

VaultOf = Callable[[str], LocalVault | None]
"""Returns the vault as the owner of an API key sees it; None for a key that is not valid."""


class Gate:
    """Wraps the app.

    Args:
        app: What to ask behind the gate.
        vault_of: Knows the API keys; called in a worker thread.
        stall_s: How long a client may keep the server waiting; each 8 KiB that move restore a second of it.
    """

    def __init__(self, app: ASGIApp, *, vault_of: VaultOf, stall_s: float = STALL_S) -> None:
        self._app = app
        self._vault_of = vault_of
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._stall_s)
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        scope["state"]["exchange"] = exchange
        try:
            if scope["path"] not in OPEN_PATHS:
                scope["state"]["vault"] = await self._callers_vault(scope)
            _check_path(scope["path"])
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass
        except Exception as exc:  # noqa: BLE001 - the edge of a request
            await _answer_failure(exc, scope, exchange)
        finally:
            exchange.end()
            _log_access(scope, exchange)

    async def _callers_vault(self, scope: Scope) -> LocalVault:
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise UnauthorizedError("The request has no API key.")
        vault = await run_sync(self._vault_of, key.strip())
        if vault is None:
            raise UnauthorizedError("The API key is not valid.")
        return vault


class Exchange:
    """One request and its answer: counts bytes, and drops a client that lets the server wait too long."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, stall_s: float) -> None:
        self.request_id = secrets.token_hex(8)
        self.status = 0
        self.complete = False
        self.sent_bytes = 0
        self.started_at = time.monotonic()
        self._receive = receive
        self._send = send
        self.patience = Patience(stall_s)
        self._waiting_since: float | None = None
        self._body_ended = False
        self._drop: Callable[[], None] = scope["extensions"][ABORT]["now"]
        self._timer = asyncio.get_running_loop().call_later(stall_s, self._check_patience)

    async def receive(self) -> Message:
        if self._body_ended:
            return await self._receive()
        self._waiting_since = time.monotonic()
        message = await self._receive()
        if message["type"] == "http.request":
            self._moved(len(message.get("body", b"")))
            self._body_ended = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
        self._waiting_since = time.monotonic()
        await self._send(message)
        size = len(message.get("body", b""))
        self._moved(size)
        self.sent_bytes += size
        if message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)

    def drop(self) -> None:
        """Cut the connection."""
        self._drop()

    def end(self) -> None:
        """Stop watching the client."""
        self._timer.cancel()

    def _moved(self, size_bytes: int) -> None:
        """The client let us wait and has sent or taken so many bytes now."""
        if self._waiting_since is not None:
            self.patience.spend(time.monotonic() - self._waiting_since, size_bytes)
        self._waiting_since = None

    def _check_patience(self) -> None:
        # One timer that looks now and then costs nothing per piece, as a timeout around each wait would.
        waited_s = 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since
        left_s = self.patience.left_s - waited_s
        if left_s <= 0:
            self._drop()
        else:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._check_patience)


def _check_path(path: str) -> None:
    # No name may have them, and the router loses a newline at the end.
    if _CONTROL.search(path):
        raise UsageError("The path has a control character.")


async def _answer_failure(exc: Exception, scope: Scope, exchange: Exchange) -> None:
    if exchange.status:
        log.warning("Request %s is cut: %s", exchange.request_id, exc.__cause__ or exc)
        exchange.drop()
        return
    if not isinstance(exc, HoldfastError):
        log.error("Request %s failed", exchange.request_id, exc_info=exc)
    await error_response(exc, exchange.request_id)(scope, exchange.receive, exchange.send)


def _log_access(scope: Scope, exchange: Exchange) -> None:
    access_log.info(
        "%s %s %s %d B %.0f ms %s%s",
        scope["method"],
        scope["raw_path"].decode("ascii", "replace"),
        exchange.status or "-",
        exchange.sent_bytes,
        (time.monotonic() - exchange.started_at) * 1000,
        exchange.request_id,
        "" if exchange.complete else " cut",
    )
