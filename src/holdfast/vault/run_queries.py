"""Asking for runs by filters, in an order, page by page.

**How it works.** The database narrows the runs of the project by those conditions that are sure to be translated
rightly (id, name, group, times, state...); every run that is left is judged in Python, so what matches is the same
on every database. By time of creation or of the last sign of life the database also orders, and a page costs what it
reads; any other order reads all the runs that are left, without their config and summary unless those are asked about.

A page goes on after the last run of the page before, by its value and row id, so runs that come or go meanwhile
neither repeat nor hide others. A run whose own value changed may.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection

from holdfast.errors import UsageError
from holdfast.protocol.messages import RunPage, RunQuery, RunState
from holdfast.vault.attempts import outcome_of
from holdfast.vault.catalog import run_scans
from holdfast.vault.catalog import runs as rows
from holdfast.vault.catalog.bulk import AnyRow
from holdfast.vault.filters import (
    ABSENT,
    Condition,
    Every,
    Field,
    Filter,
    fields_of,
    parse_field,
    parse_filter,
    rank,
)
from holdfast.vault.foundation import Foundation
from holdfast.vault.runs import check_limit, complete, run_info

_MAX_PAGE = 1000
_BY_DATABASE = ("created_at", "heartbeat_at")
_NAME = Field("name")

Mark: TypeAlias = tuple[int, Any, int]
"""A run's place in an order: rank of its value (-1: it has none), the value, its row id."""


class _Order(NamedTuple):
    field: Field
    is_descending: bool

    @classmethod
    def parse(cls, text: str) -> _Order:
        name = text.removeprefix("+").removeprefix("-")
        return cls(_NAME if name in ("name", "display_name") else parse_field(name), text.startswith("-"))


def query_runs(ground: Foundation, entity: str, project: str, query: RunQuery) -> RunPage:
    """See `Vault.query_runs`."""
    question = _Question(ground, query)
    return ground.catalog.read(question.answer, entity, project)


class _Question:
    def __init__(self, ground: Foundation, query: RunQuery) -> None:
        self._ground = ground
        self._now = ground.clock()
        self._filter = parse_filter(query.filters)
        self._order = _Order.parse(query.order)
        self._after = _parse_mark(query.after)
        self._limit = check_limit(query.limit, _MAX_PAGE)
        self._wants_total = query.count
        self._narrow = list(_narrowed(self._filter))

    def answer(self, connection: Connection, entity: str, project: str) -> RunPage:
        project_id = run_scans.find_project(connection, entity, project)
        if project_id is None:
            return RunPage(runs=[], total=0 if self._wants_total else None)
        marks = self._marks(connection, project_id)
        page = marks[: self._limit]
        ids = [mark[2] for mark in page]
        found = complete(connection, rows.runs_by_id(connection, ids))
        by_id = {item.row.id: run_info(self._ground, item) for item in found}
        return RunPage(
            runs=[by_id[id_] for id_ in ids if id_ in by_id],
            next=json.dumps(page[-1]) if len(marks) > len(page) else None,
            total=self._total(connection, project_id) if self._wants_total else None,
        )

    def _marks(self, connection: Connection, project_id: int) -> list[Mark]:
        """Return the places of the runs of the page, and of one more if there is one."""
        if self._order.field.column in _BY_DATABASE:
            return list(islice(self._walked(connection, project_id), self._limit + 1))
        return self._sorted(connection, project_id)[: self._limit + 1]

    def _walked(self, connection: Connection, project_id: int) -> Iterator[Mark]:
        by = self._order.field.column
        walk = run_scans.walk_runs(
            connection,
            project_id,
            _columns({self._order.field, *fields_of(self._filter)}),
            self._narrow,
            by=by,
            is_descending=self._order.is_descending,
            after=None if self._after is None else (self._after[1], self._after[2]),
        )
        for row in walk:
            if self._filter.matches(self._values(connection, row).get):
                yield 1, getattr(row, by), row.id

    def _sorted(self, connection: Connection, project_id: int) -> list[Mark]:
        """Return all places after the page before; runs without a value come last, the newest first."""
        valued: list[Mark] = []
        absent: list[Mark] = []
        columns = _columns({self._order.field, *fields_of(self._filter)})
        for row in run_scans.scan_runs(connection, project_id, columns, self._narrow):
            values = self._values(connection, row)
            if self._filter.matches(values.get):
                value = values.get(self._order.field)
                kind = rank(value)
                if kind is None:
                    absent.append((-1, None, row.id))
                else:
                    valued.append((kind, value, row.id))
        valued.sort(reverse=self._order.is_descending)
        absent.sort(key=lambda mark: -mark[2])
        return [
            mark for mark in (*valued, *absent) if self._after is None or self._follows(mark, self._after)
        ]

    def _follows(self, mark: Mark, last: Mark) -> bool:
        if mark[0] == -1 or last[0] == -1:
            return mark[2] < last[2] if mark[0] == last[0] else mark[0] == -1
        return mark < last if self._order.is_descending else mark > last

    def _total(self, connection: Connection, project_id: int) -> int:
        if not self._filter.parts:
            return run_scans.count_runs(connection, project_id, ())
        columns = _columns(fields_of(self._filter))
        found = run_scans.scan_runs(connection, project_id, columns, self._narrow)
        return sum(self._filter.matches(self._values(connection, row).get) for row in found)

    def _values(self, connection: Connection, row: AnyRow) -> _Values:
        return _Values(connection, row, self._ground, self._now)


