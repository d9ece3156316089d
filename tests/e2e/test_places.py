"""Where runs may live: offline, followed from elsewhere, moved; servers over PostgreSQL and S3, side by side."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace

import pytest

from holdfast.names import RunPath
from holdfast.rundir.facts import Opened, from_records, to_record
from holdfast.rundir.records import RecordReader, RecordWriter
from tests.e2e.harness import ENTITY, Machine, all_files, read_file, wait_until
from tests.services.fixtures import moto, postgres

__all__ = ["moto", "postgres"]

OFFLINE = """
import sys, time, holdfast
from pathlib import Path
run = holdfast.init(project="places", id="offline", mode="offline")
Path("model.bin").write_bytes(b"first" * 1000)
holdfast.save("model.bin")
Path("kept.bin").write_bytes(b"as of the call")
holdfast.save("kept.bin", policy="now")
Path("kept.bin").unlink()
time.sleep(float(sys.argv[1]))
Path("model.bin").write_bytes(b"second" * 1000)
"""


def test_an_offline_run_has_no_syncer_and_is_synced_later(machine):
    assert machine.run(OFFLINE, "0") == 0, machine.output
    assert machine.syncers() == []
    [directory] = machine.directories()
    assert not directory.sync_log.exists()

    done = machine.cli("sync")

    assert done.returncode == 0, done.stderr
    vault = machine.vault()
    run = RunPath(ENTITY, "places", "offline")
    assert read_file(vault, run, "model.bin") == b"second" * 1000
    assert read_file(vault, run, "kept.bin") == b"as of the call"
    vault.close()


def test_a_run_is_followed_while_another_process_writes_it(machine):
    trainer = machine.start(OFFLINE, "4")
    directory = machine.wait_for_directory()
    follower = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "sync", "--follow", str(directory.path)],
        cwd=machine.base, env=machine.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    vault = machine.vault()
    run = RunPath(ENTITY, "places", "offline")

    wait_until("it was stored while the run went on", lambda: has(vault, run, "model.bin"))

    assert trainer.poll() is None
    assert read_file(vault, run, "model.bin") == b"first" * 1000
    assert trainer.wait(30) == 0
    assert follower.wait(30) == 0, follower.stdout.read()
    follower.stdout.close()
    assert read_file(vault, run, "model.bin") == b"second" * 1000
    vault.close()


def has(vault, run, name):
    try:
        return name in all_files(vault, run)
    except LookupError:
        return False


def test_what_was_pinned_comes_along_when_the_run_directory_is_moved(machine):
    assert machine.run(OFFLINE, "0") == 0, machine.output
    [directory] = machine.directories()
    moved = machine.base / "usb stick" / directory.path.name
    moved.parent.mkdir()
    shutil.move(directory.path, moved)

    done = machine.cli("sync", str(moved))

    assert done.returncode == 0, done.stderr
    vault = machine.vault()
    assert read_file(vault, RunPath(ENTITY, "places", "offline"), "kept.bin") == b"as of the call"
    vault.close()


@pytest.mark.services
def test_two_servers_over_postgresql_and_s3_serve_one_vault(machine, postgres, moto):
    machine.env |= {
        "AWS_ENDPOINT_URL": moto.endpoint,
        "AWS_ACCESS_KEY_ID": moto.access_key,
        "AWS_SECRET_ACCESS_KEY": moto.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    database = postgres.new_database()
    places = ("--catalog", database, "--blobs", moto.new_bucket())
    first = machine.server(*places, data=machine.base / "one")
    other = Machine(
        machine.base / "other", **{k: v for k, v in machine.env.items() if k.startswith(("AWS", "HOLDFAST"))}
    )
    second = other.server(*places, data=machine.base / "two")
    machine.use(first.url)
    oracle = machine.base / "oracle.jsonl"
    trainer = machine.start("saves_everything.py", "scaled", str(oracle), "30")
    assert trainer.wait(60) == 0, machine.output
    [directory] = machine.directories()
    assert machine.wait_until_ended(directory).missing == {}
    first.kill()  # whatever it held is in PostgreSQL and S3

    other.use(second.url, machine.vault_key(first.url))
    done = other.cli("pull", f"{ENTITY}/kills/scaled", "--root", "back")

    assert done.returncode == 0, done.stderr
    back = other.cwd / "back"
    assert (back / "latest.bin").read_bytes() == (machine.cwd / "latest.bin").read_bytes()
    assert (back / "train.log").read_bytes() == (machine.cwd / "train.log").read_bytes()
    other.close()
    postgres.drop(database)


TAKEN_ALONG = """
import os, shutil, sys, holdfast
from pathlib import Path
run = holdfast.init(project="places", id="packed", mode="offline")
def save(name, data, **options):
    Path(name).write_bytes(data)
    holdfast.save(name, **options)
