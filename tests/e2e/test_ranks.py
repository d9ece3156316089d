"""Several processes that share one run."""

from __future__ import annotations

import json

import pytest

from holdfast.names import RunPath
from holdfast.protocol.messages import RunState
from tests.e2e.harness import Machine, all_files, read_file, wait_until

RUN = RunPath("me", "p", "shared")
RANK = """
import os, sys, time, holdfast
rank = os.environ.get("RANK", "0")
run = holdfast.init(project="p", id="shared", resume=os.environ.get("HOW"), config={"rank": rank})
print("BEGAN", rank, run.step, dict(run.summary), run.config["rank"], run.resumed, flush=True)
run.log({"loss": float(rank)})
open(f"shard-{rank}.txt", "w").write(f"shard {rank}")
holdfast.save(f"shard-{rank}.txt")
open(os.path.join(run.dir, "same.txt"), "w").write(f"of rank {rank}")
while os.path.exists(f"wait-{rank}"):
    time.sleep(0.05)
sys.exit(int(os.environ.get("EXIT", "0")))
"""


@pytest.fixture(params=["embedded", "server"])
def vault(machine: Machine, request):
    if request.param == "server":
        server = machine.server()
        machine.use(server.url)
    opened = machine.vault()
    yield opened
    opened.close()


def start(machine: Machine, rank: int, **environ: str):
    machine.env.update({"RANK": str(rank), "EXIT": "0", **environ})
    return machine.start(RANK)


def test_ranks_share_a_run_without_writing_each_others_files(machine, vault):
    (machine.cwd / "wait-0").touch()
    first = start(machine, 0)
    others = [start(machine, rank) for rank in (1, 2)]
    assert [process.wait(60) for process in others] == [0, 0]
    wait_until(
        "ranks 1 and 2 had ended", lambda: list(vault.get_run(RUN).ranks.values()).count("finished") == 2
    )

    assert vault.get_run(RUN).state is RunState.RUNNING
    (machine.cwd / "wait-0").unlink()
    assert first.wait(60) == 0
    info = vault.get_run(RUN)
    assert (info.state, info.attempts, info.config, info.summary) == (
        RunState.FINISHED, 1, {"rank": "0"}, {"loss": 0.0},
    )  # fmt: skip
    own = {"config.yaml", "history.jsonl", "summary.json"}
    files = all_files(vault, RUN)
    assert set(files) >= own | {f"ranks/{rank}/{name}" for rank in (1, 2) for name in own}
    assert {"shard-0.txt", "shard-1.txt", "shard-2.txt", "same.txt"} <= set(files)
    assert json.loads(read_file(vault, RUN, "ranks/2/summary.json")) == {"loss": 2.0}
    versions = [read_file(vault, RUN, "same.txt", at.version) for at in vault.list_versions(RUN, "same.txt")]
    assert sorted(versions) == [b"of rank 0", b"of rank 1", b"of rank 2"]


def test_a_rank_that_is_killed_shows_and_each_goes_on_where_it_was(machine, vault):
    (machine.cwd / "wait-1").touch()
    killed = start(machine, 1)
    wait_until("rank 1 had begun", lambda: "BEGAN 1" in machine.output)
    assert start(machine, 0).wait(60) == 0
    wait_until("rank 1 was there", lambda: len(all_files(vault, RUN)) >= 6)
    assert vault.get_run(RUN).ranks == {0: RunState.FINISHED, 1: RunState.RUNNING}
    killed.kill()
    wait_until("the run had crashed", lambda: vault.get_run(RUN).state is RunState.CRASHED)

    (machine.cwd / "wait-1").unlink()
    again = [start(machine, rank, HOW="must") for rank in (1, 0)]

    assert [process.wait(60) for process in again] == [0, 0]
    assert "BEGAN 1 1 {'loss': 1.0} 1 True" in machine.output
    assert "BEGAN 0 1 {'loss': 0.0} 0 True" in machine.output
    info = vault.get_run(RUN)
    assert (info.state, info.attempts) == (RunState.FINISHED, 2)
    steps = [
        json.loads(line)["_step"] for line in read_file(vault, RUN, "ranks/1/history.jsonl").splitlines()
    ]
    assert steps == [0, 1]
