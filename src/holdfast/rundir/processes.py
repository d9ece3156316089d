"""Which process is which: a pid and a start time name a process for ever; host, boot and pid namespace say where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_SYSTEM = Path("/proc/stat")
START_TOLERANCE_S = 2.0
"""The system's idea of when a process started moves with its clock by so much."""


def process_start(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None if it is gone, or dead and not yet reaped."""
    if _SYSTEM.exists():
        return _linux_start(pid)
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def _linux_start(pid: int) -> float | None:
    """Read proc(5), which takes a hundredth of the time that importing psutil does."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = line[line.rindex(b")") + 2 :].split()  # the name before it may have anything in it
    state, ticks = fields[0], int(fields[19])
    if state in (b"Z", b"X"):
        return None
    boot = next(line for line in _SYSTEM.read_bytes().splitlines() if line.startswith(b"btime "))
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


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


def writers_of(files: Mapping[tuple[int, int], str]) -> tuple[int, str] | None:
    """Return another process that has one of some files open for writing, and which file; None: there is none.

    Looks at the processes of this machine that this user may look at; on systems without ``/proc`` it sees none.

    Args:
        files: What to call each file, by its device and inode.
    """
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names alone
    except OSError:
        return None
    for pid in pids:
        found = _written_by(pid, files) if pid != os.getpid() else None
        if found is not None:
            return pid, found
    return None


def _written_by(pid: int, files: Mapping[tuple[int, int], str]) -> str | None:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - names alone
    except OSError:
        return None  # gone, or not ours to look at
    for number in numbers:
        try:
            found = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116 - thousands in a row
            name = files.get((found.st_dev, found.st_ino))
            if name is not None and _is_for_writing(pid, number):
                return name
        except OSError:
            continue  # closed meanwhile
    return None


def _is_for_writing(pid: int, number: str) -> bool:
    for line in Path(f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii").splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
