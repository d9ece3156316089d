"""A connection whose client dawdles, on a real uvicorn in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn

from holdfast.server import connection


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch) -> Iterator[int]:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=connection.Connection, loop="uvloop", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_who_never_finishes_a_head_is_dropped(port, sent):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        began = time.monotonic()
        with suppress(ConnectionResetError):
            assert client.recv(1000) == b""

    assert time.monotonic() - began < 4


def test_who_drips_on_after_his_request_was_answered_is_dropped(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < 4:
                client.sendall(b"x")
                time.sleep(0.05)

    assert time.monotonic() - began < 4


def test_an_idle_connection_between_requests_stays(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            received = b""
            while not received.endswith(b"ok"):
                received += client.recv(1000)
            time.sleep(0.8)
