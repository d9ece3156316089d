"""A process that restores, slowly enough to be killed in the middle: DATA RUN ROOT PAUSE_S [FILE_SIZE_LIMIT]."""

from __future__ import annotations

import resource
import signal
import sys
import time
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.names import RunPath
from holdfast.restoring.files import restore_files, select_files
from holdfast.vault import open_vault_at


class Slow:
    def __init__(self, vault, pause_s):
        self._vault, self._pause_s = vault, pause_s

    def __getattr__(self, name):
        return getattr(self._vault, name)

    def read(self, run, query):
        for piece in self._vault.read(run, query):
            time.sleep(self._pause_s)
            yield piece


def main(data, run_text, root, pause_s, limit="0"):
    if int(limit):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    vault = open_vault_at(Path(data), user="me", reserve_bytes=0)
    run = RunPath.parse(run_text)
    files = select_files(vault, run)
    print("ready", flush=True)
    try:
        report = restore_files(Slow(vault, float(pause_s)), run, files, root=Path(root), replace=True)
    except HoldfastError as exc:
        sys.exit(f"{exc.code}: {exc}")
    for result in report.failed:
        print(result.info.name, result.error.code, result.error)


if __name__ == "__main__":
    main(*sys.argv[1:])