class _Values:
    """The values of one run, parsed when they are looked at."""

    def __init__(self, connection: Connection, row: AnyRow, ground: Foundation, now: float) -> None:
        self._connection = connection
        self._row = row
        self._ground = ground
        self._now = now
        self._parsed: dict[str, Any] = {}

    def get(self, field: Field) -> Any:
        row = self._row
        match field.column:
            case "config" | "summary":
                return _dig(self._dictionary(field.column), field.key or "")
            case "tags":
                return self._dictionary("tags")
            case "state":
                return self._state()
            case "duration":
                return (row.heartbeat_at if row.ended_at is None else row.ended_at) - row.created_at
        value = getattr(row, field.column)
        return ABSENT if value is None else value

    def _state(self) -> str:
        """Return the state as of now: one of a run that was running follows from its attempts and their silence."""
        if self._row.state != RunState.RUNNING:
            return str(self._row.state)
        attempts = rows.attempts_of(self._connection, [self._row.id])[self._row.id]
        return str(outcome_of(attempts, now=self._now, silence_s=self._ground.limits.silence_s).state)

    def _dictionary(self, column: str) -> Any:
        if column not in self._parsed:
            self._parsed[column] = json.loads(getattr(self._row, column))
        return self._parsed[column]


def _columns(fields: set[Field]) -> set[str]:
    """Return the columns that some fields are made of."""
    columns = {field.column for field in fields}
    if "duration" in columns:
        columns = (columns - {"duration"}) | {"created_at", "heartbeat_at", "ended_at"}
    return columns


def _dig(found: Any, key: str) -> Any:
    """Return the value of a key whose dots may lead into dictionaries or belong to it.

    W&B keeps a config value as ``{"value": ...}``, so its scripts ask for ``config.lr.value``; that is ``lr`` here.
    """
    if not isinstance(found, dict):
        return found if key == "value" else ABSENT
    if key in found:
        return found[key]
    at = key.rfind(".")
    while at > 0:
        if key[:at] in found:
            return _dig(found[key[:at]], key[at + 1 :])
        at = key.rfind(".", 0, at)
    return ABSENT


def _narrowed(whole: Filter) -> Iterator[ColumnElement[bool]]:
    """Yield conditions for the database that every match fulfils."""
    if isinstance(whole, Every):
        for part in whole.parts:
            yield from _narrowed(part)
    elif isinstance(whole, Condition):
        condition = run_scans.narrowing(whole.field.column, whole.operator, whole.operand)
        if condition is not None:
            yield condition


def _parse_mark(text: str | None) -> Mark | None:
    if text is None:
        return None
    try:
        kind, value, id_ = json.loads(text)
    except (ValueError, TypeError):
        kind, value, id_ = None, None, None
    if not isinstance(kind, int) or not isinstance(id_, int) or (kind != -1 and rank(value) != kind):
        raise UsageError(f"{text!r} is not the `next` of a page of runs.")
    return kind, value, id_
