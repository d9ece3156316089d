from __future__ import annotations

import os
import random
import threading
import time

import pytest

from holdfast.content.hashing import content_digest
from holdfast.errors import InvalidNameError, StoredFileNotFoundError
from holdfast.protocol.messages import Fidelity
from holdfast.sync.jobs import Done, Failed, NotReady, Progress, ReadRule
from tests.unit.sync.vaults import (
    WatchedVault,
    job,
    leaked_threads,
    open_files,
    open_run_vault,
    read_back,
    settled,
    uploader_of,
)

WINDOW = 16 << 20


@pytest.fixture
def vault(tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir()
    with_counts = WatchedVault(open_run_vault(folder))
    yield with_counts
    with_counts.vault.close()


@pytest.mark.parametrize(
    ("size", "compressible"),
    [
        (0, False),
        (1, False),
        (70_000, True),
        (WINDOW, False),
        (WINDOW + 1, False),
        (3 * WINDOW + 12_345, True),
    ],
)
def test_a_file_of_any_size_comes_back_byte_for_byte(tmp_path, vault, size, compressible):
    data = bytes(random.Random(size).randbytes(1000) * (size // 1000 + 1))[:size]
    data = data if compressible else random.Random(size).randbytes(size)
    path = settled(tmp_path / "model.pt", data)

    [done] = uploader_of(vault).store([job(path)])

    assert isinstance(done, Done)
    assert (done.version, done.created, done.size, done.digest) == (1, True, size, content_digest(data))
    assert read_back(vault, "model.pt") == data


def test_an_unchanged_file_makes_no_version_and_sends_no_byte(tmp_path, vault):
    small, large = settled(tmp_path / "a", b"abc"), settled(tmp_path / "b", os.urandom(2 * WINDOW))
    jobs = [job(small), job(large)]
    list(uploader_of(vault).store(jobs))
    vault.reset()

    outcomes = list(uploader_of(vault).store(jobs))

    assert [(done.version, done.created) for done in outcomes] == [(1, False)] * 2
    assert vault.pack_bytes == 0


def test_a_small_change_in_a_large_file_sends_little_more_than_itself(tmp_path, vault):
    data = bytearray(os.urandom(3 * WINDOW))
    path = settled(tmp_path / "a", data)
    list(uploader_of(vault).store([job(path)]))
    vault.reset()
    data[WINDOW : WINDOW + 300_000] = random.randbytes(300_000)
    settled(path, data)

    [done] = uploader_of(vault).store([job(path)])

    assert done.version == 2
    assert vault.pack_bytes < 300_000 + (2 << 20)
    assert read_back(vault, "a") == data


def test_many_small_files_share_requests_packs_and_commits(tmp_path, vault):
    paths = [settled(tmp_path / f"f{i}", random.randbytes(1000)) for i in range(3000)]

    outcomes = list(uploader_of(vault).store([job(path) for path in paths]))

    assert [type(outcome) for outcome in outcomes] == [Done] * 3000
    assert vault.requests <= 8
    assert read_back(vault, "f2999") == paths[-1].read_bytes()


def test_the_same_bytes_in_many_files_are_sent_once(tmp_path, vault):
    data = random.randbytes(50_000)
    paths = [settled(tmp_path / f"f{i}", data) for i in range(100)]

    list(uploader_of(vault).store([job(path) for path in paths]))

    assert vault.pack_bytes < 2 * len(data)


def test_two_jobs_of_one_name_become_versions_in_their_order(tmp_path, vault):
    first, second = settled(tmp_path / "pin1", b"first"), settled(tmp_path / "pin2", b"second")
    jobs = [job(first, ReadRule.PINNED, name="a"), job(second, ReadRule.PINNED, name="a")]

    outcomes = list(uploader_of(vault).store(jobs))

    assert [outcome.version for outcome in outcomes] == [1, 2]
    assert (read_back(vault, "a", 1), read_back(vault, "a", 2)) == (b"first", b"second")


def test_files_that_cannot_be_stored_do_not_keep_the_others(tmp_path, vault):
    jobs = [
        job(tmp_path / "gone"),
        job(settled(tmp_path / "evil", b"x"), name="../evil"),
        job(settled(tmp_path / "cut.parquet", b"PAR1" + bytes(50))),
        job(settled(tmp_path / "good", b"good")),
    ]

    gone, evil, cut, good = sorted(
        uploader_of(vault).store(jobs), key=lambda outcome: jobs.index(outcome.job)
    )

    assert isinstance(gone, Failed)
    assert isinstance(gone.error, StoredFileNotFoundError)
    assert isinstance(evil, Failed)
    assert isinstance(evil.error, InvalidNameError)
    assert isinstance(cut, NotReady)
    assert isinstance(good, Done)


def test_mode_time_policy_and_fidelity_are_recorded(tmp_path, vault):
    path = settled(tmp_path / "run.sh", b"#!")
    path.chmod(0o755)

    [done] = uploader_of(vault).store([job(path, policy="now", fidelity=Fidelity.LATER)])

    [info] = vault.list_versions(uploader_of(vault)._session.run, "run.sh")
    assert (info.mode, info.mtime_ns, info.policy) == (0o755, path.stat().st_mtime_ns, "now")
    assert info.fidelity == done.fidelity == Fidelity.LATER
    assert done.ino == path.stat().st_ino


def test_progress_ends_at_the_bytes_that_are_stored(tmp_path, vault):
    progress = Progress()
    small, large = (
        settled(tmp_path / "a", b"abc" * 999),
        settled(tmp_path / "b", os.urandom(2 * WINDOW)),
    )
    cut = settled(tmp_path / "cut.parquet", b"PAR1" + bytes(50))

    list(uploader_of(vault, progress).store([job(small), job(large), job(cut), job(tmp_path / "gone")]))

    state = progress.state()
    assert (state.files_done, state.bytes_done, state.names) == (2, 2997 + 2 * WINDOW, ())
    assert state.bytes_sent == vault.pack_bytes


def test_closing_the_outcomes_early_leaves_no_thread_and_no_file_open(tmp_path, vault):
    jobs = [job(settled(tmp_path / "a", b"a")), job(settled(tmp_path / "a2", b"b"), name="a")]
    jobs += [job(settled(tmp_path / f"b{i}", os.urandom(3 * WINDOW))) for i in range(2)]
    before = open_files()
    outcomes = uploader_of(vault).store(jobs)
    assert isinstance(next(outcomes), Done)

    outcomes.close()

    assert (leaked_threads(), open_files()) == ([], before)


@pytest.mark.parametrize("style", ["rewrite", "append", "rename"])
def test_each_version_of_a_file_that_is_written_all_the_time_is_a_state_that_it_had(tmp_path, vault, style):
    path, temporary = tmp_path / "a", tmp_path / "a.tmp"
    states: set[bytes] = {b""}
    stop = threading.Event()

    def write_on():
        content = b""
        for step in range(10_000):
            block = bytes([step % 251]) * 150_000
            content = content[-3_000_000:] + block if style != "append" else content + block[:5000]
            states.add(content_digest(content))
            if style == "rename":
                temporary.write_bytes(content)
                temporary.rename(path)
            elif style == "append":
                with path.open("ab", buffering=0) as file:
                    file.write(block[:5000])
            else:
                path.write_bytes(content)
            if stop.wait(0.002 if step % 10 else 0.3):
                return

    path.write_bytes(b"")
    writer = threading.Thread(target=write_on)
    writer.start()
    uploader = uploader_of(vault)
    done = []
    until = time.monotonic() + 2
    while time.monotonic() < until:
        outcomes = uploader.store([job(path, quiet_s=0.2)])
        done += [outcome for outcome in outcomes if isinstance(outcome, Done)]
    stop.set()
    writer.join()

    states.add(content_digest(b""))
    assert done
    assert {outcome.digest for outcome in done} <= states
    assert content_digest(read_back(vault, "a")) == done[-1].digest
