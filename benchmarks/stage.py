"""Where a benchmark plays: a scratch folder, a real server, real training processes, and all of it ended at the end.

The folder is made where temporary files go (set TMPDIR to move it); it must be on a real disk, not on tmpfs.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # a script's own folder is all that Python puts there

from tests.e2e.harness import Machine, Server  # noqa: E402
from tests.services.nginx import Nginx  # noqa: E402

MIB = 1 << 20
GIB = 1 << 30
_BLOCK_BYTES = 16 * MIB
_WARM_BYTES = 3 * GIB

_PRELUDE = """
import json, os, sys, time
def tell(**facts): print(json.dumps(facts), flush=True)
def wait_for_parent(): sys.stdin.readline()
clock = time.perf_counter
"""


class Trainer:
    """A training process that tells its parent what it measured, a JSON line each time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def next(self) -> Any:
        """Wait for what the process tells next."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"The training process ended with {self._process.wait()} and told nothing.")

    def go_on(self) -> None:
        """Let the process return from `wait_for_parent`."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait until it has ended by itself."""
        assert self._process.stdin
        self._process.stdin.close()
        if self._process.wait(120):
            raise RuntimeError(f"The training process ended with {self._process.returncode}.")


class Stage:
    """A user's machine for one benchmark, with Holdfast's settings at their defaults.

    Args:
        **environ: Settings that differ from their defaults, as environment variables.
    """

    def __init__(self, **environ: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
        defaults = {"HOLDFAST_QUIET": "1.0", "HOLDFAST_LIVE_INTERVAL": "2.0", "HOLDFAST_SILENT": "1"}
        self._machine = Machine(self.folder / "machine", **(defaults | environ))
        self._closing = contextlib.ExitStack()
        self.cwd = self._machine.cwd
        self.env = self._machine.env
        self.data = self._machine.base / "data"

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # leaves by way of __exit__
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()
        self._machine.close()
        if exc is not None:
            for log in (self._machine.base / "server.log", *self.cwd.glob("holdfast/*/logs/syncer.log")):
                print(f"-- {log.name}", log.read_text()[-2000:], sep="\n", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- processes

    def server(self) -> Server:
        """Start `holdfast server` on a fresh vault; training processes use it from now on."""
        server = self._machine.server()
        self._machine.use(server.url)
        return server

    @contextlib.contextmanager
    def going_through(self, url: str, server: Server) -> Iterator[None]:
        """Let training processes reach the server by another URL."""
        from holdfast.credentials import load_credential

        credential = load_credential(Path(self.env["HOLDFAST_HOME"]), server.url)
        assert credential
        self._machine.use(url, str(credential.api_key))
        yield
        self._machine.use(server.url)

    def nginx(self) -> Nginx:
        """Start nginx, the peer, on the same disk."""
        return self._closing.enter_context(Nginx(self.folder / "nginx"))

    @contextlib.contextmanager
    def trainer(self, source: str, *arguments: object) -> Iterator[Trainer]:
        """Run source text as a fresh training process. It has `tell`, `wait_for_parent` and `clock`."""
        command = [sys.executable, "-c", _PRELUDE + source, *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=self.cwd, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Trainer(process)
        finally:
            process.kill()
            process.wait()

    def train(self, source: str, *arguments: object) -> Any:
        """Run source text as a fresh training process to its end; return the first that it tells."""
        with self.trainer(source, *arguments) as trainer:
            told = trainer.next()
            trainer.end()
            return told

    def holdfast(self, *arguments: object) -> None:
        """Run a command of the command line."""
        command = [sys.executable, "-m", "holdfast", *map(str, arguments)]
        subprocess.run(command, cwd=self.cwd, env=self.env, check=True, capture_output=True)

    def end_syncers(self) -> None:
        """Kill the syncers of this stage, where what they still would do is not of interest."""
        self._machine.kill_syncers()

    # -- disk

    def settle(self) -> None:
        """Let the disk finish what it was told to write, so that nobody pays for what another wrote."""
        subprocess.run(["sync", "--file-system", str(self.folder)], check=True)
        _warm_memory()

    def incompressible(self, name: str, size_bytes: int) -> Path:
        """Make a file of random bytes, older than the quiet time, in the page cache and on the disk."""
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, size_bytes, _BLOCK_BYTES):
                file.write(os.urandom(min(_BLOCK_BYTES, size_bytes - start)))
        age(path)
        self.settle()
        return path


def age(path: Path) -> None:
    """Set the file's times back by a minute."""
    then = time.time() - 60
    os.utime(path, (then, then))


def _warm_memory() -> None:
    """Touch a few GiB of free memory and free them again.

    The memory of a virtual machine may come from its host at the first touch only, and go back soon after it is freed;
    to get it is slower than any disk. Without this, whoever happens to write to memory that is not there pays for it.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, min(_WARM_BYTES, free // 2), flags=flags).close()


def peak_mib(pid: int | str) -> float:
    """Return the greatest resident size that a process ever had, mapped file pages included."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds a call took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def curl(*arguments: object) -> None:
    subprocess.run(["curl", "--silent", "--show-error", "--fail", *map(str, arguments)], check=True)
