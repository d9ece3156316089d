"""A real server process: its API, its keys, its limits, and what `RemoteVault` makes of bad networks and bad days."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
import urllib3

from holdfast.credentials import load_credential, load_credentials
from holdfast.errors import (
    CorruptContentError,
    HoldfastError,
    MalformedContentError,
    RunNotFoundError,
    StoredFileNotFoundError,
    UnauthorizedError,
    UsageError,
    VaultUnavailableError,
)
from holdfast.names import RunPath
from holdfast.protocol.messages import Commit, FileRef, LocateQuery, PackRange, ReadQuery
from holdfast.remote import RemoteVault
from holdfast.restoring.content import iter_content
from holdfast.server.auth import new_api_key
from tests.services.fault_proxy import FaultProxy
from tests.services.holdfast_server import HoldfastServer
from tests.services.storing import entry_of, new_pack_id, open_run, pack_of, store

MIB = 1 << 20
CONTENT = random.Random(1).randbytes(3 * MIB + 12_345)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with HoldfastServer(tmp_path_factory.mktemp("server"), stall_s=2.0) as server:
        yield server


@pytest.fixture(scope="module")
def vault(server):
    vault = RemoteVault(server.url, server.api_key, retry_for_s=10)
    yield vault
    vault.close()


@pytest.fixture(scope="module")
def stored(vault) -> RunPath:
    run = open_run(vault, "me/project/stored")
    store(
        vault, run, {"dir/model [1].bin": CONTENT, "page.html": b"<script>", "empty": b"", "a b.txt": b"old"}
    )
    store(vault, run, {"a b.txt": b"new text"})
    return run


@pytest.fixture
def proxy(server):
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def through(proxy, server):
    vault = RemoteVault(proxy.url, server.api_key, retry_for_s=20)
    yield vault
    vault.close()


def get(server, path: str, *, method: str = "GET", key: str | None = "", **headers: str):
    key = server.api_key if key == "" else key
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        given["authorization"] = f"Bearer {key}"
    return urllib3.request(method, server.url + path, headers=given, redirect=False, retries=False)


def raw(server, name: str, *, query: str = "", method: str = "GET", **headers: str):
    return get(server, f"/api/v1/runs/me/project/stored/raw/{name}{query}", method=method, **headers)


def read_all(vault, run: RunPath, name: str, version: int | None = None) -> bytes:
    [info] = vault.get_files(run, [FileRef(name=name, version=version)])
    return b"".join(iter_content(vault, run, info))


# ---------------------------------------------------------------- the first start, keys


def test_the_first_start_logs_this_machines_user_in_and_nobody_else_can_read_the_key(server):
    file = server.home / "credentials"

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"holdfast login {server.url}" in server.output
    assert (
        RemoteVault(server.url, server.api_key).whoami().entity
        == load_credential(server.home, server.url).entity
    )


def test_keys_are_stored_only_as_hashes_and_never_written_anywhere(server, vault):
    vault.whoami()
    get(server, "/api/v1/whoami", key=new_api_key())

    key = server.api_key.encode()
    places = [path for path in server.folder.rglob("*") if path.is_file() and path.name != "credentials"]
    assert len(places) > 2
    assert [path for path in places if key in path.read_bytes()] == []


def test_the_vault_is_served_again_on_another_port_without_a_new_login(tmp_path):
    with HoldfastServer(tmp_path) as first:
        key, url = first.api_key, first.url
        first.kill()
        first.port = 0
        first.start()

        assert first.url != url
        assert first.api_key == key
        assert set(load_credentials(first.home)) == {url, first.url}
        assert "holdfast login" not in first.output
        assert RemoteVault(first.url, key, retry_for_s=0).whoami()


def test_the_key_is_shown_only_when_asked_for(tmp_path):
    with HoldfastServer(tmp_path, show_key=True) as server:
        assert server.api_key in server.output


@pytest.mark.parametrize(
    "key",
    [None, new_api_key(), "hf_garbage", "x" * 10_000, "%00"],
    ids=[
        "none",
        "well formed",
        "garbage",
        "long",
        "nul",
    ],  # the random one must have the same name for every worker
)
def test_every_route_is_closed_without_a_valid_key(server, key):
    paths = get(server, "/openapi.json", key=None).json()["paths"]
    assert len(paths) >= 15

    answers = {}
    for template, methods in paths.items():
        path = template.replace("{version}", "1")
        path = re.sub(r"\{\w+\}", "x", path)
        for method in {*methods, "head", "options"}:
            answers[method, path] = get(server, path, method=method.upper(), key=key).status

    assert {status for (_, path), status in answers.items() if path != "/healthz"} == {401}
    assert answers["get", "/healthz"] == 200


def test_paths_that_do_not_exist_tell_a_stranger_nothing(server):
    assert get(server, "/api/v1/nothing", key=None).status == 401
    assert get(server, "/../etc/passwd", key=None).status == 401


def test_a_wrong_key_is_an_error_that_says_what_to_do_and_is_not_tried_again(server):
    began = time.monotonic()

    with pytest.raises(UnauthorizedError, match="holdfast login"):
        RemoteVault(server.url, new_api_key(), retry_for_s=30).whoami()
    assert time.monotonic() - began < 5


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("DELETE", "/api/v1/whoami", None, 405, "usage"),
        ("GET", "/api/v1/runs/me/project/none", None, 404, "run_not_found"),
        ("GET", "/api/v1/runs/me/project/-bad", None, 400, "invalid_name"),
        ("GET", "/api/v1/projects?limit=0", None, 400, "usage"),
        ("GET", "/api/v1/projects?limit=many", None, 400, "usage"),
        ("POST", "/api/v1/runs", b"{", 400, "usage"),
        ("POST", "/api/v1/runs", b"[]", 400, "usage"),
        ("POST", "/api/v1/runs", b"\xff\xfe", 400, "usage"),
        ("POST", "/api/v1/uploads/none/commit", b'{"key": "k", "entries": []}', 400, "usage"),
        ("POST", "/api/v1/uploads/none/have", b"", 404, "upload_not_found"),
        ("POST", "/api/v1/uploads/none/have", b"x" * 33, 400, "usage"),
        ("PUT", "/api/v1/uploads/none/packs/short", b"x", 400, "usage"),
        ("GET", "/api/v1/runs/me/project/stored/raw/none", None, 404, "file_not_found"),
        ("GET", "/api/v1/runs/me/project/stored/raw/a%20b.txt?version=9", None, 404, "file_not_found"),
        ("GET", "/api/v1/runs/me/project/stored/raw/..%2F..%2Fetc%2Fpasswd", None, 400, "usage"),
        ("GET", "/api/v1/runs/me/project/stored/raw/a%00b", None, 400, "usage"),
    ],
)
def test_every_error_has_one_shape_and_its_own_code(  # noqa: PLR0917
    server, stored, method, path, body, status, code
):
    headers = {"authorization": f"Bearer {server.api_key}", "content-type": "application/json"}
    answer = urllib3.request(method, server.url + path, body=body, headers=headers, retries=False)

    shape = answer.json()
    assert (answer.status, shape["code"]) == (status, code)
    assert set(shape) == {"code", "message", "hint", "request_id", "details"}
    assert shape["request_id"] == answer.headers["x-request-id"]


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(server, vault):
    upload = vault.begin(open_run(vault))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = f"PUT /api/v1/uploads/{upload.upload_id}/packs/{new_pack_id()} HTTP/1.1\r\nhost: x\r\n"
        connection.sendall(
            f"{head}authorization: Bearer {server.api_key}\r\ncontent-length: {1 << 40}\r\n\r\n".encode()
        )
        answer = connection.makefile("rb").read()

    assert b" 413 " in answer
    assert b'"too_large"' in answer


def test_a_body_that_never_says_its_length_is_cut_off_at_the_limit(server, vault):
    upload = vault.begin(open_run(vault))
    path = f"/api/v1/uploads/{upload.upload_id}/have"

    answer = urllib3.request(
        "POST",
        server.url + path,
        body=iter([bytes(MIB)] * 40),
        headers={"authorization": f"Bearer {server.api_key}"},
        retries=False,
    )

    assert answer.status == 413


def test_what_the_vault_refuses_arrives_as_the_same_error(vault):
    upload = vault.begin(open_run(vault))

    with pytest.raises(MalformedContentError):
        vault.put_pack(upload.upload_id, new_pack_id(), [b"no pack" * 100_000])
    with pytest.raises(RunNotFoundError):
        vault.begin(RunPath("me", "project", "none"))


def test_garbage_instead_of_http_is_refused_and_the_server_lives_on(server):
    for garbage in (
        b"\x16\x03\x01" + bytes(100),
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n : \x00\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(garbage)
            assert b" 200 " not in connection.recv(4096)

    assert get(server, "/healthz", key=None).status == 200


# ---------------------------------------------------------------- plain content


def test_a_file_is_served_whole_with_its_hash_as_etag(server, stored):
    answer = raw(server, "dir/model%20%5B1%5D.bin")

    assert answer.status == 200
    assert answer.data == CONTENT
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert raw(server, "dir/model%20%5B1%5D.bin", if_none_match=answer.headers["etag"]).status == 304


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        (f"bytes={MIB - 5}-{MIB + 5}", MIB - 5, MIB + 6),
        (f"bytes={len(CONTENT) - 7}-", len(CONTENT) - 7, len(CONTENT)),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        (f"bytes=5-{len(CONTENT) * 2}", 5, len(CONTENT)),
        (f"bytes=-{len(CONTENT) * 2}", 0, len(CONTENT)),
    ],
)
def test_a_range_is_exactly_those_bytes(server, stored, wanted, start, stop):
    answer = raw(server, "dir/model%20%5B1%5D.bin", range=wanted)

    assert answer.status == 206
    assert answer.data == CONTENT[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,3-4", "bytes=5-3", "bytes=-", "lines=1-2", "bytes=x-y"])
def test_a_range_that_cannot_be_read_means_the_whole(server, stored, wanted):
    assert raw(server, "a%20b.txt", range=wanted).data == b"new text"


@pytest.mark.parametrize(
    ("name", "wanted"), [("a%20b.txt", "bytes=8-"), ("empty", "bytes=0-0"), ("empty", "bytes=-1")]
)
def test_a_range_beyond_the_end_is_416(server, stored, name, wanted):
    answer = raw(server, name, range=wanted)

    assert answer.status == 416
    assert answer.headers["content-range"].startswith("bytes */")


def test_a_range_of_another_state_of_the_file_means_the_whole(server, stored):
    old = raw(server, "a%20b.txt", query="?version=1").headers["etag"]

    assert raw(server, "a%20b.txt", range="bytes=0-1", if_range=old).status == 200


def test_old_versions_and_empty_files_are_served(server, stored):
    assert raw(server, "a%20b.txt", query="?version=1").data == b"old"
    assert raw(server, "a%20b.txt").data == b"new text"
    assert raw(server, "empty").data == b""


def test_head_tells_all_and_sends_nothing(server, stored):
    head, whole = (raw(server, "dir/model%20%5B1%5D.bin", method=method) for method in ("HEAD", "GET"))

    assert head.data == b""
    for name in ("etag", "content-length", "content-type", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]


def test_what_could_run_in_a_browser_is_only_a_download(server, stored):
    page, text = raw(server, "page.html"), raw(server, "a%20b.txt")

    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith('attachment; filename="page.html"')
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    for answer in (page, text):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_a_name_cannot_inject_a_header(server, vault):
    run = open_run(vault, "me/project/stored")
    store(vault, run, {'evil"; x=%0d ü\u2028.txt': b"x"})

    disposition = raw(server, "evil%22;%20x=%250d%20%C3%BC%E2%80%A8.txt").headers["content-disposition"]

    assert disposition.startswith('inline; filename="evil_; x=_0d __.txt"; filename*=')


# ---------------------------------------------------------------- bad networks, bad days


def test_a_commit_whose_reply_was_lost_has_happened_once(proxy, through):
    run = open_run(through, "me/project/lost")
    proxy.drop_replies(of="/commit", times=2)

    result = store(through, run, {"model.pt": CONTENT})

    assert sum("/commit" in line for line in proxy.requests) == 3
    assert [(each.version, each.created) for each in result.versions] == [(1, True)]
    assert len(through.list_versions(run, "model.pt")) == 1


def test_every_other_reply_lost_changes_nothing(proxy, through):
    proxy.drop_replies(every=2)

    run = open_run(through, "me/project/half")
    store(through, run, {"model.pt": CONTENT})

    assert read_all(through, run, "model.pt") == CONTENT
    assert through.get_run(run).attempts == 1


def test_packs_cut_on_the_way_are_sent_again_and_leave_nothing_behind(proxy, through, server):
    run = open_run(through, "me/project/cut")
    proxy.cut_requests(after=1_000_000, times=2)

    store(through, run, {"model.pt": CONTENT})

    assert read_all(through, run, "model.pt") == CONTENT
    assert sum(line.startswith("PUT") for line in proxy.requests) >= 3
    assert list((server.data / "blobs").rglob("*.part*")) == []


def test_a_server_that_is_unavailable_for_a_while_is_waited_for(proxy, through):
    proxy.answer_503(times=3)

    assert open_run(through, "me/project/busy")


def test_a_slow_server_is_only_slow(proxy, through):
    proxy.delay(0.2)

    run = open_run(through, "me/project/slow")
    store(through, run, {"model.pt": CONTENT})
    assert read_all(through, run, "model.pt") == CONTENT


def test_a_read_that_is_cut_says_so_and_iter_content_goes_on_from_there(proxy, through, stored):
    [info] = through.get_files(stored, [FileRef(name="dir/model [1].bin")])
    where = through.locate(stored, LocateQuery(refs=[FileRef(name=info.name)]))
    query = ReadQuery(ranges=[PackRange(pack=where.packs[0], offset=8, length=3 * MIB)])

    proxy.cut_replies(after=MIB + 5, times=1)
    received = []
    with pytest.raises(VaultUnavailableError):
        received.extend(through.read(stored, query))
    assert len(b"".join(received)) == MIB + 5
    proxy.cut_replies(after=2 * MIB, times=2)
    assert b"".join(iter_content(through, stored, info)) == CONTENT


def test_a_server_that_is_killed_and_comes_back_is_waited_for(tmp_path):
    with HoldfastServer(tmp_path) as server:
        vault = RemoteVault(server.url, server.api_key, retry_for_s=30)
        run = open_run(vault)
        upload = vault.begin(run)
        entry = entry_of(vault, upload, "model.pt", CONTENT)
        server.kill()
        threading.Timer(0.5, server.start).start()

        vault.commit(upload.upload_id, Commit(key=new_pack_id(), entries=[entry]))

        assert read_all(vault, run, "model.pt") == CONTENT


def test_a_client_that_stalls_in_a_body_is_dropped(server, vault):
    upload = vault.begin(open_run(vault))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = f"PUT /api/v1/uploads/{upload.upload_id}/packs/{new_pack_id()} HTTP/1.1\r\nhost: x\r\n"
        connection.sendall(
            f"{head}authorization: Bearer {server.api_key}\r\ncontent-length: 100\r\n\r\nxx".encode()
        )
        began = time.monotonic()
        with suppress(ConnectionResetError):
            assert connection.recv(4096) == b""

    assert 1 < time.monotonic() - began < 10
    wait_until(lambda: list((server.data / "blobs").rglob("*.part*")), [])


def test_a_client_that_does_not_take_its_answer_is_dropped(server, vault):
    run = open_run(vault, "me/project/untaken")
    store(vault, run, {"big": random.Random(2).randbytes(40 * MIB)})
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        path = "/api/v1/runs/me/project/untaken/raw/big"
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.api_key}\r\n\r\n".encode()
        )
        received = connection.recv(1000)
        wait_until(lambda: "/untaken/raw/big 200" in server.log, True)
        with suppress(ConnectionResetError):
            while data := connection.recv(MIB):
                received += data

    assert received.startswith(b"HTTP/1.1 200")
    assert len(received) < 40 * MIB
    assert re.search(r"/untaken/raw/big 200 .* cut$", server.log, re.MULTILINE)


def wait_until(what, expected, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while what() != expected:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_damaged_chunk_is_reported_and_never_served(tmp_path):
    with HoldfastServer(tmp_path) as server:
        vault = RemoteVault(server.url, server.api_key, retry_for_s=10)
        run = open_run(vault, "me/project/stored")
        store(vault, run, {"model.pt": CONTENT})
        [pack] = [
            path
            for path in (server.data / "blobs").rglob("*")
            if path.is_file() and path.stat().st_size > MIB
        ]
        damaged = bytearray(pack.read_bytes())
        damaged[2 * MIB + 500_000] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(damaged)

        with pytest.raises(HoldfastError) as caught:
            read_all(vault, run, "model.pt")
        with pytest.raises(urllib3.exceptions.ProtocolError):
            raw(server, "model.pt")
        first_mib = raw(server, "model.pt", range="bytes=0-999999")

        assert isinstance(caught.value, CorruptContentError)
        assert first_mib.data == CONTENT[:1_000_000]


# ---------------------------------------------------------------- the process


def test_memory_stays_flat_with_packs_in_parallel(tmp_path):
    with HoldfastServer(tmp_path) as server:
        vault = RemoteVault(server.url, server.api_key, retry_for_s=30)
        run = open_run(vault)
        upload = vault.begin(run)
        process = psutil.Process(server.process.pid)
        peak = [0]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.01):
                peak[0] = max(peak[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        pack = pack_of(upload, *(os.urandom(MIB) for _ in range(15)))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: vault.put_pack(upload.upload_id, new_pack_id(), pack), range(12)))
        store(vault, run, {"big": random.Random(3).randbytes(64 * MIB)})
        with ThreadPoolExecutor(4) as pool:
            sizes = list(pool.map(lambda _: len(read_all(vault, run, "big")), range(4)))
        stop.set()
        watcher.join()

        assert sizes == [64 * MIB] * 4
        assert peak[0] < 300e6


def test_sigterm_finishes_what_runs_and_ends_with_0(tmp_path):
    with HoldfastServer(tmp_path) as server:
        vault = RemoteVault(server.url, server.api_key, retry_for_s=0)
        run = open_run(vault)
        store(vault, run, {"big": random.Random(4).randbytes(32 * MIB)})
        [info] = vault.get_files(run, [FileRef(name="big")])
        content = iter_content(vault, run, info)
        first = next(content)

        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        rest = b"".join(content)

        assert bytes(first) + rest == random.Random(4).randbytes(32 * MIB)
        assert server.process.wait(timeout=30) == 0


def test_a_port_that_is_taken_is_a_clear_error(tmp_path, server):
    from holdfast.server.serve import serve

    with pytest.raises(UsageError, match=f"port {server.port}"):
        serve(tmp_path / "data", port=server.port, home=tmp_path)


def test_each_request_has_one_line_in_the_log(server, vault):
    vault.whoami()
    wait_until(lambda: "GET /api/v1/whoami 200 " in server.log, True)

    line = next(line for line in server.log.splitlines() if "/whoami 200 " in line)
    assert re.search(r" GET /api/v1/whoami 200 \d+ B \d+ ms [0-9a-f]{16}$", line)


def test_openapi_describes_messages_and_errors(server):
    described = json.loads(get(server, "/openapi.json", key=None).data)

    commit = described["paths"]["/api/v1/uploads/{upload_id}/commit"]["post"]
    assert commit["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Commit")
    assert commit["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "/CommitResult"
    )


def test_a_file_that_is_not_there_is_named(vault, stored):
    with pytest.raises(StoredFileNotFoundError, match="none"):
        vault.get_files(stored, [FileRef(name="none")])
