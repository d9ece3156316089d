"""What passes with time: uploads, commits' keys, signs of life."""

from __future__ import annotations

import pytest

from holdfast.errors import UploadNotFoundError
from holdfast.protocol.messages import Identity, RunQuery, RunState, RunUpdate
from holdfast.vault import open_vault
from holdfast.vault.blobs.memory import MemoryBlobs
from tests.contract.storing import Source, commit, fetch, new_id, noise, open_run, spec


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def vault(tmp_path, clock):
    opened = open_vault(f"sqlite:///{tmp_path / 'c.sqlite'}", MemoryBlobs(), user="me", clock=clock)
    yield opened
    opened.close()


def test_a_run_that_went_silent_reads_as_crashed_until_it_speaks_again(vault, clock):
    run = open_run(vault)
    clock.now += 299
    assert vault.get_run(run).state is RunState.RUNNING
    clock.now += 2
    assert vault.get_run(run).state is RunState.CRASHED
    assert vault.list_runs("me", "mnist").runs[0].state is RunState.CRASHED
    assert len(vault.query_runs("me", "mnist", RunQuery(filters={"state": "crashed"})).runs) == 1
    assert not vault.query_runs("me", "mnist", RunQuery(filters={"state": "running"})).runs

    assert vault.update_run(run, RunUpdate(attempt="attempt-1")).state is RunState.RUNNING
    vault.update_run(run, RunUpdate(state=RunState.FINISHED, exit_code=0))
    clock.now += 10_000
    assert vault.get_run(run).state is RunState.FINISHED


def test_a_run_that_started_offline_keeps_its_start(vault, clock):
    info = vault.open_run(spec("r", started_at=clock.now - 500))
    ahead = vault.open_run(spec("ahead", started_at=clock.now + 500))

    assert info.created_at == clock.now - 500
    assert info.heartbeat_at == clock.now
    assert ahead.created_at == clock.now


def test_an_upload_expires_and_each_request_moves_that_on(vault, clock):
    upload = vault.begin(open_run(vault))
    source = Source(upload, noise(900))
    assert upload.expires_at == clock.now + 3600

    for _ in range(5):
        clock.now += 3000
        vault.have(upload.upload_id, source.ids[0])
    clock.now += 3601

    for call in (
        lambda: vault.have(upload.upload_id, source.ids[0]),
        lambda: source.put(vault),
        lambda: commit(vault, upload, []),
    ):
        with pytest.raises(UploadNotFoundError):
            call()


def test_an_upload_that_expires_while_a_pack_streams_in_leaves_nothing(vault, clock):
    upload = vault.begin(open_run(vault))
    writer = vault.open_pack(upload.upload_id, new_id())
    writer.feed_all(Source(upload, noise(900)).pack())
    clock.now += 3601

    with pytest.raises(UploadNotFoundError):
        writer.finish()
    assert list(vault.foundation.blobs.list()) == []


def test_a_pack_may_stream_in_byte_by_byte_and_be_aborted(vault):
    run = open_run(vault)
    upload = vault.begin(run)
    source = Source(upload, noise(900))
    body = b"".join(source.pack())
    for is_aborted in (True, False):
        writer = vault.open_pack(upload.upload_id, new_id())
        for at in range(len(body)):
            writer.feed(body[at : at + 1])
        if is_aborted:
            writer.abort()
            assert list(vault.foundation.blobs.list()) == []
        else:
            assert writer.finish().chunks == 1
    commit(vault, upload, [source.entry("a")])
    assert fetch(vault, run, "a") == source.data


def test_an_answer_outlives_its_upload(vault, clock):
    run = open_run(vault)
    upload, key = vault.begin(run), new_id()
    source = Source(upload, noise(900))
    source.put(vault)
    first = commit(vault, upload, [source.entry("a")], key)
    clock.now += 6 * 24 * 3600

    assert commit(vault, vault.begin(run), [source.entry("a")], key) == first


def test_expired_uploads_are_forgotten_with_their_pins(vault, clock):
    run = open_run(vault)
    Source(vault.begin(run), noise(900)).put(vault)
    clock.now += 3601
    vault.begin(run)

    count = vault.foundation.catalog.read(
        lambda c: [c.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar() for t in ("upload", "pin")]
    )
    assert count == [1, 0]


def test_an_upload_belongs_to_its_caller(vault):
    upload = vault.begin(open_run(vault))
    other = vault.for_caller(Identity(user="other", entity="team"))

    assert other.whoami().user == "other"
    with pytest.raises(UploadNotFoundError):
        other.have(upload.upload_id, b"")
    other.close()
    assert vault.have(upload.upload_id, b"") == b""
