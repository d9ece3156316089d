"""1 GiB again, with 1 % of it changed in one place: the time until it is stored, and what was sent."""

from __future__ import annotations

import time
from pathlib import Path

import blake3

from figures import report
from proxy import CountingProxy
from stage import GIB, MIB, Stage

CHANGED_BYTES = GIB // 100
TIMED_CHANGES = 5
COUNTED_CHANGES = 2

CHANGE = """
import holdfast
path, changes, changed = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
run = holdfast.init(project=sys.argv[1])
holdfast.save(path, policy="now")[0].wait(120)
tell(ready=True)
wait_for_parent()
for change in range(changes):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // (changes + 1) * (change + 1) + 12_345)
        file.write(os.urandom(changed))
        file.flush()
        os.fsync(file.fileno())
    start = clock()
    [saved] = holdfast.save(path, policy="now")
    saved.wait(120)
    tell(seconds=clock() - start, version=saved.version)
    wait_for_parent()
"""


def main(stage: Stage) -> None:
    server = stage.server()
    file = stage.incompressible("gigabyte.bin", GIB)
    times, hashing = [], []
    with stage.trainer(CHANGE, "timed", file, TIMED_CHANGES, CHANGED_BYTES) as trainer:
        assert trainer.next()["ready"]
        for change in range(TIMED_CHANGES):
            stage.settle()
            trainer.go_on()
            told = trainer.next()
            assert told["version"] == change + 2
            times.append(told["seconds"])
            hashing.append(read_and_hash(file))
    report(
        "1 GiB with 1 % changed in one place",
        times,
        "s",
        beside="reading the file and hashing it once (BLAKE3)",
        peer=hashing,
        at_most=1.1,
    )
    stage.end_syncers()
    sent = []
    with (
        CountingProxy(server.url) as proxy,
        stage.going_through(proxy.url, server),
        stage.trainer(CHANGE, "counted", file, COUNTED_CHANGES, CHANGED_BYTES) as trainer,
    ):
        assert trainer.next()["ready"]
        for _ in range(COUNTED_CHANGES):
            before = proxy.count()
            trainer.go_on()
            trainer.next()
            sent.append((proxy.count() - before).sent / MIB)
    report(
        "sent for 1 GiB with 1 % changed in one place",
        sent,
        "MiB",
        beside="the changed bytes",
        peer=CHANGED_BYTES / MIB,
        at_most=1.3 * CHANGED_BYTES / MIB + 1,
    )


def read_and_hash(path: Path) -> float:
    start = time.perf_counter()
    hasher = blake3.blake3()
    with path.open("rb", buffering=0) as file:
        while block := file.read(4 * MIB):
            hasher.update(block)
    return time.perf_counter() - start


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
