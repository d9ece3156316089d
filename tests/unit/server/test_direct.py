"""Bodies that a worker takes from the socket, or writes to it, on a real uvicorn in a thread."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, IncompleteRead

import pytest
import uvicorn
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request

from holdfast.server.connection import DIRECT, Connection
from holdfast.server.direct import DirectSocket
from holdfast.server.patience import Patience
from holdfast.vault.blobs import BlobSlice

BODY = os.urandom(5_000_000)


class App:
    """Answers with what it took of a body and how; `/half` takes one piece only; GET sends `BODY`.

    GET of another path sends the file there, of which it says that it is as long as `BODY`.
    """

    def __init__(self) -> None:
        self.ended: list[tuple[str, float]] = []

    async def __call__(self, scope, receive, send):
        connection: Connection = scope["extensions"][DIRECT]["connection"]
        if scope["method"] == "GET":
            await self.answer(send, len(BODY), b"")
            lent = await connection.lend_answer(Patience(1.0))
            assert lent is not None
            try:
                await run_sync(self.give, scope["path"], lent)
            except ClientDisconnect:
                connection.abort()
                return
            finally:
                connection.take_back(sent=len(BODY))
            await send({"type": "http.response.body", "body": b""})
            return
        body = connection.lend_body(Patience(1.0))
        if body is None:
            data = await Request(scope, receive).body()
            await self.answer(send, None, b"loop " + digest(data))
            return
        if scope["path"] == "/drop":
            threading.Timer(0.3, lambda: connection.loop.call_soon_threadsafe(connection.abort)).start()
        began = time.monotonic()
        try:
            data = await run_sync(self.take, body, scope["path"] == "/half")
        except ClientDisconnect:
            self.ended.append(("gone", time.monotonic() - began))
            connection.abort()
            return
        finally:
            connection.take_back(received=body.taken)
        await self.answer(send, None, b"direct " + digest(data))

    @staticmethod
    def give(path: str, lent: DirectSocket) -> None:
        if path == "/":
            lent.send(memoryview(BODY))
            return
        with open(path, "rb") as file:
            lent.send_file(BlobSlice(file.fileno(), 3, len(BODY)))

    @staticmethod
    def take(body, half: bool) -> bytes:
        pieces = iter(body)
        if half:
            return bytes(next(pieces)) + bytes(next(pieces))
        return b"".join(map(bytes, pieces))

    @staticmethod
    async def answer(send, length: int | None, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % (len(body) if length is None else length))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if length is None:
            await send({"type": "http.response.body", "body": body})


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def port(app) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Connection, loop="uvloop", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def client(port) -> Iterator[HTTPConnection]:
    client = HTTPConnection("127.0.0.1", port, timeout=10)
    yield client
    client.close()


def post(client: HTTPConnection, path: str, body: bytes) -> bytes:
    client.request("POST", path, body)
    return client.getresponse().read()


def test_bodies_of_one_connection_arrive_whole_one_after_the_other(client):
    for size in (3_000_000, 5_000_000, 2_000_001):
        assert post(client, "/", BODY[:size]) == b"direct " + digest(BODY[:size])


def test_a_body_that_was_there_with_its_head_needs_no_loan(client):
    assert post(client, "/", b"abc") in (b"loop " + digest(b"abc"), b"direct " + digest(b"abc"))


def test_after_a_body_that_was_taken_in_part_the_next_request_is_understood(client):
    assert post(client, "/half", BODY).startswith(b"direct ")
    assert post(client, "/", BODY) == b"direct " + digest(BODY)


def test_answers_go_out_whole_one_after_the_other(client):
    for _ in range(100):  # the next request is often there before the server knows that the answer is out
        client.request("GET", "/")
        assert client.getresponse().read() == BODY


def test_a_part_of_a_file_goes_out_as_it_is_one_answer_after_the_other(client, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"abc" + BODY + b"def")
    for _ in range(20):
        client.request("GET", str(file))
        assert client.getresponse().read() == BODY


def test_where_a_file_is_cut_the_answer_is_cut(client, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(BODY)
    client.request("GET", str(file))

    with pytest.raises((IncompleteRead, ConnectionResetError)):
        client.getresponse().read()


def test_who_waits_for_a_go_ahead_gets_it(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 100")
        client.sendall(b"abc")
        answer = b""
        while digest(b"abc") not in answer:
            answer += client.recv(1000)

    assert b"loop " in answer


@pytest.mark.parametrize(("path", "least_s", "most_s"), [("/", 0.5, 5), ("/drop", 0.1, 0.9)])
def test_a_worker_is_freed_when_patience_or_the_connection_ends(port, app, path, least_s, most_s):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n"
        client.sendall(head.encode() + BODY[:100_000])
        with suppress(ConnectionResetError):
            assert client.recv(1000) == b""
        while not app.ended:
            time.sleep(0.01)
    assert least_s < app.ended[0][1] < most_s
