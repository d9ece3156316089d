"""The transport against a real socket server that answers as it is told."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from holdfast.errors import (
    CorruptContentError,
    HoldfastError,
    RunNotFoundError,
    SettingsError,
    UnauthorizedError,
    VaultFullError,
    VaultUnavailableError,
)
from holdfast.remote.transport import BLOCK_BYTES, Body, Transport


class Scripted:
    """Answers each request with the next of some raw answers; None cuts the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self.requests: list[bytes] = []
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while self._answers:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as stream:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += stream.readline()
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length")), 0
                )
                self.requests.append(head + stream.read(length))
                answer = self._answers.pop(0)
                if answer is not None:
                    connection.sendall(answer)
        self._listener.close()


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def told(code: str, **more: object) -> bytes:
    return json.dumps({"code": code, "message": "It is so.", "hint": "Do this.", **more}).encode()


def test_a_body_is_sent_as_it_lies_with_its_length_and_can_be_sent_again():
    server = Scripted(answer(500), answer(200, b"done"))
    pieces = [b"a", memoryview(bytearray(3 * BLOCK_BYTES)), bytearray(b"z" * 70_000), b"", b"b" * 10]

    reply = Transport(server.url, "hf_key", retry_for_s=5).request("PUT", "/x", body=pieces)

    assert reply == b"done"
    first, second = (request.partition(b"\r\n\r\n") for request in server.requests)
    assert first[2] == second[2] == b"".join(pieces)
    assert b"content-length: 3215739" in first[0]
    assert b"transfer-encoding" not in first[0].lower()
    assert b"authorization: Bearer hf_key" in first[0]


def test_large_buffers_are_not_copied_and_small_ones_are_joined():
    large = bytearray(2 * BLOCK_BYTES)
    blocks = list(Body([b"one", b"two", large, *[b"tiny"] * 1000]))

    assert [len(block) for block in blocks] == [6, BLOCK_BYTES, BLOCK_BYTES, 4000]
    assert blocks[1].obj is large


def test_faults_that_pass_are_waited_out():
    server = Scripted(None, answer(503), answer(429), answer(502, b"<html>"), answer(200, b"yes"))

    assert Transport(server.url, None, retry_for_s=30).request("GET", "/") == b"yes"
    assert len(server.requests) == 5


def test_patience_ends_with_the_last_fault():
    server = Scripted(*[answer(500, told("error", request_id="abc"))] * 50)

    with pytest.raises(VaultUnavailableError, match="500: It is so") as caught:
        Transport(server.url, None, retry_for_s=0.3).request("GET", "/")
    assert caught.value.details["request_id"] == "abc"
    assert caught.value.retryable


def test_retry_after_is_honoured_up_to_the_patience():
    server = Scripted(answer(503, b"", "retry-after: 1"), answer(200), answer(503, b"", "retry-after: 60"))
    transport = Transport(server.url, None, retry_for_s=5)

    began = time.monotonic()
    transport.request("GET", "/")
    assert time.monotonic() - began >= 1
    with pytest.raises(VaultUnavailableError):
        transport.request("GET", "/")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("status", "code", "cls"),
    [
        (404, "run_not_found", RunNotFoundError),
        (401, "unauthorized", UnauthorizedError),
        (507, "vault_full", VaultFullError),
        (500, "corrupt_content", CorruptContentError),
        (418, "newer_than_we_are", HoldfastError),
    ],
)
def test_an_error_of_the_server_is_raised_as_the_same_class_at_once(status, code, cls):
    server = Scripted(answer(status, told(code, details={"name": "x"}, request_id="abc")))

    with pytest.raises(HoldfastError) as caught:
        Transport(server.url, None, retry_for_s=30).request("GET", "/")

    assert type(caught.value) is cls
    assert str(caught.value) == "It is so. Do this."
    assert caught.value.details == {"name": "x", "request_id": "abc"}
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed_with_the_key():
    server = Scripted(answer(307, b"", "location: https://elsewhere/"))

    with pytest.raises(SettingsError, match="elsewhere"):
        Transport(server.url, "hf_key", retry_for_s=30).request("GET", "/")


def test_what_is_no_holdfast_server_is_said_to_be_none():
    server = Scripted(answer(404, b"<h1>Not here</h1>"))

    with pytest.raises(HoldfastError, match="Not here"):
        Transport(server.url, None, retry_for_s=30).request("GET", "/")


def test_a_server_that_is_away_is_unavailable_and_the_message_says_why():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(VaultUnavailableError, match="refused"):
        Transport(f"http://127.0.0.1:{port}", None, retry_for_s=0).request("GET", "/")


def test_tls_to_a_server_without_it_is_final():
    with Plain() as port, pytest.raises(SettingsError, match="TLS"):
        Transport(f"https://127.0.0.1:{port}", None, retry_for_s=30).request("GET", "/")


class Plain:
    """A server that answers anything, TLS hellos too, with plain text."""

    def __enter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._listener.getsockname()[1]
        return port

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def __exit__(self, *_: object) -> None:
        self._listener.close()


@pytest.mark.parametrize(
    "url", ["", "vault:8420", "ftp://vault", "http://", "http://vault:99999", "http://v/?q=1"]
)
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(SettingsError):
        Transport(url, None, retry_for_s=0)


@pytest.mark.parametrize("key", ["", " ", "hf_a b", "hf_\r\nx: y", "hf_ü"])
def test_a_key_that_cannot_be_one_is_refused(key):
    with pytest.raises(UnauthorizedError):
        Transport("http://vault", key, retry_for_s=0)


def test_a_stream_that_is_cut_is_unavailable_after_the_bytes_that_came():
    server = Scripted(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n" + b"x" * 60)
    stream = Transport(server.url, None, retry_for_s=5).stream("/read", body=[b"{}"], size_bytes=100)

    received = []
    with pytest.raises(VaultUnavailableError, match="cut"):
        received.extend(stream)
    assert b"".join(received) == b"x" * 60
    assert len(server.requests) == 1


def test_a_stream_of_another_size_is_refused():
    server = Scripted(answer(200, b"x" * 99))

    with pytest.raises(VaultUnavailableError, match="99"):
        list(Transport(server.url, None, retry_for_s=0).stream("/read", body=[b"{}"], size_bytes=100))


def test_closing_ends_the_wait_for_the_next_attempt():
    server = Scripted(answer(503, b"", "retry-after: 100"))
    transport = Transport(server.url, None, retry_for_s=1000)
    threading.Timer(0.2, transport.close).start()

    began = time.monotonic()
    with pytest.raises(VaultUnavailableError, match="closed"):
        transport.request("GET", "/")
    assert time.monotonic() - began < 10


def test_traffic_is_counted_to_the_byte_as_sent():
    server = Scripted(answer(200, b"0123456789"))
    transport = Transport(server.url, "hf_key", retry_for_s=0)

    transport.request("POST", "/x", body=[b"hello"])

    assert transport.traffic.requests == 1
    assert transport.traffic.bytes_sent == len(server.requests[0])
    assert abs(transport.traffic.bytes_received - len(answer(200, b"0123456789"))) < 10
