"""Which process is which: a pid and a start time name a process for ever; host, boot and pid namespace say where."""

from __future__ import annotations

import os
from pathlib import Path

START_TOLERANCE_S = 2.0
"""The system's idea of when a process started moves with its clock by so much."""


def process_start(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None if it is gone, or dead and not yet reaped."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def process_is_alive(pid: int, started: float) -> bool:
    """Tell whether the process of this pid and start time still lives on this machine."""
    found = process_start(pid)
    return found is not None and abs(found - started) <= START_TOLERANCE_S


def host_name() -> str:
    """Return this machine's name, as the facts of a run directory have it."""
    return os.uname().nodename


def boot_name() -> str:
    """Return what tells one life of a machine, and one pid namespace on it, from another."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():  # not Linux
        import psutil

        return str(round(psutil.boot_time() / 60))
    return f"{boot.read_text(encoding='ascii').strip()}/{Path('/proc/self/ns/pid').readlink()}"
