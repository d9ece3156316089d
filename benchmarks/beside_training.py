"""How much slower a CPU-bound training loop runs while 1 GiB is uploaded, with one core left free.

The loop (matrix products on one thread) keeps the first core; the server is bound to the others, as it stands for another
machine. The syncer is measured bound to the free cores and, as a user has it, bound to nothing. Beside it: the loop while curl, on
the free cores, sends the same file to nginx. What is counted is rounds of the loop per CPU-bound second, with the upload
under way, over the same right before and after it.
"""

from __future__ import annotations

import os
import statistics

from figures import report
from stage import GIB, Stage

REPEATS = 5
WINDOW_S = 1.0

LOOP = """
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import subprocess
from pathlib import Path
import numpy as np
mode, path, url, project, window = sys.argv[1:]
others = set(range(1, os.cpu_count()))
a = np.random.default_rng(0).random((192, 192))

def rate(goes_on):
    rounds, start = 0, clock()
    while goes_on():
        for _ in range(10):
            a @ a
        sum(range(3000))
        rounds += 1
    return rounds / (clock() - start)

def for_a_while():
    end = clock() + float(window)
    return lambda: clock() < end

if mode == "curl":
    os.sched_setaffinity(0, {0})
    before = rate(for_a_while())
    sending = subprocess.Popen(["taskset", "-c", ",".join(map(str, others)), "curl", "-sS", "-f", "-T", path, url])
    beside = rate(lambda: sending.poll() is None)
else:
    import holdfast
    run = holdfast.init(project=project)
    Path("ready.txt").write_text("x")
    holdfast.save("ready.txt", policy="now")[0].wait(60)
    facts = Path(run.dir).parent / "sync.jsonl"
    if mode == "bound":
        started = [line for line in facts.read_text().splitlines() if '"syncer_started"' in line][-1]
        syncer = json.loads(started.partition(" ")[2])["pid"]
        for thread in os.listdir(f"/proc/{syncer}/task"):
            os.sched_setaffinity(int(thread), others)
    os.sched_setaffinity(0, {0})
    before = rate(for_a_while())
    size = os.stat(facts).st_size
    [saved] = holdfast.save(path, policy="now")
    beside = rate(lambda: os.stat(facts).st_size == size)  # the syncer tells when it is stored
    saved.wait(60)
after = rate(for_a_while())
tell(before=before, beside=beside, after=after)
"""


def slowdown(told: dict[str, float]) -> float:
    return (1 - told["beside"] / statistics.mean((told["before"], told["after"]))) * 100


def main(stage: Stage) -> None:
    others = set(range(1, os.cpu_count() or 1))
    server = stage.server()
    nginx = stage.nginx()
    for pid in (server.process.pid, nginx.process.pid):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), others)
    file = stage.incompressible("gigabyte.bin", GIB)
    found: dict[str, list[float]] = {"bound": [], "free": [], "curl": []}
    for repeat in range(REPEATS):
        for mode, values in found.items():
            (nginx.root / file.name).unlink(missing_ok=True)
            stage.settle()
            told = stage.train(LOOP, mode, file, f"{nginx.url}/{file.name}", f"{mode}{repeat}", WINDOW_S)
            values.append(slowdown(told))
            stage.end_syncers()
    for mode, what in (("bound", "one core left free"), ("free", "the syncer bound to nothing")):
        report(
            f"slow-down of a training loop beside an upload of 1 GiB, {what}",
            found[mode],
            "%",
            beside="the same beside curl -T to nginx",
            peer=found["curl"],
            at_most=3 if mode == "bound" else None,
        )


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
