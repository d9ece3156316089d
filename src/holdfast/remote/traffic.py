"""What goes over the wire, counted; and the connections that count it."""

from __future__ import annotations

import threading
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class Traffic:
    """Counters of one `RemoteVault`, over all its threads and repeated attempts.

    Sent bytes are exact, before TLS. Received bytes have bodies exact and headers as they are usually written.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self._lock = threading.Lock()

    def add(self, *, requests: int = 0, sent: int = 0, received: int = 0) -> None:
        """Count."""
        with self._lock:
            self.requests += requests
            self.bytes_sent += sent
            self.bytes_received += received


class _Counted:
    """Counts what a connection sends, and bounds how long a peer may refuse to take it."""

    def __init__(self, *args: Any, traffic: Traffic, stall_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._traffic = traffic
        self._stall_timeout_s = stall_timeout_s

    def send(self, data: Any) -> None:
        connection: Any = self
        if connection.sock is not None:
            # urllib3 leaves the connect timeout in force while a body is sent.
            connection.sock.settimeout(self._stall_timeout_s)
        super().send(data)  # type: ignore[misc]  # the connection class beside this one has it
        self._traffic.add(sent=len(data))


class _PlainConnection(_Counted, HTTPConnection):
    pass


class _TlsConnection(_Counted, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def open_pool(
    scheme: str,
    host: str,
    port: int | None,
    traffic: Traffic,
    *,
    connect_timeout_s: float,
    stall_timeout_s: float,
) -> urllib3.HTTPConnectionPool:
    """Return a pool of kept-alive connections to one server, each counting into ``traffic``.

    No connection is made yet. Nothing is retried and no redirect is followed by the pool itself.
    """
    pool = _TlsPool if scheme == "https" else _PlainPool
    return pool(
        host,
        port,
        maxsize=64,
        block=False,
        retries=False,
        timeout=urllib3.Timeout(connect=connect_timeout_s, read=stall_timeout_s),
        traffic=traffic,
        stall_timeout_s=stall_timeout_s,
    )
