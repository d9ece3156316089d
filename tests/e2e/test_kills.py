"""SIGKILL at random moments: what `save()` accepted is stored in the end, once, whole (I1, I6, I7)."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, Machine, all_versions, read_oracle, sha, wait_until

STEPS = 25
VICTIMS = ("trainer", "syncer", "both", "server")
KILLS = {"sample": 2, "full": 100}


def play(machine: Machine, victim: str, seed: int) -> None:
    """One run whose victim is killed at a random moment; then the world goes on as a user would let it."""
    chance = random.Random(f"{victim}-{seed}")
    for name in (
        "HOLDFAST_CAPTURE",
        "HOLDFAST_CONSOLE",
    ):  # the console and what is captured are there as for users
        del machine.env[name]
    run = RunPath(ENTITY, "kills", f"{victim}{seed}")
    server = machine.server() if victim == "server" or seed % 2 else None
    machine.use(server.url if server else None)
    oracle = machine.base / "oracle.jsonl"
    trainer = machine.start("saves_everything.py", run.run_id, str(oracle), str(STEPS))
    directory = machine.wait_for_directory()
    time.sleep(chance.uniform(0, 3))
    if victim in ("syncer", "both"):
        machine.kill_syncers()
    if victim in ("trainer", "both"):
        os.kill(trainer.pid, signal.SIGKILL)
    if victim == "server":
        assert server
        server.kill()
        time.sleep(chance.uniform(0, 1))
        server.start()
    trainer.wait(60)
    if victim in ("syncer", "both"):
        machine.cli("status")  # any use of Holdfast on that disk
    ended = machine.wait_until_ended(directory)
    assert ended.missing == {}
    check(machine, run, oracle)


def check(machine: Machine, run: RunPath, oracle) -> None:
    notes = read_oracle(oracle)
    states: dict[str, set[str]] = {}
    for note in notes:
        if note["kind"] == "state":
            states.setdefault(note["name"], set()).add(note["sha"])
    vault = machine.vault()
    assert [info.run_id for info in vault.list_runs(ENTITY, "kills").runs] == [run.run_id]
    seen: dict[str, set[str]] = {}
    newest: dict[str, str] = {}
    for info, data in all_versions(vault, run):
        seen.setdefault(info.name, set()).add(sha(data))
        newest.setdefault(info.name, sha(data))
        torn = info.name in states and sha(data) not in states[info.name]
        assert not torn, f"{info.name} version {info.version} mixes states"
    for note in notes:
        if note["kind"] == "now":
            assert note["sha"] in seen.get(note["name"], set()), f"{note['name']} as of a save is not stored"
        elif note["kind"] == "accepted":
            path = machine.cwd / note["name"]
            if note["name"].startswith("dropped"):
                path = next(iter(machine.directories())).files / note["name"]
            assert newest.get(note["name"]) == sha(path.read_bytes()), (
                f"{note['name']} is not stored as it is"
            )
    vault.close()


@pytest.mark.parametrize("seed", range(KILLS["sample"]))
@pytest.mark.parametrize("victim", VICTIMS)
def test_every_accepted_file_is_stored_after_a_kill(machine, victim, seed):
    play(machine, victim, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(KILLS["sample"], KILLS["full"]))
@pytest.mark.parametrize("victim", VICTIMS)
def test_every_accepted_file_is_stored_after_one_of_a_hundred_kills(machine, victim, seed):
    play(machine, victim, seed)


def test_a_syncer_that_was_killed_is_started_again_by_the_trainer(machine):
    oracle = machine.base / "oracle.jsonl"
    trainer = machine.start("saves_everything.py", "again", str(oracle), "120")
    directory = machine.wait_for_directory()
    for _ in range(3):
        wait_until("a syncer was there", machine.syncers)
        machine.kill_syncers()
        time.sleep(1.2)
    trainer.wait(60)
    assert machine.wait_until_ended(directory).missing == {}
    check(machine, RunPath(ENTITY, "kills", "again"), oracle)
