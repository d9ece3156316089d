"""The run: log, config, summary, waiting, the end. The test says what a syncer would say."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import threading
import time
from collections import UserList
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from holdfast.errors import IncompleteError, RunNotFoundError, UsageError, WaitTimeoutError
from holdfast.rundir.facts import (
    Described,
    Ended,
    Finished,
    NotStored,
    Refused,
    Registered,
    Restored,
    Saved,
    Stored,
)


def registered(**named):
    fields = {
        "entity": "me",
        "project": "p",
        "run_id": "abc",
        "name": "calm-sea-1",
        "base_url": None,
        "resumed": False,
    }
    return Registered(**{**fields, **named})


def stored(name, *saves, version=1):
    return Stored(name, version, "d" * 64, 4, 1, 2, "exact", created=True, saves=list(saves))


def later(action):
    timer = threading.Timer(0.1, action)
    timer.start()
    return timer


def save(ours, name="x.txt", policy="live"):
    Path(name).write_text("data")
    [handle] = ours.run.save(name, policy=policy)
    return handle, ours.journal(Saved)[-1].save_id


# ---------------------------------------------------------------- values


def test_each_log_call_is_one_line_with_its_step(run):
    import numpy as np

    run.log({"loss": np.float32(0.5), "n": np.int64(3), "bad": float("nan"), "up": float("inf")})
    run.log({"a": [np.array([1, 2])], "b": {"c": True}, "d": object}, step=10)
    run.log({"e": 1}, commit=False)
    run.log({"f": None})

    rows = [json.loads(line) for line in Path(run.dir, "history.jsonl").read_text().splitlines()]
    values = [{key: value for key, value in row.items() if key != "_timestamp"} for row in rows]
    assert values == [
        {"_step": 0, "loss": 0.5, "n": 3, "bad": "NaN", "up": "Infinity"},
        {"_step": 10, "a": [[1, 2]], "b": {"c": True}, "d": "<class 'object'>"},
        {"_step": 11, "e": 1, "f": None},
    ]
    assert run.step == 12
    assert run.summary["loss"] == 0.5


@pytest.mark.e2e
def test_torch_scalars_become_numbers(run):
    torch = pytest.importorskip("torch")

    run.log(
        {"loss": torch.tensor(2.0, requires_grad=True), "half": torch.tensor([1.5], dtype=torch.bfloat16)}
    )

    assert dict(run.summary) == {"loss": 2.0, "half": 1.5}


def test_log_takes_only_dictionaries(run):
    with pytest.raises(TypeError, match="dictionary"):
        run.log(3)


def test_the_config_is_a_file_of_the_run_after_each_change(run):
    run.config["lr"] = 1e-3
    run.config.batch = 32
    run.config.update(SimpleNamespace(layers=[1, 2]), seed=7)
    del run.config["seed"]

    written = yaml.safe_load(Path(run.dir, "config.yaml").read_text())
    assert written == {"lr": 1e-3, "batch": 32, "layers": [1, 2]} == dict(run.config)
    assert run.config.lr == 1e-3
    with pytest.raises(AttributeError, match="no 'missing'"):
        _ = run.config.missing


def config_kinds(tmp_path):
    (tmp_path / "config.yaml").write_text("lr: 0.1\nsizes: [1, 2]\n")
    made = dataclasses.make_dataclass("Made", [("lr", float), ("sizes", list)], slots=True)

    class Keyed:
        def keys(self):
            return ["lr", "sizes"]

        def __getitem__(self, key):
            return {"lr": 0.1, "sizes": UserList([1, 2])}[key]

    yield {"lr": 0.1, "sizes": [1, 2]}
    yield argparse.Namespace(lr=0.1, sizes=(1, 2))
    yield made(0.1, [1, 2])
    yield Keyed()
    yield [("lr", 0.1), ("sizes", range(1, 3))]
    yield tmp_path / "config.yaml"
    yield str(tmp_path / "config.yaml")


def test_the_config_takes_what_scripts_have(run, tmp_path):
    for values in config_kinds(tmp_path):
        run.config.clear()
        run.config.update(values)
        text = Path(run.dir, "config.yaml").read_text()
        assert yaml.safe_load(text) == {"lr": 0.1, "sizes": [1, 2]}, values


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", None])
def test_a_config_file_that_is_none_is_refused_by_its_name(run, tmp_path, text):
    if text is not None:
        (tmp_path / "bad.yaml").write_text(text)

    with pytest.raises(UsageError, match=r"bad\.yaml"):
        run.config.update(tmp_path / "bad.yaml")


# ---------------------------------------------------------------- name, notes and tags


def test_name_notes_and_tags_can_be_set_and_go_through_the_journal(ours):
    run = ours.run
    assert (run.notes, run.tags) == (None, ())

    run.name, run.notes = "best", "it works"
    run.tags += ("a",)
    run.tags += ("b", "a")

    assert (run.name, run.notes, run.tags) == ("best", "it works", ("a", "b"))
    assert ours.journal(Described)[-1] == Described("best", "it works", ["a", "b"])
    run.notes, run.tags = None, "one"
    assert (run.notes, run.tags) == ("", ("one",))


@pytest.mark.parametrize(
    ("field", "bad"), [("name", ""), ("name", 3), ("notes", 3), ("tags", [1]), ("tags", [""])]
)
def test_what_cannot_be_a_name_notes_or_tags_is_refused_and_nothing_is_recorded(ours, field, bad):
    with pytest.raises(UsageError):
        setattr(ours.run, field, bad)

    assert ours.journal(Described) == []


def test_a_finished_run_is_not_described_any_more(ours):
    ours.run.finish(timeout=0)

    with pytest.raises(UsageError, match="finished"):
        ours.run.name = "late"


def test_the_summary_is_written_at_the_end_at_the_latest(ours):
    for number in range(100):
        ours.run.log({"n": number})
    ours.run.summary["best"] = 9
    ours.run.finish()

    assert json.loads(Path(ours.run.dir, "summary.json").read_text()) == {"n": 99, "best": 9}


# ---------------------------------------------------------------- waiting


def test_wait_returns_the_handle_with_the_version_that_fulfils_its_own_save(ours):
    handle, save_id = save(ours)
    ours.say(stored("x.txt", "another save"))
    later(lambda: ours.say(stored("x.txt", save_id, version=2)))

    assert handle.wait(5) is handle
    assert (handle.version, handle.digest, handle.fidelity, handle.size) == (2, "d" * 64, "exact", 4)


def test_before_wait_nothing_is_claimed(ours):
    handle, _ = save(ours)

    with pytest.raises(UsageError, match="wait"):
        _ = handle.version


def test_wait_gives_up_in_time_and_says_why_it_is_not_stored(ours):
    handle, save_id = save(ours)
    ours.say(NotStored("x.txt", "vault_full", "The vault is full.", retrying=True, saves=[save_id]))

    began = time.monotonic()
    with pytest.raises(WaitTimeoutError, match=r"The vault is full.*goes on in the background"):
        handle.wait(0.2)
    assert 0.2 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ([Refused("run_not_found", "No such run.")], RunNotFoundError),
        ([Ended("finished", 0, 0, {"x.txt": "it was deleted"}, 1.0)], IncompleteError),
    ],
)
def test_wait_raises_what_the_syncer_says(ours, facts, error):
    handle, _ = save(ours)
    ours.say(*facts)

    with pytest.raises(error):
        handle.wait(5)


def test_wait_would_never_return_offline_or_for_an_end_file(make):
    with pytest.raises(UsageError, match=r"offline.*holdfast sync"):
        save(make(mode="offline"))[0].wait()
    with pytest.raises(UsageError, match=r"when the run ends.*finish\(\)"):
        save(make(), policy="end")[0].wait()


def test_all_handles_wait_together_within_one_timeout(ours):
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("x")
    saved = ours.run.save("?.txt")

    began = time.monotonic()
    with pytest.raises(WaitTimeoutError):
        saved.wait(0.2)
    assert time.monotonic() - began < 2


def test_save_without_arguments_makes_sure_that_the_run_is_registered(ours):
    later(lambda: ours.say(registered(name="calm-sea-1")))

    assert ours.run.save() is True
    assert (ours.run.name, ours.run.path) == ("calm-sea-1", "me/p/abc")


def test_offline_the_run_is_not_registered_and_has_no_name(make, capsys):
    run = make(mode="offline").run

    assert run.save() is False
    assert "offline" in capsys.readouterr().err
    assert run.name is None


# ---------------------------------------------------------------- the end


def test_finish_records_the_end_and_reports_what_the_syncer_says(make, capsys):
    ours = make(finish_timeout=5.0)
    later(lambda: ours.say(Ended("finished", 0, 12, {}, 1.0)))

    report = ours.run.finish()

    assert (report.stored, report.missing, report.is_complete) == (12, {}, True)
    assert ours.journal(Finished)[0].exit_code == 0
    assert "12 files stored in me/p/abc." in capsys.readouterr().err
    assert ours.run.finish() is report


def test_finish_names_what_is_missing_and_what_to_do(make, capsys):
    ours = make(finish_timeout=5.0)
    ours.say(Ended("finished", 0, 1, {"b.pt": "it was deleted before it could be stored"}, 1.0))

    ours.run.finish()

    said = capsys.readouterr().err
    assert "1 file stored, 1 file not stored" in said
    assert "b.pt: it was deleted" in said
    assert f"holdfast sync {ours.directory.path}" in said


def test_finish_is_bounded_and_then_tells_the_truth_from_what_it_knows(ours):
    _, first = save(ours, "a.txt")
    save(ours, "b.txt")
    Path(ours.run.dir, "c.txt").write_text("never saved by name")
    ours.say(stored("a.txt", first), stored("d.txt"))
    Path(ours.run.dir, "d.txt").write_text("x")

    began = time.monotonic()
    report = ours.run.finish(timeout=0.3)

    assert time.monotonic() - began < 2
    assert report.stored == 2
    assert dict(report.missing) == {"b.txt": "not stored yet", "c.txt": "not stored yet"}


def test_a_version_of_an_earlier_save_does_not_count_for_a_later_one(ours):
    _, first = save(ours, "a.txt", policy="now")
    save(ours, "a.txt", policy="now")
    ours.say(stored("a.txt", first))

    assert "a.txt" in ours.run.finish().missing


def test_finish_gives_up_when_nothing_moves_and_waits_while_something_does(ours, monkeypatch):
    settings = ours.run._settings
    monkeypatch.setattr(
        ours.run,
        "_settings",
        type(settings)(**{**_fields(settings), "finish_timeout": None, "stall_timeout": 0.6}),
    )
    began = time.monotonic()

    def move(number=0):
        ours.directory.progress.write_text(json.dumps({"bytes_done": number, "at": number}))
        if number < 4:
            threading.Timer(0.3, move, [number + 1]).start()

    move()
    ours.run.finish()

    assert 1.5 < time.monotonic() - began < 5


def _fields(settings):
    return {name: getattr(settings, name) for name in settings.__slots__}


def test_strict_raises_and_names_the_missing(ours):
    save(ours, "a.txt")

    with pytest.raises(IncompleteError, match=r"a.txt") as caught:
        ours.run.finish(strict=True)
    assert "a.txt" in caught.value.details["missing"]


def test_offline_nothing_is_said_to_be_stored(make, capsys):
    ours = make(mode="offline")
    save(ours, "a.txt")

    report = ours.run.finish()

    assert report.stored == 0
    assert report.missing["a.txt"] == "the run is offline"
    assert "holdfast sync" in capsys.readouterr().err


def test_after_the_end_the_run_takes_nothing_more(ours):
    ours.run.finish()

    for call in (lambda: ours.run.save("x"), lambda: ours.run.log({"a": 1})):
        with pytest.raises(UsageError, match=r"finished.*init"):
            call()


def test_the_with_statement_ends_the_run_as_failed_when_its_block_raises(ours):
    with pytest.raises(ZeroDivisionError), ours.run:
        _ = 1 / 0

    assert ours.journal(Finished)[0].exit_code == 1


def test_a_process_forked_off_cannot_end_the_run(ours):
    child = os.fork()
    if child == 0:
        ours.run.finish()
        os._exit(0)
    os.waitpid(child, 0)

    assert ours.journal(Finished) == []


# ---------------------------------------------------------------- restore


def test_restore_without_a_resumed_run_says_what_to_do(ours):
    ours.say(registered())

    with pytest.raises(UsageError, match=r"run_path=.*resume"):
        ours.run.restore("x.txt")


def test_restore_of_a_resumed_run_needs_no_run_path_and_notes_what_comes_into_the_run_directory(ours):
    ours.say(registered(resumed=True))

    ours.run.restore("sub/x.txt")

    assert ours.restored == [("sub/x.txt", "me/p/abc", Path(ours.run.dir))]
    assert ours.journal(Restored) == [Restored("sub/x.txt", "d" * 64, 3)]


def test_restore_to_elsewhere_is_no_matter_of_the_journal(ours, tmp_path):
    ours.say(registered())

    for run_path, meant in [("q/r1", "me/q/r1"), ("r1", "me/p/r1"), ("u/q/r1", "u/q/r1")]:
        ours.run.restore("x.txt", run_path, root=tmp_path / "out")
        assert ours.restored[-1] == ("x.txt", meant, tmp_path / "out")

    assert ours.journal(Restored) == []
