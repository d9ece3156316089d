"""Runs of a project, many at a time, with only the columns that somebody looks at."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, or_, select, tuple_

from holdfast.vault.catalog.bulk import AnyRow
from holdfast.vault.catalog.schema import entity, project, run

_CHUNK_ROWS = 500
_COLUMNS: dict[str, Column[Any]] = {
    **{name: run.c[name] for name in ("run_id", "name", "notes", "tags", "job_type", "step", "exit_code")},
    **{name: run.c[name] for name in ("config", "summary", "created_at", "heartbeat_at", "ended_at")},
    "state": run.c.state,
    "group": run.c.run_group,
    "user": run.c.created_by,
}
_BY_TEXT = ("run_id", "name", "group", "job_type", "user")
_BY_NUMBER = ("created_at", "heartbeat_at", "ended_at", "step", "exit_code")
_COMPARISONS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_SAFE_NUMBER = 2**31


def find_project(connection: Connection, entity_name: str, project_name: str) -> int | None:
    """Return the row id of a project, or None."""
    return connection.execute(
        select(project.c.id)
        .join(entity, entity.c.id == project.c.entity_id)
        .where(entity.c.name == entity_name, project.c.name == project_name)
    ).scalar()


def count_runs(connection: Connection, project_id: int, narrow: Sequence[ColumnElement[bool]]) -> int:
    """Return the number of runs of a project."""
    query = select(func.count()).select_from(run).where(run.c.project_id == project_id, *narrow)
    return int(connection.execute(query).scalar_one())


def scan_runs(
    connection: Connection, project_id: int, columns: Collection[str], narrow: Sequence[ColumnElement[bool]]
) -> Iterator[AnyRow]:
    """Yield all runs of a project, in any order, with their ids and some columns."""
    chosen = [_COLUMNS[name].label(name) for name in sorted(columns)]
    query = select(run.c.id, *chosen).where(run.c.project_id == project_id, *narrow)
    yield from connection.execution_options(yield_per=_CHUNK_ROWS).execute(query)


def walk_runs(
    connection: Connection,
    project_id: int,
    columns: Collection[str],
    narrow: Sequence[ColumnElement[bool]],
    *,
    by: str,
    is_descending: bool,
    after: tuple[float, int] | None,
) -> Iterator[AnyRow]:
    """Yield runs of a project with their ids and some columns, ordered by a time and then by row id.

    Args:
        connection: Where to ask.
        project_id: The project.
        columns: The columns; that of ``by`` must be among them.
        narrow: Conditions.
        by: ``created_at`` or ``heartbeat_at``.
        is_descending: Newest first.
        after: Time and row id of the run after which to begin.
    """
    chosen = [_COLUMNS[name].label(name) for name in sorted(columns)]
    keys = _COLUMNS[by], run.c.id
    order = [key.desc() if is_descending else key.asc() for key in keys]
    query = select(run.c.id, *chosen).where(run.c.project_id == project_id, *narrow).order_by(*order)
    while True:
        page = query
        if after is not None:
            here = tuple_(*keys)
            page = query.where(here < after if is_descending else here > after)
        rows = connection.execute(page.limit(_CHUNK_ROWS)).all()
        yield from rows
        if len(rows) < _CHUNK_ROWS:
            return
        after = getattr(rows[-1], by), rows[-1].id


def narrowing(column: str, sign: str, operand: Any) -> ColumnElement[bool] | None:
    """Return a condition that holds for every run that a comparison holds for (and maybe for more), or None."""
    if column == "state" and sign == "$eq" and _is_text(operand):
        return run.c.state.in_([operand, "running"])  # one that was running may be anything by now
    if column in _BY_TEXT and sign in ("$eq", "$in"):
        wanted = operand if sign == "$in" else [operand]
        return (
            or_(*(_COLUMNS[column] == one for one in wanted))
            if wanted and all(map(_is_text, wanted))
            else None
        )
    if column in _BY_NUMBER and sign in _COMPARISONS and _is_number(operand):
        return _COMPARISONS[sign](_COLUMNS[column], operand)
    return None


def _is_text(value: Any) -> bool:
    """Tell whether both databases can take a value as text."""
    return isinstance(value, str) and "\0" not in value and value.isprintable()


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _SAFE_NUMBER
