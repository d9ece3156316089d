"""A training script as a user would write it: it never thinks about its files again after three lines."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

import holdfast


def write(step: int) -> None:
    weights[step << 16 : (step + 1) << 16] = os.urandom(1 << 16)  # a part of the model changes
    part = Path("model.ckpt.part")
    part.write_bytes(weights)
    part.replace("model.ckpt")
    Path("report.json").write_text(json.dumps({"step": step}))


weights = bytearray(random.Random(0).randbytes(24 << 20))
write(0)

run = holdfast.init(project="demo", id=sys.argv[1], config={"lr": 3e-4})
holdfast.save("model.ckpt")  # live: synced now and on every change
holdfast.save("results/eval/*", base_path="results", policy="now")
holdfast.save("report.json", policy="end")

for step in range(1, 10_000):
    write(step)
    Path(run.dir, "notes.txt").write_text(f"step {step}: no save() for this one\n")
    run.log({"loss": 1 / step})
    time.sleep(1)
