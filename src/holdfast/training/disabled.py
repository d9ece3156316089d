"""The run of mode ``disabled``: takes every call and does nothing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from typing import IO, Any

from holdfast.errors import UsageError
from holdfast.rundir.facts import Opened, Registered
from holdfast.settings import Settings
from holdfast.training.ending import FinishReport
from holdfast.training.identity import Description, Identity
from holdfast.training.records import Config, Summary
from holdfast.training.run import Run
from holdfast.training.saved import SavedFiles
from holdfast.training.terminal import Terminal


class DisabledRun(Run):
    """Looks like a run and leaves no trace: no folder, no process, no file.

    `dir` is a temporary folder, made when it is first asked for and removed at the end of the process.
    """

    def __init__(self, settings: Settings, run_id: str) -> None:
        opened = Opened(
            attempt="",
            entity=settings.entity,
            project=settings.project,
            run_id=run_id,
            mode="disabled",
            base_url=None,
            home="",
            started_at=time.time(),
            host="",
            pid=0,
            pid_started=0.0,
            name=settings.name,
            notes=settings.notes,
            tags=None if settings.tags is None else list(settings.tags),
            group=settings.run_group,
            job_type=settings.job_type,
            rank=settings.rank or 0,
        )
        Identity.__init__(self, opened, Description(None, Terminal().complain))
        self._step = 0
        self._is_finished = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.config = Config(None)
        self.summary = Summary(None)

    @property
    def dir(self) -> str:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="holdfast-disabled-")
        return self._folder.name

    @property
    def step(self) -> int:
        return self._step

    @property
    def is_finished(self) -> bool:
        return self._is_finished

    def __repr__(self) -> str:
        return f"<Run {self.project}/{self.id}, disabled>"

    def save(self, *_arguments: Any, **_named: Any) -> Any:
        """Do nothing and return no files."""
        return SavedFiles()

    def restore(self, *_arguments: Any, **_named: Any) -> IO[Any]:
        """Refuse: a disabled run has nothing to give."""
        raise UsageError(
            "A disabled run restores nothing.", hint="Call holdfast.restore() before init(), or use no mode."
        )

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Count the step and keep nothing."""
        del data
        if commit is not False:
            self._step = (self._step if step is None else step) + 1

    def finish(
        self, exit_code: int | None = None, timeout: float | None = None, strict: bool | None = None
    ) -> FinishReport:
        """End the run; there is nothing to wait for."""
        del exit_code, timeout, strict
        self._is_finished = True
        return FinishReport(0)

    def _check_running(self) -> None:
        return

    def _await_registration(self, timeout_s: float) -> Registered | None:
        del timeout_s
        return None
