"""A log that grows: what is sent for a thousand times 10 KB more, by the uploader alone and by a real syncer.

The lines are random printable text, so that no compression flatters the figure; the new bytes are counted as written.
"""

from __future__ import annotations

import random
import string
import time
import uuid
from pathlib import Path

from figures import report
from proxy import Count, CountingProxy
from stage import Stage

SYNCS = 1_000
SYNCER_SYNCS = 40
STEP_BYTES = 10_000
ALLOWANCE_BYTES = 4 << 10
_LINE_BYTES = 100
_PRINTABLE = bytes(set(string.printable.encode()) - set(string.whitespace.encode()))

FOLLOW = """
from pathlib import Path
import holdfast
run = holdfast.init(project="growing")
log = Path(sys.argv[1])
[saved] = holdfast.save(log, policy="live")
saved.wait(60)
facts = Path(run.dir).parent / "sync.jsonl"
tell(ready=True)
for _ in range(int(sys.argv[2])):
    wait_for_parent()
    stored = f'"size":{log.stat().st_size},'
    while stored not in facts.read_text():
        time.sleep(0.01)
    tell(stored=True)
os._exit(0)
"""


def lines(chance: random.Random, size_bytes: int = STEP_BYTES) -> bytes:
    """Return so many bytes of whole lines."""
    line = b"".join(
        bytes(chance.choices(_PRINTABLE, k=_LINE_BYTES - 1)) + b"\n" for _ in range(size_bytes // _LINE_BYTES)
    )
    assert len(line) == size_bytes
    return line


def tell(what: str, count: Count, seconds: float, syncs: int) -> None:
    new = syncs * STEP_BYTES
    report(
        f"sent for a log that grows by 10 KB, {what}",
        count.sent / syncs,
        "B a sync",
        beside="the new bytes of a sync",
        peer=STEP_BYTES,
        at_most=(1.1 * new + ALLOWANCE_BYTES * syncs) / syncs,
        runs=syncs,
    )
    report(f"requests a sync of it, {what}", count.requests / syncs, "requests", runs=syncs)
    report(f"time a sync of it, {what}", seconds / syncs * 1e3, "ms", runs=syncs)


def by_the_uploader(proxy: CountingProxy, api_key: str, log: Path) -> tuple[Count, float]:
    from holdfast.protocol.messages import RunSpec
    from holdfast.remote import RemoteVault
    from holdfast.sync.jobs import Done, Job, Progress, ReadRule
    from holdfast.sync.upload import Uploader

    vault = RemoteVault(proxy.url, api_key)
    spec = RunSpec(
        entity=vault.whoami().entity,
        project="growing",
        run_id="r1",
        attempt=uuid.uuid4().hex,
        started_at=time.time(),
    )
    vault.open_run(spec)
    uploader = Uploader(vault, spec.path, spec.attempt, progress=Progress())
    chance = random.Random(1)
    before, seconds = proxy.count(), 0.0
    for sync in range(SYNCS):
        with log.open("ab") as file:
            file.write(lines(chance))
        start = time.perf_counter()
        [outcome] = uploader.store([Job(name="train.log", path=log, rule=ReadRule.PREFIX)])
        seconds += time.perf_counter() - start
        assert isinstance(outcome, Done), outcome
        assert outcome.size == (sync + 1) * STEP_BYTES
    vault.close()
    return proxy.count() - before, seconds


def by_a_syncer(stage: Stage, proxy: CountingProxy) -> tuple[Count, float]:
    log = stage.cwd / "followed.log"
    chance = random.Random(2)
    log.write_bytes(lines(chance))
    with stage.trainer(FOLLOW, log, SYNCER_SYNCS) as trainer:
        assert trainer.next()["ready"]
        before, start = proxy.count(), time.perf_counter()
        for _ in range(SYNCER_SYNCS):
            with log.open("ab") as file:
                file.write(lines(chance))
            trainer.go_on()
            assert trainer.next()["stored"]
        return proxy.count() - before, time.perf_counter() - start


def main(stage: Stage) -> None:
    server = stage.server()
    with CountingProxy(server.url) as proxy, stage.going_through(proxy.url, server):
        tell(
            "by the uploader",
            *by_the_uploader(proxy, stage.env["HOLDFAST_API_KEY"], stage.cwd / "train.log"),
            SYNCS,
        )
        tell("by a syncer", *by_a_syncer(stage, proxy), SYNCER_SYNCS)


if __name__ == "__main__":
    # The shortest interval between two versions, so that forty syncs do not take minutes.
    with Stage(HOLDFAST_LIVE_INTERVAL="0.1") as stage:
        main(stage)
