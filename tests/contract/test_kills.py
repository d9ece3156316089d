"""SIGKILL of a process that stores: what was acknowledged is there, and nothing else is half there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from holdfast.content.hashing import content_digest
from holdfast.names import RunPath
from holdfast.vault import open_vault, open_vault_at
from tests.contract.storing import fetch, noise, store

WRITER = """
import json, sys
from pathlib import Path
from holdfast.content.hashing import content_digest
from tests.contract.storing import *
from holdfast.vault import open_vault, open_vault_at

target, blobs, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
vault = open_vault(target, blobs) if blobs else open_vault_at(Path(target), user="me", reserve_bytes=0)
run = open_run(vault)
for n in range(10_000):
    upload = vault.begin(run)
    sources = [Source(upload, noise(150_000, seed * 100_000 + n * 10 + i), 5000) for i in range(3)]
    for source in sources:
        source.put(vault)
    entries = [source.entry(f"f{i}") for i, source in enumerate(sources)]
    for version in commit(vault, upload, entries).versions:
        print(json.dumps([version.name, version.version, content_digest(sources[int(version.name[1])].data).hex()]))
    sys.stdout.flush()
"""


def kill_at_a_random_moment(arguments: list[str], moment: random.Random) -> list[tuple[str, int, str]]:
    """Let a writer work, kill it, and return what it was told is stored."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True)
    first = child.stdout.readline()
    time.sleep(moment.uniform(0, 0.15))
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().splitlines()
    child.stdout.close()
    child.wait()
    whole = [line for line in (first, *rest) if line.rstrip().endswith("]")]
    return [tuple(json.loads(line)) for line in whole]


def check(vault, run: RunPath, acknowledged: list[tuple[str, int, str]]) -> None:
    for name, version, digest in acknowledged:
        assert content_digest(fetch(vault, run, name, version)).hex() == digest
    counts = set()
    for name in ("f0", "f1", "f2"):
        infos = vault.list_versions(run, name)
        counts.add(len(infos))
        assert [info.version for info in infos] == list(range(len(infos), 0, -1))
        for info in infos:
            assert content_digest(fetch(vault, run, name, info.version)) == info.digest
    assert len(counts) == 1, "a commit was torn"


def test_nothing_acknowledged_is_lost_when_the_embedded_vault_is_killed(tmp_path):
    moment, acknowledged, run = random.Random(7), [], RunPath("me", "mnist", "run1")
    for seed in range(6):
        acknowledged += kill_at_a_random_moment([str(tmp_path / "v"), "", str(seed)], moment)

    start = time.perf_counter()
    vault = open_vault_at(tmp_path / "v", user="me", reserve_bytes=0)
    assert time.perf_counter() - start < 2

    check(vault, run, acknowledged)
    assert not list((tmp_path / "v" / "blobs" / "incoming").iterdir())
    assert store(vault, run, "after", noise(900)) == 1
    vault.close()


@pytest.mark.services
def test_nothing_acknowledged_is_lost_when_a_server_on_postgres_is_killed(tmp_path, postgres):
    moment, acknowledged, run = random.Random(8), [], RunPath("me", "mnist", "run1")
    catalog, blobs = postgres.new_database(), (tmp_path / "blobs").as_uri()
    for seed in range(4):
        acknowledged += kill_at_a_random_moment([catalog, blobs, str(seed)], moment)

    vault = open_vault(catalog, blobs, user="me")
    check(vault, run, acknowledged)
    vault.close()


def test_two_processes_store_into_one_vault_while_one_is_killed(tmp_path):
    def writer(seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(tmp_path / "v"), "", str(seed)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    killed, other = writer(1), writer(2)
    acknowledged = [json.loads(child.stdout.readline()) for child in (killed, other)]
    killed.kill()
    acknowledged += [json.loads(other.stdout.readline()) for _ in range(9)]
    other.kill()
    for child in (killed, other):
        child.stdout.close()
        child.wait()

    vault = open_vault_at(tmp_path / "v", user="me", reserve_bytes=0)
    check(vault, RunPath("me", "mnist", "run1"), [tuple(each) for each in acknowledged])
    vault.close()
