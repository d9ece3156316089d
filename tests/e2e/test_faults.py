"""Servers that are away, disks that are full, bytes that rot: the documented result or a clear error (I3, I5, I9)."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from holdfast.errors import CorruptContentError, DirectoryBusyError
from holdfast.names import RunPath
from holdfast.rundir.lease import lease_is_live
from holdfast.rundir.records import RecordReader
from tests.e2e.harness import ENTITY, all_files, all_versions, read_file, wait_until
from tests.services.fault_proxy import FaultProxy

SAVE = """
import sys, time
from pathlib import Path
import holdfast

started = time.monotonic()
run = holdfast.init(project="faults", id=sys.argv[1])
opened = time.monotonic() - started
Path("model.bin").write_bytes(b"weights" * 300_000)
started = time.monotonic()
holdfast.save("model.bin", policy="now")
Path(run.dir, "notes.txt").write_text("a note")
saved = time.monotonic() - started
started = time.monotonic()
report = run.finish(timeout=float(sys.argv[2]))
print(f"opened={opened:.3f} saved={saved:.3f} finished={time.monotonic() - started:.3f} missing={sorted(report.missing)}")
"""


def times(output: str) -> dict[str, float]:
    line = next(line for line in output.splitlines() if line.startswith("opened="))
    return {key: float(value) for key, value in (part.split("=") for part in line.split()[:3])}


def test_a_server_that_is_away_blocks_nothing_and_gets_everything_when_it_is_back(machine):
    server = machine.server()
    machine.use(server.url)
    server.kill()

    assert machine.run(SAVE, "away", "3") == 0, machine.output

    took = times(machine.output)
    assert took["opened"] < 2
    assert took["saved"] < 1
    assert took["finished"] <= 4
    assert "model.bin" in machine.output  # finish() names what is not stored
    server.start()
    [directory] = machine.directories()
    assert machine.wait_until_ended(directory).missing == {}
    stored = read_file(machine.vault(), RunPath(ENTITY, "faults", "away"), "model.bin")
    assert stored == (machine.cwd / "model.bin").read_bytes()


def test_a_server_that_goes_away_during_a_run(machine):
    server = machine.server()
    machine.use(server.url)
    oracle = machine.base / "oracle.jsonl"
    trainer = machine.start("saves_everything.py", "during", str(oracle), "60")
    machine.wait_for_directory()
    for _ in range(3):
        time.sleep(0.7)
        server.kill()
        time.sleep(0.5)
        server.start()
    assert trainer.wait(60) == 0, machine.output
    [directory] = machine.directories()
    assert machine.wait_until_ended(directory).missing == {}


@pytest.mark.parametrize("fault", ["lose_replies", "slow", "unavailable", "cut_bodies"])
def test_a_bad_network_changes_nothing(machine, fault):
    server = machine.server()
    with FaultProxy(server.port) as proxy:
        key = machine.vault_key(server.url)
        machine.use(proxy.url, key)
        {
            "lose_replies": lambda: proxy.drop_replies(every=3),
            "slow": lambda: proxy.delay(0.3),
            "unavailable": lambda: proxy.answer_503(every=2),
            "cut_bodies": lambda: proxy.cut_requests(after=100_000, times=5),
        }[fault]()
        assert machine.run(SAVE, fault.replace("_", "-"), "60") == 0, machine.output
        [directory] = machine.directories()
        assert machine.wait_until_ended(directory).missing == {}
    machine.use(server.url)
    vault = machine.vault()
    run = RunPath(ENTITY, "faults", fault.replace("_", "-"))
    assert read_file(vault, run, "model.bin") == (machine.cwd / "model.bin").read_bytes()
    assert len(vault.list_versions(run, "model.bin")) == 1
    vault.close()


def test_a_wrong_api_key_is_said_clearly_and_loses_nothing(machine):
    server = machine.server()
    machine.use(server.url, "hf_" + "x" * 40)

    assert machine.run(SAVE, "key", "5") == 0

    assert "holdfast login" in machine.output
    machine.kill_syncers()
    machine.use(server.url)
    [directory] = machine.directories()
    done = machine.cli("sync", str(directory.path))
    assert done.returncode == 0, done.stderr
    stored = read_file(machine.vault(), RunPath(ENTITY, "faults", "key"), "model.bin")
    assert stored == (machine.cwd / "model.bin").read_bytes()


def test_a_strict_run_exits_non_zero_when_something_is_missing(machine):
    server = machine.server()
    machine.use(server.url)
    server.kill()
    machine.env["HOLDFAST_STRICT"] = "true"
    machine.env["HOLDFAST_FINISH_TIMEOUT"] = "2"
    script = "import holdfast; holdfast.init(project='faults'); open('a','w').write('a'); holdfast.save('a')"

    assert machine.run(script) != 0

    assert "a" in machine.output


def test_a_chunk_that_rotted_on_disk_is_reported_and_never_served(machine):
    script = """
