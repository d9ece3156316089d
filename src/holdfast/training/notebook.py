"""Whether this process is the kernel of a notebook, where cells run again and the process goes on."""

from __future__ import annotations

import sys


def in_notebook() -> bool:
    """Tell whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
