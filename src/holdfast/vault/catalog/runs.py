"""Entities, projects, runs and attempts in the catalog."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Select, func, select, update

from holdfast.errors import RunNotFoundError
from holdfast.names import RunPath
from holdfast.vault.catalog.bulk import OR_IGNORE, AnyRow, insert_rows, one_of
from holdfast.vault.catalog.schema import attempt, domain, entity, file, project, run, version

RunRow: TypeAlias = AnyRow
"""All columns of `run`, with the names of its entity and project."""
AttemptRow: TypeAlias = AnyRow
"""All columns of `attempt`."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run and its dedup domain, as the other tables refer to them."""

    id: int
    project_id: int
    domain_id: int
    domain_name: str
    domain_key: bytes


def find_run(connection: Connection, path: RunPath) -> RunKey | None:
    """Return the run, or None."""
    row = connection.execute(
        select(run.c.id, run.c.project_id, domain.c.id, domain.c.name, domain.c.key)
        .join(project, project.c.id == run.c.project_id)
        .join(entity, entity.c.id == project.c.entity_id)
        .join(domain, domain.c.id == project.c.domain_id)
        .where(entity.c.name == path.entity, project.c.name == path.project, run.c.run_id == path.run_id)
    ).one_or_none()
    return RunKey(row[0], row[1], row[2], row[3], bytes(row[4])) if row else None


def need_run(connection: Connection, path: RunPath) -> RunKey:
    """Return the run. Raises `RunNotFoundError`."""
    found = find_run(connection, path)
    if found is None:
        raise RunNotFoundError(f"There is no run {path}.", details={"run": str(path)})
    return found


def lock_run(connection: Connection, run_pk: int) -> None:
    """Let others that would change the run wait until this transaction is over; commits to its files need not."""
    connection.execute(select(run.c.id).where(run.c.id == run_pk).with_for_update(key_share=True))


def ensure_project(
    connection: Connection, path: RunPath, *, domain_name: str, domain_key: bytes, now: float
) -> int:
    """Return the project's id after making what is missing of it; other writers to the project wait."""
    found = _locked_project(connection, path)
    if found is not None:
        return found
    insert_rows(connection, (entity.c.name, entity.c.created_at), [(path.entity, now)], ending=OR_IGNORE)
    entity_id = connection.execute(
        select(entity.c.id).where(entity.c.name == path.entity).with_for_update()
    ).scalar_one()
    found = _locked_project(connection, path)
    if found is not None:
        return found
    domain_id = connection.execute(
        domain.insert().returning(domain.c.id), {"name": domain_name, "key": domain_key}
    ).scalar_one()
    row = {"entity_id": entity_id, "domain_id": domain_id, "name": path.project, "created_at": now}
    return int(connection.execute(project.insert().returning(project.c.id), row).scalar_one())


def _locked_project(connection: Connection, path: RunPath) -> int | None:
    return connection.execute(
        select(project.c.id)
        .join(entity, entity.c.id == project.c.entity_id)
        .where(entity.c.name == path.entity, project.c.name == path.project)
        .with_for_update(of=project)
    ).scalar()


def count_run(connection: Connection, project_id: int) -> int:
    """Count one more run of the project and return which it is."""
    counting = (
        update(project)
        .where(project.c.id == project_id)
        .values(run_count=project.c.run_count + 1)
        .returning(project.c.run_count)
    )
    return int(connection.execute(counting).scalar_one())


def insert_run(connection: Connection, values: dict[str, Any]) -> int:
    """Insert a run and return its row id."""
    return int(connection.execute(run.insert().returning(run.c.id), values).scalar_one())


def change_run(connection: Connection, id_: int, values: dict[str, Any]) -> None:
    """Set columns of a run."""
    connection.execute(update(run).where(run.c.id == id_).values(**values))


def insert_attempt(connection: Connection, values: dict[str, Any]) -> None:
    """Insert an attempt of a run."""
    connection.execute(attempt.insert(), values)


def change_attempt(connection: Connection, run_pk: int, number: int, values: dict[str, Any]) -> None:
    """Set columns of an attempt."""
    connection.execute(
        update(attempt).where(attempt.c.run_id == run_pk, attempt.c.number == number).values(**values)
    )


def attempts_of(connection: Connection, run_pks: Sequence[int]) -> dict[int, list[AttemptRow]]:
    """Return the attempts of each run, oldest first."""
    found: dict[int, list[AttemptRow]] = {run_pk: [] for run_pk in run_pks}
    query = select(attempt).where(attempt.c.run_id.in_(run_pks)).order_by(attempt.c.run_id, attempt.c.number)
    for row in connection.execute(query):
        found[row.run_id].append(row)
    return found


def attempt_round(connection: Connection, run_pk: int, name: str) -> int | None:
    """Return the round of the attempt that has this name."""
    return connection.execute(
        select(attempt.c.round).where(attempt.c.run_id == run_pk, attempt.c.name == name)
    ).scalar()


def last_round(connection: Connection, run_pk: int) -> int:
    """Return the newest round of a run."""
    return int(connection.execute(select(run.c.attempts).where(run.c.id == run_pk)).scalar_one())


def _rows() -> Select[Any]:
    return (
        select(run, entity.c.name.label("entity"), project.c.name.label("project"))
        .join(project, project.c.id == run.c.project_id)
        .join(entity, entity.c.id == project.c.entity_id)
    )


def run_row(connection: Connection, id_: int) -> RunRow:
    """Return all that is recorded of a run."""
    return connection.execute(_rows().where(run.c.id == id_)).one()


def runs_by_id(connection: Connection, ids: Collection[int]) -> Sequence[RunRow]:
    """Return all that is recorded of some runs, in any order."""
    return connection.execute(_rows().where(one_of(connection, run.c.id, ids))).all()


def run_rows(
    connection: Connection, entity_name: str, project_name: str, *, before: int | None, limit: int
) -> Sequence[RunRow]:
    """Return runs of a project, newest first, from below the row id ``before``."""
    query = _rows().where(entity.c.name == entity_name, project.c.name == project_name)
    if before is not None:
        query = query.where(run.c.id < before)
    return connection.execute(query.order_by(run.c.id.desc()).limit(limit)).all()


def file_totals(connection: Connection, run_pks: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return the number of files and the sum of their sizes, at their newest versions, of each run that has any."""
    rows = connection.execute(
        select(file.c.run_id, func.count(), func.sum(version.c.size_bytes))
        .join(version, (version.c.file_id == file.c.id) & (version.c.number == file.c.head))
        .where(file.c.run_id.in_(run_pks))
        .group_by(file.c.run_id)
    )
    return {row[0]: (row[1], int(row[2])) for row in rows}


def project_rows(
    connection: Connection, entity_name: str | None, *, after: tuple[str, str] | None, limit: int
) -> Sequence[AnyRow]:
    """Return projects by entity and name, with the number of their runs."""
    query = select(
        entity.c.name.label("entity"),
        project.c.name.label("project"),
        project.c.created_at,
        select(func.count())
        .select_from(run)
        .where(run.c.project_id == project.c.id)
        .scalar_subquery()
        .label("runs"),
    ).join(entity, entity.c.id == project.c.entity_id)
    if entity_name is not None:
        query = query.where(entity.c.name == entity_name)
    if after is not None:
        later = (entity.c.name == after[0]) & (project.c.name > after[1])
        query = query.where((entity.c.name > after[0]) | later)
    return connection.execute(query.order_by(entity.c.name, project.c.name).limit(limit)).all()
