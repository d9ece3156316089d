"""Runs, projects and history through the Run API."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.errors import InvalidNameError, MalformedContentError, RunNotFoundError, UsageError
from tests.helpers import open_run, put_file


def rows(*steps: tuple[int, dict]) -> bytes:
    return b"".join(json.dumps({"_step": step, **values}).encode() + b"\n" for step, values in steps)


@pytest.mark.parametrize("text", ["run1", "mnist/run1", "me/mnist/run1", "http://host/me/mnist/runs/run1"])
def test_a_run_is_found_by_any_form_of_its_path(api, path, text):
    run = api.run(text)

    assert (run.id, run.project, run.entity, run.path) == ("run1", "mnist", "me", "me/mnist/run1")
    assert (run.state, run.user, run.url, run.metadata) == ("running", "me", None, None)
    assert datetime.now(UTC) - run.created_at < timedelta(minutes=5)


def test_a_run_that_is_not_there_is_an_error(api):
    with pytest.raises(RunNotFoundError):
        api.run("nowhere")


def test_runs_are_fetched_page_by_page_as_they_are_asked_for(api, vault):
    for number in range(5):
        open_run(vault, run_id=f"r{number}")

    runs = api.runs("me/mnist", order="+id", per_page=2)

    assert runs[0].id == "r0"
    assert repr(runs) == "<Pages of 2 items so far>"
    assert [run.id for run in runs[1:3]] == ["r1", "r2"]
    assert len(runs) == 5
    assert (runs[-1].id, [run.id for run in runs]) == ("r4", ["r0", "r1", "r2", "r3", "r4"])
    with pytest.raises(IndexError):
        runs[5]


def test_filters_take_times_as_python_has_them(api, path):
    hour = timedelta(hours=1)

    assert len(api.runs(filters={"created_at": {"$gt": datetime.now(UTC) - hour}})) == 1
    assert not api.runs(filters={"created_at": {"$gt": datetime.now(UTC) + hour}})


def test_a_wrong_filter_names_the_operator_when_it_is_used(api, path):
    with pytest.raises(UsageError, match=r"\$gtt"):
        list(api.runs(filters={"config.lr": {"$gtt": 1}}))


def test_a_path_of_three_parts_is_no_project(api):
    with pytest.raises(InvalidNameError):
        api.runs("me/mnist/run1")


def test_projects_lead_to_their_runs(api, path):
    [project] = api.projects()

    assert (project.path, project.run_count) == ("me/mnist", 1)
    assert [run.id for run in project.runs()] == ["run1"]


def test_what_was_edited_is_sent_and_nothing_else(api, run):
    other = api.run("run1")
    other.config["by"] = "other"
    other.update()

    run.name, run.notes = "new name", None
    run.tags.append("best")
    run.group = "g"
    run.update()

    again = api.run("run1")
    assert (again.name, again.notes, again.tags, again.group) == ("new name", "", ["best"], "g")
    assert again.config == {"by": "other"}
    assert run.config == again.config


def test_load_drops_what_was_not_sent(run):
    run.summary["loss"] = 1

    assert run.load().summary == {}


def test_history_is_one_row_a_step_over_all_attempts(api, vault, path, run):
    put_file(vault, path, "history.jsonl", rows((0, {"a": 1}), (1, {"a": 2}), (1, {"b": 3})))
    open_run(vault, run_id="run1")
    put_file(vault, path, "history.jsonl", rows((1, {"a": 9}), (2, {"a": 4})))

    assert run.history() == [{"_step": 0, "a": 1}, {"_step": 1, "a": 9, "b": 3}, {"_step": 2, "a": 4}]
    assert run.history(keys=["a", "b"]) == [{"_step": 1, "a": 9, "b": 3}]
    assert [row["_step"] for row in run.scan_history(min_step=1, max_step=2)] == [1]


def test_history_is_sampled_at_even_distances(vault, path, run):
    put_file(vault, path, "history.jsonl", rows(*((step, {}) for step in range(101))))

    assert [row["_step"] for row in run.history(samples=5)] == [0, 25, 50, 75, 100]
    assert [row["_step"] for row in run.history(samples=1)] == [100]
    with pytest.raises(UsageError):
        run.history(samples=0)


def test_a_run_that_logged_nothing_has_no_history(run):
    assert run.history() == []


def test_a_history_that_is_none_says_which_line(vault, path, run):
    put_file(vault, path, "history.jsonl", rows((0, {})) + b"[]\n")

    with pytest.raises(MalformedContentError, match=r"Line 2 of history\.jsonl"):
        run.history()


def test_a_data_frame_needs_pandas_and_says_so(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(UsageError, match="pandas"):
        run.history(pandas=True)


def test_metadata_is_the_run_s_own_file(vault, path, run):
    put_file(vault, path, "metadata.json", b'{"host": "h"}')
    assert run.metadata == {"host": "h"}

    put_file(vault, path, "metadata.json", b"{")
    with pytest.raises(MalformedContentError):
        assert run.metadata
