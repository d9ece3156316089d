"""The command line as real processes, on the embedded vault of a temporary home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.names import RunPath
from holdfast.rundir.facts import Finished, Opened, Saved, SavedFile, to_record
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.processes import host_name
from holdfast.rundir.records import RecordWriter
from holdfast.vault import open_vault_at
from tests.helpers import open_run, put_files


@dataclass
class Shell:
    """A user's shell: a working directory and an environment."""

    cwd: Path
    env: dict[str, str]

    @property
    def home(self) -> Path:
        return Path(self.env["HOLDFAST_HOME"])

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *arguments],
            cwd=self.cwd,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0):
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def store(self, files: dict[str, bytes], run_id: str = "a1b2c3d4", **entry) -> RunPath:
        """Put files into a run of the embedded vault."""
        vault = open_vault_at(self.home / "vault", user="me", reserve_bytes=0)
        try:
            run = open_run(vault, "mnist", run_id)
            put_files(vault, run, files, **entry)
        finally:
            vault.close()
        return run

    def offline_run(self, files: dict[str, bytes], run_id: str = "off1off1") -> RunDirectory:
        """Make the run directory of an offline run that saved files and ended."""
        directory = RunDirectory.create(self.cwd / "holdfast", run_id)
        saved = []
        for name, data in files.items():
            path = self.cwd / name
            path.write_bytes(data)
            found = path.stat()
            saved.append(SavedFile(name, str(path), found.st_size, found.st_mtime_ns, found.st_ino))
        opened = Opened(
            attempt=f"attempt-{run_id}",
            entity="me",
            project="mnist",
            run_id=run_id,
            mode="offline",
            base_url=None,
            home=str(self.home),
            started_at=time.time(),
            host=host_name(),
            pid=2**22 - 1,
            pid_started=1.0,
            quiet_s=0.1,
        )
        with RecordWriter(directory.journal) as journal:
            for fact in (opened, Saved("save-1", "live", saved), Finished(0, time.time())):
                journal.append(to_record(fact))
        return directory


@pytest.fixture
def shell(tmp_path):
    cwd = tmp_path / "work"
    cwd.mkdir()
    env = {**os.environ, "HOLDFAST_ENTITY": "me", "PYTHONPATH": os.pathsep.join(sys.path)}
    return Shell(cwd, env)
