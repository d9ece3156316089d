"""Saves with all three policies in a loop, and notes in an oracle file what `save()` has accepted.

Arguments: run id, oracle file, number of steps.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path

import holdfast

run_id, oracle_path, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
oracle = os.open(oracle_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
chance = random.Random(run_id)


def note(kind: str, name: str, data: bytes) -> None:
    line = json.dumps({"kind": kind, "name": name, "sha": hashlib.sha256(data).hexdigest()}) + "\n"
    os.write(oracle, line.encode())


def replace(path: Path, data: bytes) -> None:
    note("state", path.name, data)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def save_now(path: Path, data: bytes) -> None:
    replace(path, data)
    holdfast.save(str(path), policy="now")
    note("now", path.name, data)


run = holdfast.init(project="kills", id=run_id)
live, end, log = Path("live.bin"), Path("report.json"), Path("train.log")
replace(live, chance.randbytes(20_000))
holdfast.save("live.bin")
note("accepted", "live.bin", b"")
replace(end, b'{"step": -1}')
holdfast.save("report.json", policy="end")
note("accepted", "report.json", b"")
log.write_text("start\n")
holdfast.save("train.log")
note("accepted", "train.log", b"")
for step in range(steps):
    big = Path(f"rotated-{step}.bin")
    save_now(big, chance.randbytes(chance.choice([1_000, 100_000, 600_000])))
    big.unlink()
    save_now(Path("latest.bin"), chance.randbytes(5_000))
    replace(live, chance.randbytes(20_000))
    replace(end, json.dumps({"step": step}).encode())
    with log.open("a") as file:
        file.write(f"step {step} {chance.random()}\n")
    dropped = chance.randbytes(3_000)
    Path(run.dir, f"dropped-{step}.txt").write_bytes(dropped)
    note("accepted", f"dropped-{step}.txt", b"")
    run.log({"step": step})
    time.sleep(0.03)
