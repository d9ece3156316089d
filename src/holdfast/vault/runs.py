"""Runs and projects: opening, changing, listing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
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
from holdfast.vault.attempts import newest_of_ranks, next_round, outcome_of, state_of
from holdfast.vault.catalog import runs as rows
from holdfast.vault.foundation import Foundation
from holdfast.vault.run_names import name_run

_MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A run as the catalog has it."""

    row: rows.RunRow
    attempts: Sequence[rows.AttemptRow]
    totals: tuple[int, int]
    """The number of its files, and the sum of their sizes."""


def open_run(ground: Foundation, user: str, spec: RunSpec) -> RunInfo:
    """See `Vault.open_run`."""
    return run_info(ground, ground.catalog.write(_open_run, spec, user, ground.clock()))


def _open_run(connection: Connection, spec: RunSpec, user: str, now: float) -> Found:
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
        _add_attempt(connection, run_pk, spec, number=1, round_=1, now=now)
        return _found(connection, run_pk)
    rows.lock_run(connection, known.id)
    attempts = rows.attempts_of(connection, [known.id])[known.id]
    if all(row.name != spec.attempt for row in attempts):
        if spec.resume is Resume.NEVER and any(row.rank == spec.rank for row in attempts):
            raise RunExistsError(f"The run {path} exists.", details={"run": str(path)})
        _join(connection, known.id, attempts, spec, now)
    return _found(connection, known.id)


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


