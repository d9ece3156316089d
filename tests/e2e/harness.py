"""A machine for tests with real processes: scripts, syncers, servers, and what the vault holds in the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfast import connect
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef
from holdfast.protocol.vault import Vault
from holdfast.restoring.content import iter_content
from holdfast.rundir.facts import Ended, Stored, from_records
from holdfast.rundir.layout import RunDirectory, find_run_directories
from holdfast.rundir.records import RecordReader
from holdfast.settings import load_settings

SCRIPTS = Path(__file__).parent / "scripts"
ENTITY = "me"


def wait_until(what: str, true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"It took more than {seconds:.0f} s until {what}.")
        time.sleep(0.05)


class Server:
    """A real `holdfast server` process. Its port stays the same over restarts."""

    def __init__(self, machine: Machine, data: Path, *options: str) -> None:
        self._machine, self._data, self._options = machine, data, options
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "holdfast", "server", "--data", str(self._data)]
        command += ["--port", str(self.port), *self._options]
        log = (self._machine.base / "server.log").open("ab")
        with log:
            at = log.tell()
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._machine.env, start_new_session=True
            )
        path = self._machine.base / "server.log"

        def ready() -> re.Match[str] | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"The server ended: {path.read_text()[at:]}")
            return re.search(r"at http://127\.0\.0\.1:(\d+)", path.read_text()[at:])

        wait_until("the server was ready", ready)
        found = ready()
        assert found
        self.port = int(found[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=20)

    def restart(self) -> None:
        self.kill()
        self.start()


class Machine:
    """A user's machine: a working directory, a home for Holdfast, and processes that are all ended at the end.

    Nothing is captured unless a test takes ``HOLDFAST_CAPTURE`` or ``HOLDFAST_CONSOLE`` out of `env`: the files of a run are the test's own.
    """

    def __init__(self, base: Path, **environ: str) -> None:
        self.base = base
        self.cwd = base / "work"
        self.cwd.mkdir(parents=True, exist_ok=True)
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("HOLDFAST_", "COVERAGE_"))
            },
            "HOLDFAST_HOME": str(base / "home"),
            "HOLDFAST_ENTITY": ENTITY,
            "HOLDFAST_CAPTURE": "none",
            "HOLDFAST_CONSOLE": "off",
            "HOLDFAST_QUIET": "0.2",
            "HOLDFAST_LIVE_INTERVAL": "0.2",
            **environ,
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._servers: list[Server] = []

    # -- processes

    def server(self, *options: str, data: Path | None = None) -> Server:
        server = Server(self, data or self.base / "data", *options)
        self._servers.append(server)
        return server

    def use(self, url: str | None, api_key: str | None = None) -> None:
        """Let everything that is started from now on use this server (None: the embedded vault)."""
        for name, value in (("HOLDFAST_BASE_URL", url), ("HOLDFAST_API_KEY", api_key)):
            self.env.pop(name, None)
            if value:
                self.env[name] = value

    def start(self, script: str | Path, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a script of `scripts/` (or a path, or source text) as a training process."""
        source = SCRIPTS / script if isinstance(script, str) and script.endswith(".py") else script
        command = (
            [sys.executable, str(source)] if isinstance(source, Path) else [sys.executable, "-c", source]
        )
        output = (self.base / "output.txt").open("ab")
        with output:
            process = subprocess.Popen(
                [*command, *arguments], cwd=cwd or self.cwd, env=self.env, stdout=output, stderr=output
            )
        self._processes.append(process)
        return process

    def run(self, script: str | Path, *arguments: str, cwd: Path | None = None, timeout: float = 60) -> int:
        return self.start(script, *arguments, cwd=cwd).wait(timeout)

    @property
    def output(self) -> str:
        path = self.base / "output.txt"
        return path.read_text() if path.exists() else ""

    def cli(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "holdfast", *arguments],
            cwd=cwd or self.cwd, env=self.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def syncers(self) -> list[int]:
        """Pids of the syncers of this machine."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if b"holdfast.syncer" in command and os.fsencode(self.base) in command:
                found.append(int(process.name))
        return found

    def kill_syncers(self) -> None:
        for pid in self.syncers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.kill_syncers()
        for server in self._servers:
            server.kill()

    # -- run directories

    def directories(self, cwd: Path | None = None) -> list[RunDirectory]:
        return list(find_run_directories((cwd or self.cwd) / "holdfast"))

    def wait_for_directory(self) -> RunDirectory:
        wait_until("the run was opened", lambda: any(item.opened() for item in self.directories()))
        return self.directories()[-1]

    def wait_until_ended(self, directory: RunDirectory, seconds: float = 60) -> Ended:
        found: list[Ended] = []

        def ended() -> bool:
            facts = from_records(RecordReader(directory.sync_log).read())
            found[:] = [fact for fact in facts if isinstance(fact, Ended)]
            return bool(found) and not self.syncers()

        try:
            wait_until("the syncer had ended", ended, seconds)
        except TimeoutError as exc:
            log = directory.logs / "syncer.log"
            text = log.read_text()[-3000:] if log.exists() else "no log"
            raise TimeoutError(f"{exc}\n{text}\n{self.output[-2000:]}") from None
        return found[-1]

    def stored(self, directory: RunDirectory) -> list[Stored]:
        return [
            fact for fact in from_records(RecordReader(directory.sync_log).read()) if isinstance(fact, Stored)
        ]

    # -- what the vault holds

    def vault_key(self, url: str) -> str:
        """Return the API key that the server wrote for this machine's user."""
        return str(json.loads((self.base / "home" / "credentials").read_text())[url]["api_key"])

    def vault(self) -> Vault:
        return connect.open_vault(load_settings(self.env))


def content(vault: Vault, run: RunPath, info: FileInfo) -> bytes:
    return b"".join(bytes(piece) for piece in iter_content(vault, run, info, 0, info.size))


def read_file(vault: Vault, run: RunPath, name: str, version: int | None = None) -> bytes:
    [info] = vault.get_files(run, [FileRef(name=name, version=version)])
    return content(vault, run, info)


def all_versions(vault: Vault, run: RunPath) -> Iterator[tuple[FileInfo, bytes]]:
    """Yield every version of every file of a run with its bytes."""
    for info in all_files(vault, run).values():
        for version in vault.list_versions(run, info.name):
            yield version, content(vault, run, version)


def all_files(vault: Vault, run: RunPath) -> dict[str, FileInfo]:
    files: dict[str, FileInfo] = {}
    after = None
    while True:
        page = vault.list_files(run, after=after)
        files.update({info.name: info for info in page.files})
        after = page.next
        if after is None:
            return files


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_oracle(path: Path) -> list[dict[str, str]]:
    """What a script noted before it was killed (a line that was cut is no note)."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
