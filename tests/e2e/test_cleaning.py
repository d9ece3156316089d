"""``holdfast sync --clean`` against a real server: kills at random moments, and a server that lost something."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, all_files, content, read_file

TRAINING = """
import os, holdfast
from pathlib import Path
run = holdfast.init(project="clean", id="big")
for number in range(300):
    path = Path(run.dir, f"checkpoints/{number:03}.bin")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(5000))
Path("outside.bin").write_bytes(b"outside" * 1000)
holdfast.save("outside.bin")
"""
RUN = RunPath(ENTITY, "clean", "big")


@pytest.fixture
def trained(machine):
    """A run directory that is stored on a real server."""
    server = machine.server()
    machine.use(server.url)
    assert machine.run(TRAINING) == 0, machine.output
    [directory] = machine.directories()
    assert machine.wait_until_ended(directory).missing == {}
    return directory


def kill_while_cleaning(machine, directory, kills, seed):
    """Kill a cleaning again and again; whatever is left each time must be the whole run or nothing of it."""
    chance = random.Random(seed)
    root = directory.path.parent
    names = sorted(path.relative_to(directory.path) for path in directory.files.rglob("*"))
    template = machine.base / "template"
    shutil.move(directory.path, template)
    moments = {"whole": 0, "gone": 0}
    for number in range(kills):
        copy = root / f"run-20260101_{number:06}-big"
        shutil.copytree(template, copy, symlinks=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "sync", "--clean", "--yes"],
            cwd=machine.cwd,
            env=machine.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.4, 2.0))
        process.kill()
        process.wait()
        shown = json.loads(machine.cli("status", "--json").stdout)
        assert [item["state"] for item in shown] in ([], ["stored"]), shown
        moments["whole" if shown else "gone"] += 1
        if shown:
            left = sorted(path.relative_to(copy) for path in (copy / "files").rglob("*"))
            assert left == names, "a run directory lost something under its own name"
        done = machine.cli("sync", "--clean", "--yes")
        assert done.returncode == 0, done.stderr
        assert list(root.iterdir()) == []
    return moments


def test_kills_while_cleaning_leave_a_whole_run_or_none(machine, trained):
    kill_while_cleaning(machine, trained, 10, "sample")
    vault = machine.vault()
    assert len(all_files(vault, RUN)) >= 301
    assert read_file(vault, RUN, "outside.bin") == (machine.cwd / "outside.bin").read_bytes()
    vault.close()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills_while_cleaning_leave_a_whole_run_or_none(machine, trained):
    moments = kill_while_cleaning(machine, trained, 100, "full")

    assert min(moments.values()) > 5, moments


def test_a_run_of_which_the_server_lost_something_is_kept(machine, trained):
    vault = machine.vault()
    vault.delete_files(RUN, ["checkpoints/007.bin"])
    local = (trained.files / "checkpoints" / "007.bin").read_bytes()

    kept = machine.cli("sync", "--clean", "--yes")

    assert kept.returncode == 9
    assert "'checkpoints/007.bin' is not on the vault any more" in kept.stdout
    assert (trained.files / "checkpoints" / "007.bin").read_bytes() == local
    vault.close()


def test_a_server_with_damaged_packs_confirms_nothing(machine, trained):
    for path in (machine.base / "data" / "blobs").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(bytes(data))

    kept = machine.cli("sync", "--clean", "--yes")

    assert kept.returncode == 9
    assert "cannot read all of it" in kept.stdout
    assert trained.path.exists()


def test_everything_comes_back_after_cleaning(machine, trained):
    before = {path.name: path.read_bytes() for path in (trained.files / "checkpoints").iterdir()}

    done = machine.cli("sync", "--clean", "--yes", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cleaned"]["freed_bytes"] > 300 * 5000
    assert not trained.path.exists()
    vault = machine.vault()
    found = all_files(vault, RUN)
    assert {name: content(vault, RUN, found[f"checkpoints/{name}"]) for name in before} == before
    vault.close()


LEAVING = """
import os, sys, time, holdfast
from pathlib import Path
run = holdfast.init(project="clean", id="leaving")
for number in range(12):
    path = Path(f"ckpt-{number}.bin")
    path.write_bytes(bytes([number]) * 300_000)
    holdfast.save(path, policy="now" if number % 2 else "live", keep_local="until_stored")
    time.sleep(0.2)
Path("kept.bin").write_bytes(b"kept")
holdfast.save("kept.bin", keep_local="until_stored")
holdfast.save("kept.bin")
"""


def test_checkpoints_leave_the_disk_when_they_are_stored_whatever_is_killed(machine):
    chance = random.Random("leaving")
    server = machine.server()
    machine.use(server.url)
    trainer = machine.start(LEAVING)
    directory = machine.wait_for_directory()
    while trainer.poll() is None:
        time.sleep(chance.uniform(0.2, 1.5))
        machine.kill_syncers()
    machine.cli("status")
    assert machine.wait_until_ended(directory).missing == {}
    run = RunPath(ENTITY, "clean", "leaving")

    assert sorted(path.name for path in machine.cwd.iterdir()) == ["holdfast", "kept.bin"]
    vault = machine.vault()
    for number in range(12):
        assert read_file(vault, run, f"ckpt-{number}.bin") == bytes([number]) * 300_000
    vault.close()
    [shown] = json.loads(machine.cli("status", "--json").stdout)
    assert shown["removed_here"] == {f"ckpt-{number}.bin": 300_000 for number in range(12)}
    assert "12 removed here once stored (3.6 MB)" in machine.cli("status").stdout
    assert machine.cli("pull", str(run), "ckpt-3.bin").returncode == 0
    assert (machine.cwd / "ckpt-3.bin").read_bytes() == bytes([3]) * 300_000