def _join(
    connection: Connection, run_pk: int, attempts: Sequence[rows.AttemptRow], spec: RunSpec, now: float
) -> None:
    row = rows.run_row(connection, run_pk)
    config = json.loads(row.config)
    leads = spec.rank <= min(row.rank for row in attempts)
    round_ = next_round(attempts, spec.rank)
    changes: dict[str, Any] = {
        "state": RunState.RUNNING,
        "attempts": round_,
        "heartbeat_at": now,
        "ended_at": None,
        "exit_code": None,
        "config": json.dumps({**config, **spec.config} if leads else {**spec.config, **config}),
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
    _add_attempt(connection, run_pk, spec, number=attempts[-1].number + 1, round_=round_, now=now)


def _add_attempt(
    connection: Connection, run_pk: int, spec: RunSpec, *, number: int, round_: int, now: float
) -> None:
    rows.insert_attempt(
        connection,
        {
            "run_id": run_pk,
            "number": number,
            "name": spec.attempt,
            "started_at": spec.started_at,
            "host": _clean(spec.host),
            "program": _clean(spec.program),
            "rank": spec.rank,
            "round": round_,
            "state": RunState.RUNNING,
            "opened_at": now,
            "heartbeat_at": now,
        },
    )


def update_run(ground: Foundation, path: RunPath, update: RunUpdate) -> RunInfo:
    """See `Vault.update_run`."""
    return run_info(
        ground, ground.catalog.write(_update_run, path, update, ground.clock(), ground.limits.silence_s)
    )


def _update_run(
    connection: Connection, path: RunPath, update: RunUpdate, now: float, silence_s: float
) -> Found:
    run = rows.need_run(connection, path)
    rows.lock_run(connection, run.id)
    attempts = rows.attempts_of(connection, [run.id])[run.id]
    by = None
    if update.attempt is not None:
        by = next((row for row in attempts if row.name == update.attempt), None)
        if by is None:
            raise RunNotFoundError(
                f"The run {path} was not opened by this attempt.", details={"run": str(path)}
            )
    is_current = by is None or all(row.number <= by.number for row in attempts if row.rank == by.rank)
    leads = is_current and (by is None or by.rank == min(row.rank for row in attempts))
    changes = {**(_described(update) if is_current else {}), **(_recorded(update) if leads else {})}
    if by is not None and is_current:
        changes["heartbeat_at"] = now
    if by is not None or update.state is not None:
        speaker = attempts[-1] if by is None else by
        rows.change_attempt(connection, run.id, speaker.number, _attempt_changes(update, now))
        attempts = rows.attempts_of(connection, [run.id])[run.id]
        outcome = outcome_of(attempts, now=now, silence_s=silence_s)
        changes |= {"state": outcome.state, "exit_code": outcome.exit_code, "ended_at": outcome.ended_at}
    if changes:
        rows.change_run(connection, run.id, changes)
    return _found(connection, run.id)


def _described(update: RunUpdate) -> dict[str, Any]:
    given = {
        "name": _clean(update.name),
        "notes": _clean(update.notes),
        "tags": None if update.tags is None else json.dumps(update.tags),
        "run_group": _clean(update.group),
    }
    return {column: value for column, value in given.items() if value is not None}


def _recorded(update: RunUpdate) -> dict[str, Any]:
    given = {
        "config": None if update.config is None else json.dumps(update.config),
        "summary": None if update.summary is None else json.dumps(update.summary),
        "step": update.step,
    }
    return {column: value for column, value in given.items() if value is not None}


def _attempt_changes(update: RunUpdate, now: float) -> dict[str, Any]:
    changes: dict[str, Any] = {"heartbeat_at": now}
    if update.state is not None:
        changes["state"] = update.state
        changes["ended_at"] = None if update.state is RunState.RUNNING else now
        changes["exit_code"] = update.exit_code
    return changes


def get_run(ground: Foundation, path: RunPath) -> RunInfo:
    """See `Vault.get_run`."""
    return run_info(ground, ground.catalog.read(_get_run, path))


def _get_run(connection: Connection, path: RunPath) -> Found:
    return _found(connection, rows.need_run(connection, path).id)


def list_runs(ground: Foundation, entity: str, project: str, *, after: str | None, limit: int) -> RunPage:
    """See `Vault.list_runs`."""
    if after is not None and not after.isdecimal():
        raise UsageError(f"{after!r} is not the `next` of a page of runs.")
    before = None if after is None else int(after)
    limit = check_limit(limit, _MAX_PAGE)
    found = ground.catalog.read(_list_runs, entity, project, before, limit + 1)
    page = found[:limit]
    return RunPage(
        runs=[run_info(ground, item) for item in page],
        next=str(page[-1].row.id) if len(found) > limit else None,
    )


def _list_runs(
    connection: Connection, entity: str, project: str, before: int | None, limit: int
) -> list[Found]:
    return complete(connection, rows.run_rows(connection, entity, project, before=before, limit=limit))


def complete(connection: Connection, found: Sequence[rows.RunRow]) -> list[Found]:
    """Return runs with their attempts and totals, in the order of their rows."""
    ids = [row.id for row in found]
    attempts, totals = rows.attempts_of(connection, ids), rows.file_totals(connection, ids)
    return [Found(row, attempts[row.id], totals.get(row.id, (0, 0))) for row in found]


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


def _found(connection: Connection, run_pk: int) -> Found:
    [found] = complete(connection, [rows.run_row(connection, run_pk)])
    return found


def run_info(ground: Foundation, found: Found) -> RunInfo:
    """Return a run as a message."""
    row, now, silence_s = found.row, ground.clock(), ground.limits.silence_s
    outcome = outcome_of(found.attempts, now=now, silence_s=silence_s)
    ranks = newest_of_ranks(found.attempts)
    return RunInfo(
        entity=row.entity,
        project=row.project,
        run_id=row.run_id,
        name=row.name,
        state=outcome.state,
        attempts=row.attempts,
        notes=row.notes,
        tags=json.loads(row.tags),
        group=row.run_group,
        job_type=row.job_type,
        user=row.created_by,
        config=json.loads(row.config),
        summary=json.loads(row.summary),
        step=row.step,
        created_at=row.created_at,
        heartbeat_at=row.heartbeat_at,
        ended_at=row.ended_at,
        exit_code=outcome.exit_code,
        ranks=(
            {rank: state_of(last, now=now, silence_s=silence_s) for rank, last in ranks.items()}
            if len(ranks) > 1
            else {}
        ),
        file_count=found.totals[0],
        size_bytes=found.totals[1],
    )


def _clean(text: str | None) -> str | None:
    """Return a text without NUL, which PostgreSQL cannot hold."""
    return None if text is None else text.replace("\0", "")