import holdfast, random
run = holdfast.init(project="faults", id="rot")
for name in ("bad.bin", "good.bin"):
    open(name, "wb").write(random.Random(name).randbytes(2_000_000))
    holdfast.save(name, policy="now")[0].wait(30)
"""
    assert machine.run(script) == 0, machine.output
    run = RunPath(ENTITY, "faults", "rot")
    blobs = machine.base / "home" / "vault" / "blobs"
    needle = (machine.cwd / "bad.bin").read_bytes()[1_000_000:1_000_064]
    for pack in (path for path in blobs.rglob("*") if path.is_file()):
        data = bytearray(pack.read_bytes())
        at = data.find(needle)
        if at >= 0:
            data[at] ^= 1
            pack.write_bytes(data)
    vault = machine.vault()

    with pytest.raises(CorruptContentError):
        read_file(vault, run, "bad.bin")

    assert read_file(vault, run, "good.bin") == (machine.cwd / "good.bin").read_bytes()
    target = machine.base / "restored"
    done = machine.cli("pull", str(run), "--root", str(target))
    assert done.returncode != 0
    assert "bad.bin" in done.stderr
    assert not (target / "bad.bin").exists()
    assert (target / "good.bin").exists()
    # the owner uploads it again: it heals
    assert machine.run(script.replace('"rot"', '"rot"')) == 0, machine.output
    vault.close()


def test_the_journal_cut_at_any_byte_loses_only_what_was_cut(machine):
    cut_journals(machine, stride=197)


@pytest.mark.soak
def test_the_journal_cut_at_every_byte_loses_only_what_was_cut(machine):
    cut_journals(machine, stride=1)


def cut_journals(machine, stride):
    script = """
import holdfast
run = holdfast.init(project="faults", id="cut", mode="offline")
for i in range(4):
    open(f"f{i}.txt", "w").write(f"content {i}")
    holdfast.save(f"f{i}.txt", policy="now")
"""
    assert machine.run(script) == 0, machine.output
    [directory] = machine.directories()
    journal = directory.journal.read_bytes()
    opened = journal.index(b"\n") + 1
    for at in range(opened, len(journal), stride):
        copy = machine.base / "copy"
        shutil.copytree(directory.path, copy, symlinks=True)
        for path in copy.glob("sync*"):
            path.unlink()
        (copy / "journal.jsonl").write_bytes(journal[:at])
        saved = [
            item["name"]
            for record in RecordReader(copy / "journal.jsonl").read()
            if record["fact"] == "saved"
            for item in record["files"]
        ]
        home = machine.base / f"home-{at}"
        machine.env["HOLDFAST_HOME"] = str(home)
        done = machine.cli("sync", str(copy))
        assert done.returncode == 0, (at, done.stderr)
        vault = machine.vault()
        stored = all_files(vault, RunPath(ENTITY, "faults", "cut"))
        assert set(saved) <= set(stored), at
        vault.close()
        shutil.rmtree(copy)
        shutil.rmtree(home)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB. Needs root, which CI and containers have."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    path = tmp_path / "small-disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_of_the_vault_refuses_and_goes_on_when_there_is_room(machine, small_disk):
    ballast = small_disk / "ballast"
    server = machine.server("--reserve", str(2 << 20), data=small_disk / "data")
    machine.use(server.url)
    fill(ballast)
    os.truncate(ballast, ballast.stat().st_size - (4 << 20))  # more than is reserved, less than is needed
    script = """
import holdfast, random
run = holdfast.init(project="faults", id="full")
open("big.bin", "wb").write(random.Random(1).randbytes(6_000_000))
holdfast.save("big.bin", policy="now")
report = run.finish(timeout=4)
assert "big.bin" in report.missing, report
"""
    assert machine.run(script) == 0, machine.output
    assert "full" in machine.output
    done = machine.cli("status")
    assert "big.bin" in done.stdout + done.stderr

    ballast.unlink()

    [directory] = machine.directories()
    assert machine.wait_until_ended(directory, 90).missing == {}
    vault = machine.vault()
    assert (
        read_file(vault, RunPath(ENTITY, "faults", "full"), "big.bin")
        == (machine.cwd / "big.bin").read_bytes()
    )
    vault.close()


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def test_a_full_disk_of_the_run_directory_never_stops_the_training(machine, small_disk):
    script = (
        """
import sys, contextlib, holdfast
from pathlib import Path
"""
        + inspect.getsource(fill)
        + """
run = holdfast.init(project="faults", id="full-client", dir=sys.argv[1])
Path("first.txt").write_text("first")
holdfast.save("first.txt", policy="now")
ballast = Path(sys.argv[1], "ballast")
fill(ballast)
for step in range(50):
    run.log({"step": step, "text": "x" * 2000})
