"""A TCP proxy in front of a server that does to requests what bad networks and bad days do.

It understands just enough HTTP/1.1 (heads and Content-Length) to know where requests and replies end.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

BLOCK = 1 << 16
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlater"


@dataclass
class Message:
    """The head of a request or a reply, and how many bytes follow it."""

    head: bytes
    length: int

    @property
    def first_line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")


class FaultProxy:
    """Forwards to ``port`` on loopback; each fault method changes what happens to requests from then on.

    Args:
        port: Where the real server is.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self.heal()
        self.bytes_to_server = 0
        self.requests: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    # -- faults

    def heal(self) -> None:
        """End all faults."""
        self._delay_s = 0.0
        self._drops: Callable[[int, str], bool] = lambda _number, _line: False
        self._refuses: Callable[[int, str], bool] = lambda _number, _line: False
        self._request_cuts = [0, 0]
        self._reply_cuts = [0, 0]

    def delay(self, seconds: float) -> None:
        """Hold every request for so long."""
        self._delay_s = seconds

    def drop_replies(self, *, every: int = 1, of: str = "", times: int = 1 << 30) -> None:
        """Let every n-th request (whose first line contains ``of``) happen and lose its reply."""
        self._drops = _each(every, of, times)

    def answer_503(self, *, every: int = 1, of: str = "", times: int = 1 << 30) -> None:
        """Answer every n-th request (whose first line contains ``of``) with 503, without asking the server."""
        self._refuses = _each(every, of, times)

    def cut_requests(self, *, after: int, times: int) -> None:
        """Cut the connection so many bytes into the body of the next requests that have more."""
        self._request_cuts = [after, times]

    def cut_replies(self, *, after: int, times: int) -> None:
        """Cut the connection so many bytes into the body of the next replies that have more."""
        self._reply_cuts = [after, times]

    # -- life

    def close(self) -> None:
        self._closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _shut(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- forwarding

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        try:
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                self._open.add(server)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                from_client, from_server = client.makefile("rb"), server.makefile("rb")
                while self._exchange(client, from_client, server, from_server):
                    pass
                _shut(server)
                self._open.discard(server)
                _shut(client)
        except OSError:
            pass
        finally:
            self._open.discard(client)

    def _exchange(
        self, client: socket.socket, from_client: BinaryIO, server: socket.socket, from_server: BinaryIO
    ) -> bool:
        request = _read_head(from_client)
        if request is None:
            return False
        number = next(self._numbers)
        self.requests.append(request.first_line)
        time.sleep(self._delay_s)
        if self._refuses(number, request.first_line):
            _copy(from_client, request.length, lambda _data: None)
            client.sendall(UNAVAILABLE)
            return False
        cut_at = self._cut_at(self._request_cuts, request.length)
        self._to_server(server, request.head)
        _copy(from_client, cut_at, lambda data: self._to_server(server, data))
        if cut_at < request.length:
            return False
        drops = self._drops(number, request.first_line)
        reply = _read_head(from_server)
        if reply is None:
            return False
        body = 0 if request.head.startswith(b"HEAD ") else reply.length
        cut_at = self._cut_at(self._reply_cuts, body)
        deliver = (lambda _data: None) if drops else client.sendall
        deliver(reply.head)
        _copy(from_server, cut_at, deliver)
        return not drops and cut_at == body

    def _to_server(self, server: socket.socket, data: bytes) -> None:
        server.sendall(data)
        with self._lock:
            self.bytes_to_server += len(data)

    def _cut_at(self, cuts: list[int], length: int) -> int:
        with self._lock:
            after, times = cuts
            if not times or length <= after:
                return length
            cuts[1] -= 1
            return after


def _each(every: int, of: str, times: int) -> Callable[[int, str], bool]:
    matches = itertools.count(1)
    left = itertools.count(times, -1)

    def is_hit(_number: int, first_line: str) -> bool:
        return of in first_line and next(matches) % every == 0 and next(left) > 0

    return is_hit


def _read_head(stream: BinaryIO) -> Message | None:
    lines: list[bytes] = []
    length = 0
    while True:
        line = stream.readline()
        if not line:
            return None
        lines.append(line)
        if line == b"\r\n":
            return Message(b"".join(lines), length)
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)


def _copy(stream: BinaryIO, length: int, deliver: Callable[[bytes], object]) -> None:
    while length:
        data = stream.read(min(length, BLOCK))
        if not data:
            raise ConnectionError("cut")
        deliver(data)
        length -= len(data)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
