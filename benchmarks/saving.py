"""What `save()` costs the training: one file of 20 GB, and 2,000 small files in one call."""

from __future__ import annotations

import os

from figures import quantile, report
from stage import GIB, Stage

CALLS = 200
SMALL_FILES = 2_000
REPEATS = 5

# Each call finds the file with another time of change, as after another checkpoint. The bare links are made in turn.
ONE_FILE = """
import holdfast
policy, path, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
run = holdfast.init(project="saving")
os.mkdir(policy)
ours, bare = [], []
for call in range(calls):
    os.utime(path, ns=(0, 10**18 + call))
    start = clock()
    holdfast.save(path, policy=policy)
    ours.append(clock() - start)
    start = clock()
    os.symlink(path, f"{policy}/{call}.symbolic")
    os.link(path, f"{policy}/{call}.hard")
    bare.append(clock() - start)
tell(ours=ours, bare=bare)
os._exit(0)
"""

MANY_FILES = """
import holdfast
policy, folder, here = sys.argv[1], sys.argv[2], sys.argv[3]
run = holdfast.init(project="saving")
start = clock()
saved = holdfast.save(f"{folder}/*", policy=policy)
ours = clock() - start
os.makedirs(here)
start = clock()
for item in os.scandir(folder):
    os.symlink(item.path, f"{here}/{item.name}.symbolic")
    os.link(item.path, f"{here}/{item.name}.hard")
tell(ours=ours, bare=clock() - start, files=len(saved))
os._exit(0)
"""


def main(stage: Stage) -> None:
    stage.server()
    large = stage.cwd / "model.bin"
    with large.open("wb") as file:
        file.truncate(20 * GIB)
    for policy in ("live", "now"):
        told = stage.train(ONE_FILE, policy, large, CALLS)
        stage.end_syncers()  # nobody needs the 20 GB stored
        p99 = [quantile(told[which], 0.99) * 1e3 for which in ("ours", "bare")]
        report(
            f"save() of a 20 GB file, {policy}, p99",
            p99[0],
            "ms",
            beside="os.symlink + os.link, p99",
            peer=p99[1],
            at_most=1,
            runs=CALLS,
        )
    small = stage.cwd / "small"
    small.mkdir()
    for number in range(SMALL_FILES):
        (small / f"{number:05}.bin").write_bytes(os.urandom(10_000))
    for policy in ("live", "now"):
        runs = []
        for repeat in range(REPEATS):
            runs.append(stage.train(MANY_FILES, policy, small, f"bare/{policy}{repeat}"))
            stage.end_syncers()
            assert runs[-1]["files"] == SMALL_FILES
        report(
            f"save() of 2,000 small files, {policy}",
            [told["ours"] for told in runs],
            "s",
            beside="os.symlink + os.link of each",
            peer=[told["bare"] for told in runs],
            at_most=0.2,
        )


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