refused = 0
for step in range(50):
    Path("later.txt").write_text("y" * step)
    try:
        holdfast.save("later.txt", policy="now")
    except OSError:
        refused += 1
print("trained to the end", refused)
ballast.unlink()
Path("after.txt").write_text("after")
holdfast.save("after.txt", policy="now")
"""
    )
    assert machine.run(script, str(small_disk)) == 0, machine.output
    assert "trained to the end" in machine.output
    vault = machine.vault()
    run = RunPath(ENTITY, "faults", "full-client")
    wait_until("after.txt was stored", lambda: {"first.txt", "after.txt"} <= set(all_files(vault, run)))
    vault.close()


def test_names_of_every_kind_come_back(machine):
    script = """
import holdfast, os
run = holdfast.init(project="faults", id="names")
for name in ["ckpt[1].pt", "with space.txt", "übung-日本語.txt", "a" * 251 + ".txt", "-dash", "quote'\\".txt", "tab*?.txt", "%2e%2e"]:
    open(name, "w").write(name)
    [saved] = holdfast.save(name, policy="now")
    assert saved.name == name, (saved.name, name)
for bad in ["../../etc/passwd", "nul\\0.txt", ""]:
    try:
        result = holdfast.save(bad, base_path="." if bad.startswith("..") else None, policy="now")
    except ValueError as exc:
        print("refused", repr(bad), exc)
    else:
        raise SystemExit(f"{bad!r} was accepted: {result}")
open("line\\nbreak.txt", "w").write("x")
try:
    holdfast.save("line\\nbreak.txt")
except ValueError as exc:
    print("refused", exc)
"""
    assert machine.run(script) == 0, machine.output
    [directory] = machine.directories()
    assert machine.wait_until_ended(directory).missing == {}
    vault = machine.vault()
    versions = {info.name: data for info, data in all_versions(vault, RunPath(ENTITY, "faults", "names"))}
    for name in ("ckpt[1].pt", "übung-日本語.txt", "a" * 251 + ".txt", "%2e%2e", "tab*?.txt"):
        assert versions[name] == name.encode()
    done = machine.cli("pull", f"{ENTITY}/faults/names", "--root", "back")
    assert done.returncode == 0, done.stderr
    assert (machine.cwd / "back" / "ckpt[1].pt").read_text() == "ckpt[1].pt"
    vault.close()


def test_two_syncers_exclude_each_other(machine):
    oracle = machine.base / "oracle.jsonl"
    trainer = machine.start("saves_everything.py", "two", str(oracle), "1000")
    directory = machine.wait_for_directory()
    wait_until("the syncer held the lease", lambda: lease_is_live(directory))
    done = machine.cli("sync", str(directory.path))
    assert done.returncode == DirectoryBusyError.exit_code
    assert "Another syncer" in done.stderr
    trainer.kill()


def test_ten_syncs_make_one_run_and_send_no_byte_twice(machine):
    server = machine.server()
    machine.use(server.url)
    script = """
import holdfast, os, random
run = holdfast.init(project="faults", id="ten", mode="offline")
for i in range(20):
    open(f"f{i}.bin", "wb").write(random.Random(i).randbytes(100_000))
    holdfast.save(f"f{i}.bin")
"""
    assert machine.run(script) == 0, machine.output
    [directory] = machine.directories()
    with FaultProxy(server.port) as proxy:
        machine.use(proxy.url, machine.vault_key(server.url))
        sent = []
        for _ in range(10):
            before = proxy.bytes_to_server
            done = machine.cli("sync", str(directory.path))
            assert done.returncode == 0, done.stderr
            sent.append(proxy.bytes_to_server - before)
    assert sent[0] > 2_000_000
    assert max(sent[1:]) < 5_000
    machine.use(server.url)
    vault = machine.vault()
    assert len(vault.list_runs(ENTITY, "faults").runs) == 1
    assert {info.version for info in all_files(vault, RunPath(ENTITY, "faults", "ten")).values()} == {1}
    vault.close()


def test_ctrl_c_ends_the_training_and_not_the_upload(machine):
    oracle = machine.base / "oracle.jsonl"
    trainer = machine.start("saves_everything.py", "ctrl-c", str(oracle), "500")
    directory = machine.wait_for_directory()
    time.sleep(1)
    trainer.send_signal(signal.SIGINT)
    assert trainer.wait(30) != 0
    ended = machine.wait_until_ended(directory)
    assert ended.missing == {}
    assert ended.state == "failed"


def test_sigterm_is_noticed_as_a_crash_and_loses_nothing(machine):
    oracle = machine.base / "oracle.jsonl"
    trainer = machine.start("saves_everything.py", "term", str(oracle), "500")
    directory = machine.wait_for_directory()
    time.sleep(1 + random.Random(1).random())
    trainer.terminate()
    trainer.wait(30)
    ended = machine.wait_until_ended(directory)
    assert ended.missing == {}
    assert ended.state == "crashed"
