"""Run all benchmarks one after the other and print every figure: a JSON line each, and a table at the end.

Writes nothing into the repository. Exits with 1 if a benchmark broke; a figure that misses its target is told, no more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BENCHMARKS = (
    "starting",
    "saving",
    "transferring",
    "changing",
    "growing",
    "weights",
    "memory",
    "beside_training",
    "many_files",  # last, for what it removes at its end slows down whoever makes files after it
)
TIMEOUT_S = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=BENCHMARKS, metavar="NAME", help="one benchmark; repeatable"
    )
    chosen = parser.parse_args().only or BENCHMARKS
    print(json.dumps(machine()), flush=True)
    figures: list[dict[str, Any]] = []
    broken = []
    for name in chosen:
        start = time.monotonic()
        found, error = run(name)
        figures += found
        if error:
            broken.append(f"{name}: {error}")
        print(f"-- {name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print("\n" + table(figures))
    for line in broken:
        print(f"BROKEN  {line}")
    return 1 if broken else 0


def run(name: str) -> tuple[list[dict[str, Any]], str | None]:
    """Run one benchmark; return its figures, and what went wrong."""
    figures = []
    process = subprocess.Popen([sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True)
    alarm = threading.Timer(TIMEOUT_S, process.terminate)
    alarm.start()
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.startswith("{"):
            figures.append(json.loads(line))
    code = process.wait()
    in_time = alarm.is_alive()
    alarm.cancel()
    if not in_time:
        return figures, f"took more than {TIMEOUT_S} s"
    return figures, f"exit code {code}" if code else None


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "commit": commit.stdout.strip() or None,
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def table(figures: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    rows = [("figure", "median", "low to high", "beside", "ratio", "target", "met"), ("---",) * 7]
    for item in figures:
        peer = "" if item["peer"] is None else f"{item['beside']}: {item['peer']:.4g} {item['unit']}"
        met = {True: "yes", False: "NO", None: ""}[item["met"]]
        spread = f"{item['low']:.4g} to {item['high']:.4g}" if item["low"] != item["high"] else ""
        ratio = "" if item["ratio"] is None else f"{item['ratio']:.2f}"
        rows.append(
            (item["figure"], f"{item['value']:.4g} {item['unit']}", spread, peer, ratio, item["target"], met)
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
