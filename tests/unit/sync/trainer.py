"""A training process as the syncer sees it: a run directory, its journal, and files that change."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from holdfast.content.hashing import content_digest
from holdfast.rundir.facts import (
    Fact,
    Finished,
    Opened,
    Restored,
    Saved,
    SavedFile,
    Watched,
    from_records,
    to_record,
)
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.processes import host_name, process_start
from holdfast.rundir.records import RecordReader, RecordWriter


class Trainer:
    """Writes a run directory the way the training process does."""

    def __init__(self, root: Path, run_id: str = "a1b2c3d4", **changes) -> None:
        self.directory = RunDirectory.create(root / "holdfast", run_id)
        self.sources = root / "sources"
        self.sources.mkdir(exist_ok=True)
        self.home = root / "home"
        (self.home / "pending").mkdir(parents=True, exist_ok=True)
        opened = Opened(
            attempt=secrets.token_hex(8),
            entity="me",
            project="mnist",
            run_id=run_id,
            mode="online",
            base_url=None,
            home=str(self.home),
            started_at=time.time(),
            host=host_name(),
            pid=os.getpid(),
            pid_started=process_start(os.getpid()),
            quiet_s=0.2,
            live_interval_s=0.2,
        )
        self.opened = replace(opened, **changes)
        self.pending = self.home / "pending" / self.opened.attempt
        self.pending.write_text(f"{self.directory.path}\n")
        self._journal = RecordWriter(self.directory.journal)
        self.say(self.opened)

    def say(self, *facts: Fact) -> None:
        self._journal.append(*(to_record(fact) for fact in facts))

    def write(self, name: str, data: bytes = b"data") -> Path:
        path = self.sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def save(
        self,
        name: str,
        policy: str = "live",
        *,
        path: Path | None = None,
        pin: str | None = None,
        keep_local: str = "always",
    ) -> str:
        """Save a file of the sources; pin: "link", "copy" or none."""
        source = path or self.sources / name
        info = source.stat()
        save_id = secrets.token_hex(8)
        if pin == "link":
            os.link(source, self.directory.pins / save_id)
        elif pin == "copy":
            (self.directory.pins / save_id).write_bytes(source.read_bytes())
        file = SavedFile(
            name,
            str(source),
            info.st_size,
            info.st_mtime_ns,
            info.st_ino,
            pin=save_id if pin else None,
            pin_is_copy=pin == "copy",
        )
        self.say(Saved(save_id, policy, [file], keep_local=keep_local))
        return save_id

    def watch(self, pattern: str, policy: str = "live", keep_local: str = "always") -> None:
        self.say(Watched(pattern, policy, keep_local))

    def drop(self, name: str, data: bytes = b"dropped") -> Path:
        path = self.directory.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def restore(self, name: str, data: bytes) -> Path:
        self.say(Restored(name, content_digest(data).hex(), len(data)))
        return self.drop(name, data)

    def finish(self, exit_code: int = 0) -> None:
        self.say(Finished(exit_code, time.time()))

    def said(self, kind: type | None = None) -> list[Fact]:
        """What the syncer has said."""
        facts = from_records(RecordReader(self.directory.sync_log).read())
        return [fact for fact in facts if kind is None or isinstance(fact, kind)]

    def dead_pid(self) -> tuple[int, float]:
        """Pid and start time of a process that is gone."""
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        started = process_start(process.pid)
        process.communicate(b"\n")
        return process.pid, started


def wait_until(what: str, is_true, seconds: float = 10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := is_true():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not after {seconds} s")


class InBackground(threading.Thread):
    """Runs a function and keeps what it returns."""

    def __init__(self, function) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._result = self._error = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as exc:  # noqa: BLE001 - raised where it is asked for
            self._error = exc

    def result(self, seconds: float = 20.0):
        self.join(seconds)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._result
