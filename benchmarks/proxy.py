"""A TCP proxy before a server that counts what goes through: bytes each way, and HTTP requests.

It is the judge of what was sent: no counter of Holdfast's own is believed. Times are never taken through it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d+)")


@dataclass(slots=True)
class Count:
    """What went through."""

    requests: int = 0
    sent: int = 0
    """Bytes from clients to the server, HTTP heads included."""
    received: int = 0

    def __sub__(self, other: Count) -> Count:
        return Count(self.requests - other.requests, self.sent - other.sent, self.received - other.received)


class _Requests:
    """Counts the requests in a stream of HTTP/1.1 requests with Content-Length."""

    def __init__(self) -> None:
        self.count = 0
        self._head = bytearray()
        self._body_left = 0

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            skipped = min(self._body_left, len(view))
            self._body_left -= skipped
            view = view[skipped:]
            if not view:
                return
            seen = len(self._head)
            self._head += view
            end = self._head.find(b"\r\n\r\n", max(0, seen - 3))
            if end < 0:
                return
            length = _LENGTH.search(self._head, 0, end + 2)
            assert b"transfer-encoding" not in self._head[:end].lower(), "chunked requests are not counted"
            self.count += 1
            self._body_left = int(length[1]) if length else 0
            view = view[end + 4 - seen :]
            self._head.clear()


class CountingProxy:
    """Listens on a free loopback port and passes all on to the server at ``url``, counting."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = (target.hostname, target.port)
        self._lock = threading.Lock()
        self._count = Count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def count(self) -> Count:
        """Return the counts as of now."""
        with self._lock:
            return Count(self._count.requests, self._count.sent, self._count.received)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for near, far, outward in ((client, server, True), (server, client, False)):
                    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._pass_on, args=(near, far, outward), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket, outward: bool) -> None:
        requests = _Requests()
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 18):
                before = requests.count
                if outward:
                    requests.feed(data)
                with self._lock:
                    self._count.requests += requests.count - before
                    if outward:
                        self._count.sent += len(data)
                    else:
                        self._count.received += len(data)
                far.sendall(data)
        for end in (near, far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
