"""Runs the examples of one page of the docs, in order, as a user would: Python in one namespace, commands in a shell.

The world that the pages speak of: a run me/mnist/a1b2c3d4 on the server, and here a git repository with the files of a
training.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

COMMANDS = ("holdfast", "git", "make", "curl", "pip", "python", "tensorboard", "export")
GIT = r"""
git init -q
echo 'print("training")' > train.py
printf '%s\n' '*.pt' '*.json' results/ restored/ bin/ > .gitignore
git add train.py .gitignore
git -c user.name=me -c user.email=me@example.org commit -qm first
"""
FENCED = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\s*\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Example(NamedTuple):
    line: int
    is_python: bool
    code: str
    reason: str | None
    """Why it is not run."""


def examples(text: str) -> list[Example]:
    """Return the examples of a page: Python, and blocks that begin with a command."""
    found = []
    for block in FENCED.finditer(text):
        code, language = block["code"], block["language"]
        is_shell = language in ("", "sh", "console") and code.split(maxsplit=1)[0] in COMMANDS
        if language == "python" or is_shell:
            line = text.count("\n", 0, block.start("code")) + 1
            found.append(Example(line, language == "python", code, block["reason"]))
    return found


def make_world() -> None:
    import torch

    import holdfast

    for folder in ("results/eval", "checkpoints"):
        Path(folder).mkdir(parents=True)
    model = torch.nn.Linear(2, 1)
    torch.save(model.state_dict(), "model.pt")
    Path("results/eval/scores.csv").write_text("score\n1\n")
    Path("report.json").write_text("{}\n")
    Path("checkpoints/epoch-1.pt").write_bytes(b"1")
    subprocess.run(["bash", "-ec", GIT], check=True)
    run = holdfast.init(project="mnist", id="a1b2c3d4", settings={"silent": True, "capture": "code"})
    for pattern in ("model.pt", "checkpoints/*.pt", "report.json"):
        run.save(pattern)
    run.log({"loss": 0.5})
    run.finish(strict=True)


def main(page: str) -> None:
    import holdfast

    make_world()
    namespace = {"__name__": "__main__"}
    for example in examples(Path(page).read_text()):
        where = f"{Path(page).name}:{example.line}"
        if example.reason is not None:
            continue
        print(f"--- {where}", file=sys.stderr, flush=True)
        if not example.is_python or "init(" in example.code:
            holdfast.finish()  # the script of the example before has ended
        if not example.is_python:
            subprocess.run(["bash", "-ec", example.code], check=True)
            continue
        exec(compile("\n" * (example.line - 1) + example.code, where, "exec"), namespace)


if __name__ == "__main__":
    main(sys.argv[1])
