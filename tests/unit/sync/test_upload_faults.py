from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from holdfast.errors import ChunkMissingError, UploadNotFoundError, VaultFullError, VaultUnavailableError
from holdfast.sync.jobs import Done, Failed
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
    watched = WatchedVault(open_run_vault(folder))
    yield watched
    watched.vault.close()


def make_files(folder):
    files = {f"s{i}": random.randbytes(5000) for i in range(30)}
    files["empty"] = b""
    files["large"] = os.urandom(2 * WINDOW + 99)
    files["text"] = b"a line of text\n" * 2_000_000
    return [job(settled(folder / name, data)) for name, data in files.items()], files


def test_a_vault_that_fails_at_any_call_loses_nothing_and_leaks_nothing(tmp_path, vault):
    jobs, files = make_files(tmp_path)
    uploader = uploader_of(vault)
    vault.whoami()
    before = open_files()
    failures = 0

    for call in range(1, 30):
        vault.reset()
        vault.fail_at = call
        try:
            outcomes = list(uploader.store(jobs))
        except VaultUnavailableError:
            failures += 1
            assert leaked_threads() == []
            assert open_files() <= before + 2  # the vault's own connections
        else:
            break

    vault.fail_at = None
    assert failures >= 8
    assert [type(outcome) for outcome in outcomes] == [Done] * len(jobs)
    assert all(read_back(vault, name) == data for name, data in files.items())


def test_packs_that_were_acknowledged_before_a_failure_are_not_sent_again(tmp_path, vault):
    path = settled(tmp_path / "a", os.urandom(4 * WINDOW))
    uploader = uploader_of(vault)

    def fail(name):
        if name == "commit":
            raise VaultFullError("The disk is full.")

    vault.before = fail
    with pytest.raises(VaultFullError):
        list(uploader.store([job(path)]))
    assert vault.pack_bytes > 4 * WINDOW
    vault.reset()
    vault.before = str

    [done] = uploader.store([job(path)])

    assert isinstance(done, Done)
    assert vault.pack_bytes < 10_000  # the lists of chunks, which only a commit makes known


@pytest.mark.parametrize("method", ["have", "put_pack", "commit"])
def test_an_upload_that_has_ended_is_begun_anew(tmp_path, vault, method):
    path = settled(tmp_path / "a", os.urandom(2 * WINDOW))
    ended = []

    def end_once(name):
        if name == method and not ended:
            ended.append(name)
            raise UploadNotFoundError("The upload has ended.")

    vault.before = end_once

    [done] = uploader_of(vault).store([job(path)])

    assert isinstance(done, Done)
    assert vault.calls["begin"] == 2
    assert read_back(vault, "a") == path.read_bytes()


def test_chunks_that_the_vault_lost_after_all_are_sent_once_more(tmp_path, vault):
    jobs, files = make_files(tmp_path)
    refused = []

    def refuse_once(name):
        if name == "commit" and not refused:
            refused.append(name)
            raise ChunkMissingError("Some chunks are not there.", details={"missing": []})

    vault.before = refuse_once

    outcomes = list(uploader_of(vault).store(jobs))

    assert [type(outcome) for outcome in outcomes] == [Done] * len(jobs)
    assert read_back(vault, "large") == files["large"]


def test_a_file_whose_chunks_stay_missing_fails_and_the_others_do_not(tmp_path, vault):
    path = settled(tmp_path / "a", b"abc")

    def refuse(name):
        if name == "commit":
            raise ChunkMissingError("Some chunks are not there.", details={"missing": []})

    vault.before = refuse

    [outcome] = uploader_of(vault).store([job(path)])

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, ChunkMissingError)


MEASURE = """
import sys, resource
from pathlib import Path
from tests.unit.sync.vaults import *
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path(sys.argv[1])
vault = open_run_vault(folder)
list(uploader_of(vault).store([job(settled(folder / "first", b"abc"))]))
before = peak()
for _ in range(int(sys.argv[2])):
    [done] = uploader_of(vault).store([job(folder / "big")])
assert done.size == (folder / "big").stat().st_size
print((peak() - before) >> 10)
"""


def added_memory(folder, times):
    os.utime(folder / "big", (10**9, 10**9))
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(times)], check=True, capture_output=True, text=True
    )
    return int(measured.stdout)


def test_memory_stays_flat_when_all_of_a_file_is_new(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        for _ in range(192):
            file.write(os.urandom(1 << 20))

    assert added_memory(tmp_path, times=2) < 160


@pytest.mark.e2e
def test_memory_stays_flat_at_any_size(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2 << 30)

    assert added_memory(tmp_path, times=1) < 160
