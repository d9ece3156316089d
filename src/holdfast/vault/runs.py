"""Runs and projects: opening, changing, listing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from holdfast.errors import RunExistsError, RunNotFoundError, UsageError
from holdfast.names import RunPath
from holdfast.protocol.messages import (
    ProjectInfo,
    ProjectPage,
    Resume,
    RunInfo,
    RunPage,
    RunSpec,
    RunState,
    RunUpdate,
)
from holdfast.vault.catalog import runs as rows
from holdfast.vault.foundation import Foundation
from holdfast.vault.run_names import name_run

_MAX_PAGE = 1000


def open_run(ground: Foundation, user: str, spec: RunSpec) -> RunInfo:
    """See `Vault.open_run`."""
    row, totals = ground.catalog.write(_open_run, spec, user, ground.clock())
    return _info(ground, row, totals)


def _open_run(
    connection: Connection, spec: RunSpec, user: str, now: float
) -> tuple[rows.RunRow, tuple[int, int]]:
    path = spec.path
    known = rows.find_run(connection, path)
    if known is None and spec.resume is Resume.MUST:
        raise RunNotFoundError(f"There is no run {path} to resume.", details={"run": str(path)})
    project_id = rows.ensure_project(
        connection,
        path,
        domain_name=secrets.token_hex(8),
        domain_key=secrets.token_bytes(32),
        now=now,
    )
    known = rows.find_run(connection, path)
    if known is None:
        run_pk = _create(connection, project_id, spec, user, now)
        _add_attempt(connection, run_pk, 1, spec)
        return rows.run_row(connection, run_pk), (0, 0)
    if rows.attempt_number(connection, known.id, spec.attempt) is None:
        if spec.resume is Resume.NEVER:
            raise RunExistsError(f"The run {path} exists.", details={"run": str(path)})
        _join(connection, known.id, spec, now)
    totals = rows.file_totals(connection, [known.id])
    return rows.run_row(connection, known.id), totals.get(known.id, (0, 0))


def _create(connection: Connection, project_id: int, spec: RunSpec, user: str, now: float) -> int:
    count = rows.count_run(connection, project_id)
    return rows.insert_run(
        connection,
        {
            "project_id": project_id,
            "run_id": spec.run_id,
            "name": _clean(spec.name or name_run(count)),
            "state": RunState.RUNNING,
            "notes": _clean(spec.notes or ""),
            "tags": json.dumps(spec.tags or []),
            "run_group": _clean(spec.group),
            "job_type": _clean(spec.job_type),
            "config": json.dumps(spec.config),
            "summary": "{}",
            "attempts": 1,
            "created_by": user,
            "created_at": min(spec.started_at, now),
            "heartbeat_at": now,
        },
    )


def _join(connection: Connection, run_pk: int, spec: RunSpec, now: float) -> None:
    row = rows.run_row(connection, run_pk)
    changes: dict[str, Any] = {
        "state": RunState.RUNNING,
        "attempts": row.attempts + 1,
        "heartbeat_at": now,
        "ended_at": None,
        "exit_code": None,
        "config": json.dumps({**json.loads(row.config), **spec.config}),
    }
    given = {
        "name": _clean(spec.name),
        "notes": _clean(spec.notes),
        "tags": None if spec.tags is None else json.dumps(spec.tags),
        "run_group": _clean(spec.group),
        "job_type": _clean(spec.job_type),
    }
    changes.update({column: value for column, value in given.items() if value is not None})
    rows.change_run(connection, run_pk, changes)
    _add_attempt(connection, run_pk, row.attempts + 1, spec)


def _add_attempt(connection: Connection, run_pk: int, number: int, spec: RunSpec) -> None:
    rows.insert_attempt(
        connection,
        {
            "run_id": run_pk,
            "number": number,
            "name": spec.attempt,
            "started_at": spec.started_at,
            "host": _clean(spec.host),
            "program": _clean(spec.program),
        },
    )


def update_run(ground: Foundation, path: RunPath, update: RunUpdate) -> RunInfo:
    """See `Vault.update_run`."""
    now = ground.clock()
    changes: dict[str, Any] = {"heartbeat_at": now}
    given = {
        "name": _clean(update.name),
        "notes": _clean(update.notes),
        "tags": None if update.tags is None else json.dumps(update.tags),
        "config": None if update.config is None else json.dumps(update.config),
        "summary": None if update.summary is None else json.dumps(update.summary),
        "step": update.step,
        "state": update.state,
        "exit_code": update.exit_code,
    }
    changes.update({column: value for column, value in given.items() if value is not None})
    if update.state is not None:
        changes["ended_at"] = None if update.state is RunState.RUNNING else now
    row, totals = ground.catalog.write(_update_run, path, changes)
    return _info(ground, row, totals)


def _update_run(
    connection: Connection, path: RunPath, changes: dict[str, Any]
) -> tuple[rows.RunRow, tuple[int, int]]:
    run = rows.need_run(connection, path)
    rows.change_run(connection, run.id, changes)
    return rows.run_row(connection, run.id), rows.file_totals(connection, [run.id]).get(run.id, (0, 0))


def get_run(ground: Foundation, path: RunPath) -> RunInfo:
    """See `Vault.get_run`."""
    row, totals = ground.catalog.read(_get_run, path)
    return _info(ground, row, totals)


def _get_run(connection: Connection, path: RunPath) -> tuple[rows.RunRow, tuple[int, int]]:
    run = rows.need_run(connection, path)
    return rows.run_row(connection, run.id), rows.file_totals(connection, [run.id]).get(run.id, (0, 0))


def list_runs(ground: Foundation, entity: str, project: str, *, after: str | None, limit: int) -> RunPage:
    """See `Vault.list_runs`."""
    if after is not None and not after.isdecimal():
        raise UsageError(f"{after!r} is not the `next` of a page of runs.")
    before = None if after is None else int(after)
    limit = check_limit(limit, _MAX_PAGE)
    found, totals = ground.catalog.read(_list_runs, entity, project, before, limit + 1)
    page = found[:limit]
    return RunPage(
        runs=[_info(ground, row, totals.get(row.id, (0, 0))) for row in page],
        next=str(page[-1].id) if len(found) > limit else None,
    )


def _list_runs(
    connection: Connection, entity: str, project: str, before: int | None, limit: int
) -> tuple[Sequence[rows.RunRow], dict[int, tuple[int, int]]]:
    found = rows.run_rows(connection, entity, project, before=before, limit=limit)
    return found, rows.file_totals(connection, [row.id for row in found])


def list_projects(ground: Foundation, entity: str | None, *, after: str | None, limit: int) -> ProjectPage:
    """See `Vault.list_projects`."""
    start: tuple[str, str] | None = None
    if after is not None:
        left, slash, right = after.partition("/")
        if not slash:
            raise UsageError(f"{after!r} is not the `next` of a page of projects.")
        start = (left, right)
    limit = check_limit(limit, _MAX_PAGE)
    found = ground.catalog.read(rows.project_rows, entity, after=start, limit=limit + 1)
    page = found[:limit]
    return ProjectPage(
        projects=[
            ProjectInfo(entity=row.entity, project=row.project, run_count=row.runs, created_at=row.created_at)
            for row in page
        ],
        next=f"{page[-1].entity}/{page[-1].project}" if len(found) > limit else None,
    )


def check_limit(limit: int, most: int) -> int:
    """Return the limit of a page, at most ``most``. Raises `UsageError` if it is not positive."""
    if limit < 1:
        raise UsageError(f"A page cannot have {limit} items.")
    return min(limit, most)


def _info(ground: Foundation, row: rows.RunRow, totals: tuple[int, int]) -> RunInfo:
    state = RunState(row.state)
    silent = ground.clock() - row.heartbeat_at > ground.limits.silence_s
    return RunInfo(
        entity=row.entity,
        project=row.project,
        run_id=row.run_id,
        name=row.name,
        state=RunState.CRASHED if state is RunState.RUNNING and silent else state,
        attempts=row.attempts,
        notes=row.notes,
        tags=json.loads(row.tags),
        group=row.run_group,
        job_type=row.job_type,
        config=json.loads(row.config),
        summary=json.loads(row.summary),
        step=row.step,
        created_at=row.created_at,
        heartbeat_at=row.heartbeat_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        file_count=totals[0],
        size_bytes=totals[1],
    )


def _clean(text: str | None) -> str | None:
    """Return a text without NUL, which PostgreSQL cannot hold."""
    return None if text is None else text.replace("\0", "")
