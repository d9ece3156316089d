"""Peak memory at a file of 10 GB that does not compress and repeats nothing: syncer, server, restore.

It is VmHWM of each process: the greatest resident size ever, pages of mapped files included.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from figures import report
from stage import MIB, Stage, age, peak_mib

FILE_BYTES = 10 * 10**9
_BLOCK_BYTES = 64 * MIB

UPLOAD = """
from pathlib import Path
import holdfast
run = holdfast.init(project="memory", id="upload")
[saved] = holdfast.save(sys.argv[1], policy="now")
start = clock()
saved.wait(300)
tell(run=run.path, seconds=clock() - start, facts=str(Path(run.dir).parent / "sync.jsonl"))
wait_for_parent()
"""

RESTORE = """
import holdfast
run, name, root = sys.argv[1:]
start = clock()
holdfast.restore(name, run_path=run, root=root).close()
tell(seconds=clock() - start, pid=os.getpid())
wait_for_parent()
"""

BARE = """
tell(pid=os.getpid())
wait_for_parent()
"""


def write_distinct(path: Path) -> None:
    """Write random bytes, each block crossed with a number of its own, so that nothing repeats."""
    random = np.random.default_rng(0)
    base = random.integers(0, 2**64, _BLOCK_BYTES // 8, dtype=np.uint64)
    numbers = np.arange(FILE_BYTES // _BLOCK_BYTES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    with path.open("wb") as file:
        for number in numbers:
            file.write((base ^ number).data)
        file.truncate(FILE_BYTES)
    age(path)


def syncer_of(facts: Path) -> int:
    started = [line for line in facts.read_text().splitlines() if '"syncer_started"' in line]
    return int(json.loads(started[-1].partition(" ")[2])["pid"])


def main(stage: Stage) -> None:
    server = stage.server()
    file = stage.cwd / "large.bin"
    write_distinct(file)
    stage.settle()
    with stage.trainer(BARE) as trainer:
        bare = peak_mib(trainer.next()["pid"])
        trainer.go_on()
    idle = peak_mib(server.process.pid)
    with stage.trainer(UPLOAD, file) as trainer:
        told = trainer.next()
        syncer, stored_by = peak_mib(syncer_of(Path(told["facts"]))), peak_mib(server.process.pid)
        trainer.go_on()
        trainer.end()
    file.unlink()
    root = stage.folder / "restored"
    root.mkdir()
    with stage.trainer(RESTORE, told["run"], file.name, root) as trainer:
        restored = trainer.next()
        restore, served_by = peak_mib(restored["pid"]), peak_mib(server.process.pid)
        trainer.go_on()
        trainer.end()
    assert (root / file.name).stat().st_size == FILE_BYTES
    shutil.rmtree(root)
    beside = "a bare Python process"
    report("peak memory of the syncer, 10 GB file", syncer, "MiB", beside=beside, peer=bare, at_most=250)
    report("peak memory of restore, 10 GB file", restore, "MiB", beside=beside, peer=bare, at_most=300)
    report(
        "peak memory of the server, 10 GB stored and restored",
        max(stored_by, served_by),
        "MiB",
        beside="the same server, idle",
        peer=idle,
        at_most=300,
    )
    report("10 GB, save to stored", FILE_BYTES / 1e9 / told["seconds"], "GB/s")
    report("10 GB, restore", FILE_BYTES / 1e9 / restored["seconds"], "GB/s")


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
