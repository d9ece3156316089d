"""Rewrites one live file in a loop and notes every state before it is written. Arguments: way, seconds, states file."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sys
import time
from pathlib import Path

import holdfast

way, seconds, states_path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
states = os.open(states_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
chance = random.Random(way)


def note(data: bytes) -> None:
    os.write(states, hashlib.sha256(data).hexdigest().encode() + b"\n")


def write_torch(step: int) -> None:
    import torch

    state = {f"layer{i}.weight": torch.randn(300, 300) for i in range(10)} | {"step": step}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with Path("model.pt").open("wb") as file:  # as torch.save(state, path) does: in place, in pieces
        note(buffer.getvalue())
        for start in range(0, len(buffer.getvalue()), 1 << 16):
            file.write(buffer.getvalue()[start : start + (1 << 16)])
            file.flush()


def write_text(step: int) -> None:
    data = (f"{step} " * 2 + "\n").encode() * chance.randrange(20_000, 60_000)
    note(data)
    with Path("state.json").open("w") as file:
        file.write(data.decode())


log = bytearray()


def append(step: int) -> None:
    line = f"step {step} loss {chance.random()}\n".encode() * chance.randrange(1, 50)
    with Path("train.log").open("ab") as file:
        for part in line.splitlines(keepends=True):
            log.extend(part)
            note(bytes(log))
            file.write(part)
            file.flush()


name, write = {
    "torch": ("model.pt", write_torch),
    "open": ("state.json", write_text),
    "append": ("train.log", append),
}[way]
holdfast.init(project="rewrites", id=way)
write(0)
holdfast.save(name)
step = 1
deadline = time.monotonic() + seconds
while time.monotonic() < deadline:
    write(step)
    step += 1
    time.sleep(chance.choice([0, 0.01, 0.05, 0.4, 0.6]))
