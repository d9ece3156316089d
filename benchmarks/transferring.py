"""1 GiB that does not compress: first upload until the commit is durable, and verified restore, beside curl and nginx.

Timed are `save(policy="now")` until `wait()` returns, with the run registered already; and `restore()` into an empty
folder, with the imports done. Of curl the whole process is timed. nginx neither checks nor fsyncs what it stores.
"""

from __future__ import annotations

import filecmp
import shutil
from typing import Any

from figures import report
from stage import GIB, Stage, curl, timed

REPEATS = 5

UPLOAD = """
import holdfast
run = holdfast.init(project=sys.argv[1], id="upload")
open("ready.txt", "w").write("x")
holdfast.save("ready.txt", policy="now")[0].wait(60)
tell(ready=True)
wait_for_parent()
start = clock()
[saved] = holdfast.save(sys.argv[2], policy="now")
saved.wait(120)
tell(seconds=clock() - start, run=run.path)
"""

RESTORE = """
import holdfast
run, name, root = sys.argv[1:]
holdfast.restore("ready.txt", run_path=run, root=root).close()  # imports what there is to import
tell(ready=True)
wait_for_parent()
start = clock()
holdfast.restore(name, run_path=run, root=root).close()
tell(seconds=clock() - start)
"""


def measured(stage: Stage, source: str, *arguments: object) -> Any:
    """Run a training process up to what is timed, settle the machine as for a peer, and let it go on."""
    with stage.trainer(source, *arguments) as trainer:
        assert trainer.next()["ready"]
        stage.settle()
        trainer.go_on()
        told = trainer.next()
        trainer.end()
        return told


def main(stage: Stage) -> None:
    stage.server()
    nginx = stage.nginx()
    file = stage.incompressible("gigabyte.bin", GIB)
    up, up_peer, down, down_peer = [], [], [], []
    for repeat in range(REPEATS):
        stored = nginx.root / file.name
        stored.unlink(missing_ok=True)
        stage.settle()
        up_peer.append(timed(lambda: curl("-T", file, f"{nginx.url}/{file.name}")))

        told = measured(
            stage, UPLOAD, f"transfer{repeat}", file
        )  # a project of its own: nothing is known there
        up.append(told["seconds"])

        target = stage.folder / "curled.bin"
        stage.settle()
        down_peer.append(timed(lambda target=target: curl("-o", target, f"{nginx.url}/{file.name}")))
        target.unlink()

        root = stage.folder / "restored"
        root.mkdir()
        down.append(measured(stage, RESTORE, told["run"], file.name, root)["seconds"])
        assert filecmp.cmp(file, root / file.name, shallow=False)
        shutil.rmtree(root)

    def rate(seconds: list[float]) -> list[float]:
        return [file.stat().st_size / 1e9 / took for took in seconds]

    report(
        "first upload of 1 GiB, until durable",
        rate(up),
        "GB/s",
        beside="curl -T to nginx (WebDAV)",
        peer=rate(up_peer),
        ratio_at_least=0.45,
    )
    report(
        "verified restore of 1 GiB to a new file",
        rate(down),
        "GB/s",
        beside="curl from nginx to a file",
        peer=rate(down_peer),
        ratio_at_least=0.8,
    )


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
