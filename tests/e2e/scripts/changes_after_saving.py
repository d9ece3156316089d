"""Saves with policy `now` and changes the file at once, a hundred times. Arguments: way, size, oracle file.

Notes the hash of the bytes as of each call.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path

import holdfast

way, size, oracle_path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
chance = random.Random(way + str(size))
holdfast.init(project="changes", id=f"{way}-{size}")
with Path(oracle_path).open("a") as oracle:
    for step in range(100):
        path = Path("file.bin" if way != "rotate" else f"file.{step}.bin")
        data = chance.randbytes(size)
        if way == "rewrite" and path.exists():
            with path.open("r+b") as file:
                file.write(data)
        else:
            path.unlink(missing_ok=True)
            path.write_bytes(data)
        [saved] = holdfast.save(str(path), policy="now")
        note = {"name": path.name, "sha": hashlib.sha256(data).hexdigest()}
        oracle.write(json.dumps(note) + "\n")
        oracle.flush()
        if way == "delete":
            path.unlink()
        elif way == "rotate":
            path.rename(f"old-{step % 3}.bin")
        elif way == "replace":
            other = Path("other.bin")
            other.write_bytes(chance.randbytes(size))
            other.replace(path)
        elif way == "rewrite":
            with path.open("r+b") as file:
                file.write(chance.randbytes(size))
