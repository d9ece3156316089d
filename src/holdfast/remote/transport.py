"""HTTP to one server: kept-alive connections, bodies sent without copies, faults that pass waited out.

**How it works.** Each request is repeated with full-jitter back-off (0 to 0.5 s, 1 s, 2 s ... 60 s; never earlier than
the server's ``Retry-After``) while the fault may pass, until ``retry_for_s`` is over. That is safe because every call of
the `Vault` Protocol may be repeated. A body is a sequence of buffers: it is sent as it lies in memory, with a
``Content-Length``, and can be sent again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from holdfast.errors import HoldfastError, SettingsError, UnauthorizedError, VaultUnavailableError
from holdfast.remote.faults import PassingFault, fault_of_answer, fault_of_connection
from holdfast.remote.traffic import Traffic, open_pool

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 64 << 10
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0

Buffer = bytes | bytearray | memoryview


class Body:
    """The body of a request, in blocks fit for the socket; iterating again gives the same bytes.

    Large buffers are sliced without a copy, so that no single send takes long; small ones are joined.
    """

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._buffers = buffers
        self.size_bytes = sum(memoryview(buffer).nbytes for buffer in buffers)

    def __iter__(self) -> Iterator[Buffer]:
        small = bytearray()
        for buffer in self._buffers:
            view = memoryview(buffer).cast("B")
            if len(view) < _SMALL_BYTES:
                small += view
                if len(small) < BLOCK_BYTES:
                    continue
                view = view[len(view) :]
            if small:
                yield small
                small = bytearray()
            for start in range(0, len(view), BLOCK_BYTES):
                yield view[start : start + BLOCK_BYTES]
        if small:
            yield small


class Transport:
    """Sends requests to one server. Safe to use from several threads.

    Args:
        url: ``http://`` or ``https://``, host, optional port and path prefix.
        api_key: Sent with every request; None sends none.
        retry_for_s: How long a request is repeated while the fault may pass; 0 tries once.
        connect_timeout_s: How long a connection may take to open.
        stall_timeout_s: How long the server may stay silent in the middle of a request.

    Raises:
        SettingsError: The URL is not one of a server.
        UnauthorizedError: The key has characters that no key has.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        retry_for_s: float,
        connect_timeout_s: float = 10.0,
        stall_timeout_s: float = 120.0,
    ) -> None:
        scheme, host, port, self._prefix = _split(url)
        self.traffic = Traffic()
        self.origin = url.rstrip("/")
        self._headers = {"user-agent": "holdfast", "accept-encoding": "identity", **_authorization(api_key)}
        self._retry_for_s = retry_for_s
        self._closed = threading.Event()
        self._pool = open_pool(
            scheme,
            host,
            port,
            self.traffic,
            connect_timeout_s=connect_timeout_s,
            stall_timeout_s=stall_timeout_s,
        )

    def close(self) -> None:
        """Close idle connections, and make those who wait for the next attempt give up."""
        self._closed.set()
        self._pool.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Sequence[Buffer] | None = None,
        media_type: str = "application/json",
    ) -> bytes:
        """Send a request and return the body of the answer.

        Raises:
            HoldfastError: As the server told it; `VaultUnavailableError` when it could not be asked.
        """
        response = self._insist(method, self._target(path, query), body, media_type, stream=False)
        return response.data

    def stream(self, path: str, *, body: Sequence[Buffer], size_bytes: int) -> Iterator[bytes]:
        """POST a request and yield the body of the answer in blocks of up to 1 MiB.

        Only the opening is repeated after a fault; what was yielded is never yielded again.

        Raises:
            VaultUnavailableError: The stream was cut, or does not have ``size_bytes``.
        """
        response = self._insist("POST", self._target(path, None), body, "application/json", stream=True)
        whole = False
        try:
            if response.length_remaining != size_bytes:
                raise VaultUnavailableError(
                    f"{self.origin} would send {response.length_remaining} bytes, not the {size_bytes} asked for."
                )
            left = size_bytes
            while left:
                block = self._read_block(response)
                left -= len(block)
                yield block
            whole = True
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()

    def _read_block(self, response: urllib3.BaseHTTPResponse) -> bytes:
        try:
            block = response.read(BLOCK_BYTES)
        except HTTPError as exc:
            raise VaultUnavailableError(f"The connection to {self.origin} was cut: {exc}.") from exc
        if not block:
            raise VaultUnavailableError(f"The connection to {self.origin} was cut.")
        self.traffic.add(received=len(block))
        return block

    def _insist(
        self, method: str, target: str, body: Sequence[Buffer] | None, media_type: str, *, stream: bool
    ) -> urllib3.BaseHTTPResponse:
        give_up_at = time.monotonic() + self._retry_for_s
        for attempt in count():
            try:
                return self._once(method, target, body, media_type, stream=stream)
            except PassingFault as fault:
                pause_s = max(_pause_s(attempt), fault.retry_after_s)
                if time.monotonic() + pause_s > give_up_at:
                    raise fault.error from fault.__cause__
                log.info("%s Trying again in %.1f s.", fault.error.message, pause_s)
            if self._closed.wait(pause_s):
                raise VaultUnavailableError(f"The connection to {self.origin} was closed.")
        raise AssertionError("unreachable")

    def _once(
        self, method: str, target: str, body: Sequence[Buffer] | None, media_type: str, *, stream: bool
    ) -> urllib3.BaseHTTPResponse:
        headers = dict(self._headers)
        blocks = None
        if body is not None:
            blocks = Body(body)
            headers["content-type"] = media_type
            headers["content-length"] = str(blocks.size_bytes)
        self.traffic.add(requests=1)
        try:
            response = self._pool.urlopen(
                method,
                target,
                body=blocks,  # type: ignore[arg-type]  # any buffer will do, see urllib3.util.request.body_to_chunks
                headers=headers,
                redirect=False,
                preload_content=not stream,
                decode_content=False,
            )
            failed = response.status >= 300
            data = b"" if stream and not failed else response.data
        except HTTPError as exc:
            raise _raised(fault_of_connection(exc, self.origin)) from exc
        lines = sum(len(name) + len(value) + 4 for name, value in response.headers.items())
        self.traffic.add(received=lines + len("HTTP/1.1 200 OK\r\n\r\n") + len(data))
        if failed:
            raise _raised(fault_of_answer(response, data, self.origin))
        return response

    def _target(self, path: str, query: Mapping[str, object] | None) -> str:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._prefix + path + (f"?{urlencode(given)}" if given else "")


def _raised(fault: HoldfastError | PassingFault) -> Exception:
    return fault


def _pause_s(attempt: int) -> float:
    # Not for secrets: jitter only keeps many clients from coming back at the same moment.
    return random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(attempt, 10)))  # noqa: S311


def _authorization(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    key = str(api_key).strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UnauthorizedError("The API key has characters that no API key has.")
    return {"authorization": f"Bearer {key}"}


def _split(url: str) -> tuple[str, str, int | None, str]:
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as exc:
        raise SettingsError(f"{url!r} is not the URL of a server: {exc}.") from exc
    if scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise SettingsError(
            f"{url!r} is not the URL of a server.", hint="Write http://HOST:PORT or https://HOST."
        )
    return scheme, host, port, parts.path.rstrip("/")
