"""What every `Vault` does when it is asked for runs by filters."""

from __future__ import annotations

import re

import pytest

from holdfast.errors import UsageError
from holdfast.protocol.messages import RunQuery, RunState, RunUpdate
from tests.contract.storing import open_run, spec

RUNS = [
    # id, config, summary, tags, started_at, more
    ("r0", {"lr": 0.1, "opt": {"name": "adam"}}, {"loss": 0.5, "val.acc": 0.9}, ["a", "b"], 1000.0, {}),
    ("r1", {"lr": 0.2, "opt": {"name": "sgd"}}, {"loss": 0.1}, ["a"], 2000.0, {"group": "g1"}),
    ("r2", {"lr": 1, "flag": True}, {"loss": "NaN"}, [], 3000.0, {"job_type": "eval", "name": "Best run"}),
    ("r3", {}, {}, ["c"], 4000.0, {"group": "g1", "notes": "see r1"}),
]

FILTERS = [
    ({}, "r0 r1 r2 r3"),
    ({"state": "running"}, "r0"),
    ({"state": {"$in": ["running", "failed"]}}, "r0 r3"),
    ({"state": {"$ne": "finished"}}, "r0 r3"),
    ({"id": "r1"}, "r1"),
    ({"display_name": "Best run"}, "r2"),
    ({"display_name": {"$regex": "^best", "$options": "i"}}, "r2"),
    ({"notes": {"$regex": "r1"}}, "r3"),
    ({"group": "g1"}, "r1 r3"),
    ({"group": None}, "r0 r2"),
    ({"job_type": {"$exists": True}}, "r2"),
    ({"user": "me"}, "r0 r1 r2 r3"),
    ({"tags": "a"}, "r0 r1"),
    ({"tags": ["a"]}, "r1"),
    ({"tags": {"$in": ["b", "c"]}}, "r0 r3"),
    ({"tags": {"$nin": ["a"]}}, "r2 r3"),
    ({"config.lr": {"$gt": 0.1}}, "r1 r2"),
    ({"config.lr": {"$gte": 0.1, "$lt": 1}}, "r0 r1"),
    ({"config.lr.value": 0.2}, "r1"),
    ({"config.lr": True}, ""),
    ({"config.flag": 1}, ""),
    ({"config.flag": True}, "r2"),
    ({"config.opt.name": "adam"}, "r0"),
    ({"config.lr": {"$exists": False}}, "r3"),
    ({"config.lr": {"$not": {"$gt": 0.15}}}, "r0 r3"),
    ({"summary_metrics.loss": {"$lt": 1}}, "r0 r1"),
    ({"summary_metrics.val.acc": 0.9}, "r0"),
    ({"created_at": {"$gt": "1970-01-01T00:30:00"}}, "r1 r2 r3"),
    ({"created_at": {"$lte": 2000}}, "r0 r1"),
    ({"$or": [{"state": "failed"}, {"config.lr": 1}]}, "r2 r3"),
    ({"$and": [{"tags": "a"}, {"tags": "b"}]}, "r0"),
    ({"$nor": [{"tags": "a"}, {"tags": "c"}]}, "r2"),
    ({"step": {"$gt": 10**30}, "id": "nul\0"}, ""),
]  # fmt: skip
ORDERS = [
    ("-created_at", "r3 r2 r1 r0"),
    ("created_at", "r0 r1 r2 r3"),
    ("+config.lr", "r0 r1 r2 r3"),
    ("-config.lr", "r2 r1 r0 r3"),
    ("+summary_metrics.loss", "r1 r0 r2 r3"),
    ("-id", "r3 r2 r1 r0"),
    ("+heartbeat_at", "r0 r1 r2 r3"),
    ("-duration", "r0 r1 r2 r3"),
]
WRONG = [
    ({"filters": {"config.lr": {"$gtt": 1}}}, "$gtt"),
    ({"filters": {"$xor": []}}, "$xor"),
    ({"filters": {"$or": {}}}, "$or"),
    ({"filters": {"colour": 1}}, "colour"),
    ({"filters": {"name": "r1"}}, "'name'"),
    ({"filters": {"tags": {"$in": "a"}}}, "$in"),
    ({"filters": {"display_name": {"$regex": "("}}}, "$regex"),
    ({"filters": {"config.lr": {"$gt": [1]}}}, "$gt"),
    ({"filters": {"created_at": {"$gt": "yesterday"}}}, "yesterday"),
    ({"order": "-colour"}, "colour"),
    ({"after": "[]"}, "next"),
    ({"limit": 0}, "0 items"),
]


@pytest.fixture
def runs(vault):
    for run_id, config, summary, tags, started_at, more in RUNS:
        info = vault.open_run(spec(run_id, config=config, tags=tags, started_at=started_at, **more))
        state = RunState.FAILED if run_id == "r3" else RunState.FINISHED
        vault.update_run(info.path, RunUpdate(summary=summary, state=None if run_id == "r0" else state))
    vault.open_run(spec("elsewhere", project="other"))
    return vault


def ask(vault, filters=None, order="+created_at", **more) -> list[str]:
    page = vault.query_runs("me", "mnist", RunQuery(filters=filters or {}, order=order, **more))
    return [info.run_id for info in page.runs]


def test_a_filter_finds_the_runs_that_it_means(runs):
    found = [(filters, " ".join(ask(runs, filters))) for filters, _ in FILTERS]

    assert found == FILTERS


def test_the_runs_that_match_are_counted(runs):
    pages = [runs.query_runs("me", "mnist", RunQuery(filters=f, count=True, limit=1)) for f, _ in FILTERS]

    assert [page.total for page in pages] == [len(expected.split()) for _, expected in FILTERS]


def paged(vault, order: str) -> list[str]:
    found, after = [], None
    while len(found) < 10:
        page = vault.query_runs("me", "mnist", RunQuery(order=order, limit=1, after=after))
        found += [info.run_id for info in page.runs]
        after = page.next
        if after is None:
            break
    return found


def test_an_order_puts_runs_without_the_value_last(runs):
    found = [(order, " ".join(ask(runs, order=order))) for order, _ in ORDERS]

    assert found == ORDERS


def test_an_order_holds_over_pages(runs):
    found = [(order, " ".join(paged(runs, order))) for order, _ in ORDERS]

    assert found == ORDERS


def test_a_query_that_means_nothing_is_refused_by_name(runs):
    for query, named in WRONG:
        with pytest.raises(UsageError, match=re.escape(named)):
            runs.query_runs("me", "mnist", RunQuery(**query))


def test_a_filter_that_is_nested_too_deep_is_refused(runs):
    filters = {"state": "running"}
    for _ in range(60):
        filters = {"$or": [filters]}

    with pytest.raises(UsageError, match="nested"):
        ask(runs, filters)


def test_a_project_that_is_not_there_has_no_runs(vault):
    page = vault.query_runs("me", "nothing", RunQuery(count=True))

    assert (page.runs, page.next, page.total) == ([], None, 0)


def test_a_page_of_runs_is_as_get_run_has_them(runs):
    page = runs.query_runs("me", "mnist", RunQuery(filters={"id": "r1"}))

    assert page.runs == [runs.get_run(page.runs[0].path)]


def test_an_onlooker_who_changes_a_run_gives_no_sign_of_life(vault):
    run = open_run(vault)
    before = vault.get_run(run)

    after = vault.update_run(run, RunUpdate(notes="x", group="g"))

    assert (after.heartbeat_at, after.notes, after.group) == (before.heartbeat_at, "x", "g")
    assert vault.update_run(run, RunUpdate()) == after
