"""The main job on real files: save while a run writes, kill -9 everything, restore, compare byte for byte.

`make demo` runs it. It uses the embedded vault in a temporary folder and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = Path(__file__).with_name("train.py")
RUN_ID = secrets.token_hex(4)


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def holdfast(*arguments: str, cwd: Path, env: dict[str, str]) -> str:
    command = [sys.executable, "-m", "holdfast", *arguments]
    print("$ holdfast", *arguments, flush=True)
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr, end="", flush=True)
    if done.returncode:
        raise SystemExit(f"holdfast {arguments[0]} exited with {done.returncode}")
    return done.stdout


def wait_until(what: str, true: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"It took more than {seconds:.0f} s until {what}.")
        time.sleep(0.1)


def processes_of(folder: Path) -> list[int]:
    """The syncers of the run directories below ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"holdfast.syncer" in command and os.fsencode(folder) in command:
            found.append(int(process.name))
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as scratch:
        base = Path(scratch)
        here, there = base / "training-machine", base / "another-folder"
        here.mkdir()
        there.mkdir()
        env = {**os.environ, "HOLDFAST_HOME": str(base / "home"), "HOLDFAST_ENTITY": "me"}
        (here / "results" / "eval").mkdir(parents=True)
        (here / "results" / "eval" / "confusion matrix.csv").write_text("0,1\n1,0\n" * 1000)

        say("A training run starts and saves its files while it writes them.")
        training = subprocess.Popen([sys.executable, str(TRAIN), RUN_ID], cwd=here, env=env)
        run = f"me/demo/{RUN_ID}"
        [directory] = wait_for_directory(here)
        log = directory / "sync.jsonl"
        wait_until(
            "the first checkpoint was stored", lambda: log.exists() and '"model.ckpt"' in log.read_text()
        )
        time.sleep(3)

        say("kill -9: the training, and the process that syncs it.")
        os.kill(training.pid, signal.SIGKILL)
        training.wait()
        for pid in processes_of(here):
            os.kill(pid, signal.SIGKILL)

        say("Any use of Holdfast on that machine goes on where they stopped.")
        holdfast("status", cwd=here, env=env)
        wait_until("everything was stored", lambda: '"ended"' in log.read_text())
        holdfast("ls", run, cwd=here, env=env)
        holdfast("ls", "-v", run + "/model.ckpt", cwd=here, env=env)

        say("On another machine: everything back, every byte verified.")
        holdfast("pull", run, "--root", str(there), cwd=there, env=env)
        compare(here, there, directory)


def wait_for_directory(here: Path) -> list[Path]:
    def found() -> list[Path]:
        return list((here / "holdfast").glob("run-*"))

    wait_until("the run directory was there", found)
    return found()


def compare(here: Path, there: Path, directory: Path) -> None:
    say("Compared with what the killed run had left on its disk:")
    pairs = {
        "model.ckpt": here / "model.ckpt",
        "report.json": here / "report.json",
        "eval/confusion matrix.csv": here / "results" / "eval" / "confusion matrix.csv",
        "notes.txt": directory / "files" / "notes.txt",
        "history.jsonl": directory / "files" / "history.jsonl",
    }
    for name, original in pairs.items():
        same = original.read_bytes() == (there / name).read_bytes()
        print(f"  {'same' if same else 'DIFFERENT':9} {original.stat().st_size:>11,} bytes  {name}")
        if not same:
            raise SystemExit(f"{name} is not what was saved.")
    stored = json.dumps(sorted(path.name for path in there.rglob("*") if path.is_file()))
    print(f"  restored: {stored}")
    say("Every byte is back.")


if __name__ == "__main__":
    main()
