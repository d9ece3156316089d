"""`holdfast status --explain`: the rules and the state of one file, from what the logs of run directories say."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from holdfast.cli._directories import standing_of
from holdfast.cli.explain import explain, tell
from holdfast.rundir.facts import (
    Ended,
    Finished,
    Ignored,
    NotStored,
    Opened,
    Refused,
    Restored,
    Saved,
    SavedFile,
    Stored,
    Watched,
    to_record,
)
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.processes import host_name
from holdfast.rundir.records import RecordWriter

OPENED = Opened("a" * 16, "me", "mnist", "r", "online", None, "/none", 0.0, host_name(), 2**22 - 1, 1.0)


class Directory:
    def __init__(self, root, **changes):
        self.root = root
        self.directory = RunDirectory.create(root / "holdfast", "r", now=changes.pop("now", None))
        self.say(replace(OPENED, **changes))

    def say(self, *facts, by_syncer=False):
        with RecordWriter(self.directory.sync_log if by_syncer else self.directory.journal) as log:
            log.append(*(to_record(fact) for fact in facts))

    def write(self, name):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(name))
        return path

    def drop(self, name):
        return self.write(self.directory.files.relative_to(self.root) / name)

    def save(self, name, policy="live", pattern="*.pt"):
        path = self.write(name)
        info = path.stat()
        file = SavedFile(name, str(path), info.st_size, info.st_mtime_ns, info.st_ino)
        self.say(Saved(f"save-{name}-{policy}", policy, [file], pattern))
        return path

    def store(self, path, name, version=1, saves=()):
        info = path.stat()
        size, mtime, ino = info.st_size, info.st_mtime_ns, info.st_ino
        fact = Stored(name, version, "00" * 32, size, mtime, ino, "exact", created=True, saves=list(saves))
        self.say(fact, by_syncer=True)

    def explain(self, text):
        return explain(str(text), [standing_of(self.directory)])


@pytest.fixture
def ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Directory(tmp_path)


def test_a_saved_file_is_found_by_path_and_by_name_with_each_call_once(ours):
    path = ours.save("m/a.pt", pattern="m/*.pt")
    ours.save("m/a.pt", pattern="m/*.pt")
    ours.save("m/a.pt", "end", pattern="m/a.pt")
    ours.store(path, "m/a.pt", 2, ["save-m/a.pt-live", "save-m/a.pt-end"])

    for text in ("m/a.pt", path, "./m/../m/a.pt"):
        [record] = ours.explain(text)
        assert (record["state"], record["version"], record["why"]) == ("stored", 2, None)
        assert record["path"] == str(path)
        assert record["rules"] == [
            {"rule": "save", "pattern": "m/*.pt", "policy": "live"},
            {"rule": "save", "pattern": "m/a.pt", "policy": "end"},
        ]


def test_a_live_file_that_changed_since_is_told_of_and_a_now_file_is_not(ours):
    for policy in ("live", "now"):
        path = ours.save(f"{policy}.pt", policy)
        ours.store(path, f"{policy}.pt", 1, [f"save-{policy}.pt-{policy}"])
        path.write_text("changed")

    assert ours.explain("live.pt")[0]["why"] == "the local file has changed since"
    assert ours.explain("now.pt")[0]["why"] is None


def test_a_file_that_waits_says_why_what_troubles_and_what_to_do(ours):
    ours.save("a.pt")
    ours.say(NotStored("a.pt", "x", "It cannot be read.", retrying=True), by_syncer=True)
    ours.say(Refused("forbidden", "No right."), by_syncer=True)

    [record] = ours.explain("a.pt")

    assert record["state"] == "not stored"
    assert record["why"] == f"It cannot be read.; No right.; `holdfast sync {ours.directory.path}`"


def test_an_ignored_file_names_the_glob_its_source_and_the_call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ours = Directory(tmp_path, ignore_globs=["*.tmp"], ignore_source="HOLDFAST_IGNORE_GLOBS")
    path = ours.write("results/x.tmp")
    ours.say(Ignored("results/*", "live", {"x.tmp": "*.tmp"}, {"x.tmp": str(path)}))

    records = ours.explain("results/x.tmp")

    assert [(record["name"], record["state"]) for record in records] == [("x.tmp", "ignored")]
    tell(records)
    shown = capsys.readouterr().out
    assert "left out by the ignore glob '*.tmp' (HOLDFAST_IGNORE_GLOBS)" in shown
    assert "named by save('results/*', policy='live')" in shown
    assert "would leave it out by the ignore glob '*.tmp'" in ours.explain("other.tmp")[0]["why"]


def test_a_file_of_the_run_dir_names_the_pattern_that_is_watched(ours):
    ours.say(Watched("*.log", "live"), Watched("*.pt", "now"))
    path = ours.drop("x.log")

    for text in ("x.log", path, os.path.relpath(path)):
        [record] = ours.explain(text)
        assert [rule["rule"] for rule in record["rules"]] == ["watched", "run.dir"]
        assert record["rules"][0]["pattern"] == "*.log"
        assert record["state"] == "not stored"


def test_a_restored_file_is_told_as_such(ours):
    ours.drop("model.pt")
    ours.say(Restored("model.pt", "00" * 32, 8), Finished(0, time.time()))
    ours.say(Ended("finished", 0, 0, {}, time.time()), by_syncer=True)

    [record] = ours.explain("model.pt")

    assert [rule["rule"] for rule in record["rules"]] == ["restored", "run.dir"]
    assert record["why"] == "it has not changed since it was restored"


def test_what_nothing_took_is_said_by_the_newest_run_directory_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    older, newer = Directory(tmp_path, now=0), Directory(tmp_path, run_id="newer")
    older.save("a.pt")
    standings = [standing_of(item.directory) for item in (older, newer)]

    [taken] = explain("a.pt", standings)
    [untaken] = explain("/etc/hostname", standings)

    assert taken["run"] == "me/mnist/r"
    assert (untaken["run"], untaken["state"], untaken["rules"]) == ("me/mnist/newer", "not taken", [])
    assert explain("a.pt", []) == []
