"""Several runs at once on one embedded vault, while a server serves it."""

from __future__ import annotations

import os
import signal
import time

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, Machine, all_versions, read_file, sha, wait_until

WRITER = """
import sys, time, hashlib, random
from pathlib import Path
import holdfast

name, seed = sys.argv[1], sys.argv[2]
run = holdfast.init(project="together", id=name)
data = random.Random(seed).randbytes(3_000_000)
for step in range(8):
    Path(f"{name}-{step}.bin").write_bytes(data + str(step).encode())
    holdfast.save(f"{name}-{step}.bin", policy="now")
    time.sleep(0.2)
if name == "killed":
    time.sleep(60)
"""


def test_four_runs_on_one_embedded_vault_beside_a_server(machine):
    server = machine.server(data=machine.base / "home" / "vault")
    other = Machine(machine.base / "client", HOLDFAST_HOME=machine.env["HOLDFAST_HOME"])
    other.use(server.url)
    # "twin-a" and "twin-b" save the same bytes; "killed" is killed; "remote" writes the same vault by HTTP.
    seeds = {"twin-a": "same", "twin-b": "same", "killed": "third", "plain": "fourth"}
    running = {name: machine.start(WRITER, name, seed) for name, seed in seeds.items()}
    remote = other.start(WRITER, "remote", "fifth")
    wait_until("all were opened", lambda: sum(bool(item.opened()) for item in machine.directories()) == 4)
    time.sleep(1)
    os.kill(running["killed"].pid, signal.SIGKILL)
    assert [running[name].wait(60) for name in ("twin-a", "twin-b", "plain")] == [0, 0, 0], machine.output
    assert remote.wait(60) == 0, other.output
    for directory in machine.directories():
        assert machine.wait_until_ended(directory).missing == {}

    vault = machine.vault()
    runs = {info.run_id: info for info in vault.list_runs(ENTITY, "together").runs}
    assert set(runs) == {*seeds, "remote"}
    assert runs["killed"].state == "crashed"
    assert {runs[name].state for name in ("twin-a", "twin-b", "plain", "remote")} == {"finished"}
    assert len({info.name for info in runs.values()}) == 5
    for name in (*seeds, "remote"):
        for info, data in all_versions(vault, RunPath(ENTITY, "together", name)):
            source = (other if name == "remote" else machine).cwd / info.name
            if source.exists():
                assert sha(data) == sha(source.read_bytes())
    stored = sum(
        path.stat().st_size
        for path in (machine.base / "home" / "vault" / "blobs").rglob("*")
        if path.is_file()
    )
    logical = sum(info.size_bytes for info in runs.values())
    assert stored < logical / 3, "the same bytes were stored more than once"
    # the server shows what the syncers wrote
    remote_vault = other.vault()
    name = "twin-a-3.bin"
    found = read_file(remote_vault, RunPath(ENTITY, "together", "twin-a"), name)
    assert found == (machine.cwd / name).read_bytes()
    remote_vault.close()
    vault.close()
    other.close()
