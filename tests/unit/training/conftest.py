"""A run whose syncer is the test: it says in ``sync.jsonl`` what a syncer would say."""

from __future__ import annotations

import os

import pytest

from holdfast.rundir.facts import Opened, from_records, to_record
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.records import RecordReader, RecordWriter
from holdfast.settings import load_settings
from holdfast.training.launch import CaptureProcess, SyncerProcess
from holdfast.training.run import Run
from holdfast.training.synclog import SyncLog
from holdfast.training.terminal import Terminal


class NoSyncer(SyncerProcess):
    """Stands where the syncer's process is looked after; the test speaks for it."""

    def ensure(self):
        pass


class RunUnderTest:
    def __init__(self, folder, mode="online", **settings):
        self.settings = load_settings(dir=folder, mode=mode, entity="me", **settings)
        self.directory = RunDirectory.create(self.settings.run_root, "abc")
        opened = Opened(
            attempt="a" * 16,
            entity="me",
            project="p",
            run_id="abc",
            mode=mode,
            base_url=None,
            home=str(self.settings.home),
            started_at=0.0,
            host="here",
            pid=os.getpid(),
            pid_started=0.0,
            ignore_globs=list(self.settings.ignore_globs),
            ignore_source=self.settings.sources.get("ignore_globs"),
        )
        journal = RecordWriter(self.directory.journal)
        journal.append(to_record(opened))
        log = SyncLog(self.directory)
        terminal = Terminal()
        self.restored = []
        self.run = Run(
            self.directory,
            opened,
            settings=self.settings,
            journal=journal,
            log=log,
            syncer=NoSyncer(self.directory, self.settings, log, terminal) if mode == "online" else None,
            capture=CaptureProcess(self.directory, self.settings, terminal),
            console=None,
            terminal=terminal,
            restorer=self._restore,
        )

    def _restore(self, _settings, name, run_path, **named):
        self.restored.append((name, run_path, named["root"]))
        if named["announce"] is not None:
            named["announce"]("d" * 64, 3)

    def say(self, *facts):
        with RecordWriter(self.directory.sync_log) as writer:
            writer.append(*(to_record(fact) for fact in facts))

    def journal(self, kind):
        return [f for f in from_records(RecordReader(self.directory.journal).read()) if isinstance(f, kind)]

    @property
    def pins(self):
        return sorted(path.name for path in self.directory.pins.iterdir())


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make runs whose run directories lie in the working directory; end them after the test."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    made = []

    def make(**settings):
        made.append(RunUnderTest(work, **{"finish_timeout": 0.0, **settings}))
        return made[-1]

    yield make
    for under_test in made:
        under_test.run.finish(strict=False)


@pytest.fixture
def ours(make):
    return make()


@pytest.fixture
def run(ours):
    return ours.run
