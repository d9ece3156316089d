"""10,000 files of 10 KB: from `save()` until all are stored, and restored into an empty folder; and the requests.

Of the restore the whole process of `holdfast pull` is timed, its start included. Nothing is removed before the end: ext4
makes new files slowly for minutes after many were removed.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from figures import report
from proxy import CountingProxy
from stage import Stage, age, timed

FILES = 10_000
REPEATS = 3

SAVE = """
import holdfast
run = holdfast.init(project=sys.argv[1])
open("ready.txt", "w").write("x")
holdfast.save("ready.txt", policy="now")[0].wait(60)
tell(run=run.path)
wait_for_parent()
start = clock()
saved = holdfast.save("many", policy=sys.argv[2])
for item in saved:
    item.wait(120)
tell(seconds=clock() - start, files=len(saved))
wait_for_parent()
"""


class Round:
    """One save and one restore of all the files."""

    def __init__(self, stage: Stage, project: str, policy: str, proxy: CountingProxy | None = None) -> None:
        self._stage, self._proxy = stage, proxy
        with stage.trainer(SAVE, project, policy) as trainer:
            run = trainer.next()["run"]
            self.save_s, self.save_requests = self._measured(trainer)
        root = stage.folder / f"restored-{project}"
        stage.settle()
        before = proxy.count() if proxy else None
        self.restore_s = timed(lambda: stage.holdfast("pull", run, "many/**", "--root", root))
        self.restore_requests = (proxy.count() - before).requests if proxy and before else 0
        compare(stage.cwd / "many", root / "many")

    def _measured(self, trainer) -> tuple[float, int]:
        self._stage.settle()
        before = self._proxy.count() if self._proxy else None
        trainer.go_on()
        told = trainer.next()
        assert told["files"] == FILES
        requests = (self._proxy.count() - before).requests if self._proxy and before else 0
        trainer.go_on()
        trainer.end()
        return told["seconds"], requests


def compare(ours: Path, theirs: Path) -> None:
    names = sorted(os.listdir(ours))
    same, different, failed = filecmp.cmpfiles(ours, theirs, names, shallow=False)
    assert len(same) == FILES, (len(same), different[:3], failed[:3])


def copying(stage: Stage, target: Path) -> float:

    def copy() -> None:
        shutil.copytree(stage.cwd / "many", target)
        stage.settle()

    stage.settle()
    return timed(copy)


def main(stage: Stage) -> None:
    server = stage.server()
    folder = stage.cwd / "many"
    folder.mkdir()
    for number in range(FILES):
        path = folder / f"{number:05}.bin"
        path.write_bytes(os.urandom(10_000))
        age(path)
    for policy in ("now", "live"):
        rounds, copies = [], []
        for repeat in range(REPEATS):
            copies.append(copying(stage, stage.folder / f"copied-{policy}{repeat}"))
            rounds.append(Round(stage, f"{policy}{repeat}", policy))
        beside = "copying them and syncing the file system"
        report(
            f"10,000 files of 10 KB, {policy}, save to stored",
            [each.save_s for each in rounds],
            "s",
            beside=beside,
            peer=copies,
            at_most=4,
        )
        if policy == "now":
            report(
                "10,000 files of 10 KB, restore",
                [each.restore_s for each in rounds],
                "s",
                beside=beside,
                peer=copies,
                at_most=4,
            )
    with CountingProxy(server.url) as proxy, stage.going_through(proxy.url, server):
        counted = Round(stage, "counted", "now", proxy)
    report("requests to store 10,000 files", counted.save_requests, "requests", at_most=29)
    report("requests to restore 10,000 files", counted.restore_requests, "requests", at_most=29)


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
