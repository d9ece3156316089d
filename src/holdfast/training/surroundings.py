"""What kind of process this is: a notebook's kernel, a worker that imports the script, the child of a training."""

from __future__ import annotations

import os
import sys

from holdfast.rundir.processes import process_is_alive
from holdfast.settings import held_run


def in_notebook() -> bool:
    """Tell whether this process is a notebook's kernel, where cells run again and the process goes on."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def imports_for_spawn() -> bool:
    """Tell whether this process was spawned by multiprocessing and only imports the script of its parent now."""
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and bool(getattr(processes.current_process(), "_inheriting", False))


def run_is_held_above(run_id: str, rank: int) -> bool:
    """Tell whether a living process that this one descends from has this run under way, as this very rank."""
    held = held_run()
    if held is None or (held.run_id, held.rank) != (run_id, rank) or held.pid == os.getpid():
        return False
    return process_is_alive(held.pid, held.pid_started)
