"""What Holdfast costs at the start of a script: the import, and `init()` until training goes on."""

from __future__ import annotations

import subprocess
import sys

from figures import report
from stage import Stage, timed

IMPORTS = 20
INITS = 12

INIT = """
import subprocess
import holdfast
start = clock()
run = holdfast.init(project="starting")
took = clock() - start
start = clock()
subprocess.run([sys.executable, "-c", "pass"])
tell(ours=took, bare=clock() - start)
"""


def main(stage: Stage) -> None:
    def process(source: str) -> float:
        command = [sys.executable, "-c", source]
        return timed(lambda: subprocess.run(command, cwd=stage.cwd, env=stage.env, check=True)) * 1e3

    process("import holdfast")  # compiles the modules
    pairs = [(process("pass"), process("import holdfast")) for _ in range(IMPORTS)]
    report(
        "import holdfast, beyond the interpreter",
        [with_us - bare for bare, with_us in pairs],
        "ms",
        beside="python -c pass",
        peer=[bare for bare, _ in pairs],
        at_most=60,
    )
    stage.server()
    stage.train(INIT)
    runs = [stage.train(INIT) for _ in range(INITS)]
    report(
        "init() to a loopback server",
        [told["ours"] * 1e3 for told in runs],
        "ms",
        beside="starting a bare Python process and waiting for it",
        peer=[told["bare"] * 1e3 for told in runs],
        at_most=150,
    )


if __name__ == "__main__":
    with Stage() as stage:
        main(stage)