save("now.bin", b"n" * 400_000, policy="now")
save("rewritten.bin", b"r" * 400_000, policy="now")
Path("rewritten.bin").open("r+b").write(b"R" * 400_000)
save("model.bin", b"first" * 1000)
save("end.bin", b"as of the save", policy="end")
save("gone.bin", b"removed by the training")
os.remove("gone.bin")
Path("part").write_bytes(b"second" * 1000)
os.replace("part", "model.bin")
Path(run.dir, "inside.txt").write_text("written into run.dir")
holdfast.save(os.path.join(run.dir, "inside.txt"))
Path("elsewhere.bin").write_bytes(b"from another disk")
away = Path(sys.argv[1], "elsewhere.bin")
shutil.move("elsewhere.bin", away)
holdfast.save(away, base_path=sys.argv[1])
holdfast.log({"loss": 1.0})
"""


def test_an_offline_run_is_packed_by_tar_and_synced_on_another_machine(machine, tmp_path):
    other_disk = "/dev/shm" if os.path.isdir("/dev/shm") else str(tmp_path)
    away = tempfile.mkdtemp(dir=other_disk)
    try:
        assert machine.run(TAKEN_ALONG, away) == 0, machine.output
    finally:
        shutil.rmtree(away)
    [directory] = machine.directories()
    say_it_was_on(directory, "node7")
    subprocess.run(["tar", "czf", machine.base / "run.tar.gz", directory.path.name],
                   cwd=directory.path.parent, check=True)  # fmt: skip
    shutil.rmtree(machine.cwd)
    machine.cwd.mkdir()
    for name in ("now.bin", "model.bin", "end.bin"):
        (machine.cwd / name).write_bytes(b"a file of this machine at the same path")
    other = Machine(tmp_path / "other")
    server = other.server()
    other.use(server.url)
    subprocess.run(["tar", "xzf", machine.base / "run.tar.gz"], cwd=other.cwd, check=True)

    done = other.cli("sync", directory.path.name)

    assert done.returncode == 0, done.stdout + done.stderr
    vault = other.vault()
    run = RunPath(ENTITY, "places", "packed")
    files = all_files(vault, run)
    assert read_file(vault, run, "now.bin") == b"n" * 400_000
    assert read_file(vault, run, "model.bin") == b"second" * 1000
    assert read_file(vault, run, "end.bin") == b"as of the save"
    assert read_file(vault, run, "gone.bin") == b"removed by the training"
    assert read_file(vault, run, "inside.txt") == b"written into run.dir"
    assert read_file(vault, run, "elsewhere.bin") == b"from another disk"
    assert b'"loss": 1.0' in read_file(vault, run, "history.jsonl")
    assert (files["now.bin"].fidelity, files["rewritten.bin"].fidelity) == ("exact", "later")
    vault.close()
    cleaned = other.cli("sync", "--clean", "--yes", directory.path.name)
    assert cleaned.returncode == 0, cleaned.stdout
    assert not (other.cwd / directory.path.name).exists()
    other.close()


def say_it_was_on(directory, host):
    """Make a journal one of another machine, in place: its inode is what tells a copy."""
    facts = list(from_records(RecordReader(directory.journal).read()))
    os.truncate(directory.journal, 0)
    with RecordWriter(directory.journal) as journal:
        for fact in facts:
            journal.append(to_record(replace(fact, host=host) if isinstance(fact, Opened) else fact))
