"""The rows that thinning looks at and removes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

from sqlalchemy import Connection, delete, select, update

from holdfast.vault.catalog.bulk import AnyRow, one_of
from holdfast.vault.catalog.schema import file, version

FileRow: TypeAlias = AnyRow
"""Id and newest number of a file."""
VersionRow: TypeAlias = AnyRow
"""What the rule looks at."""


def files_due(connection: Connection, now: float, limit: int) -> Sequence[FileRow]:
    """Return files that are to be looked at by now, the longest due first."""
    return connection.execute(
        select(file.c.id, file.c.last_version)
        .where(file.c.thin_at.is_not(None), file.c.thin_at <= now)
        .order_by(file.c.thin_at)
        .limit(limit)
    ).all()


def versions_of(connection: Connection, file_id: int) -> Sequence[VersionRow]:
    """Return the versions of a file, without manifests, by attempt and number."""
    return connection.execute(
        select(
            *(version.c.file_id, version.c.number, version.c.domain_id, version.c.attempt, version.c.policy),
            *(version.c.splitter, version.c.size_bytes, version.c.created_at, version.c.pinned),
        )
        .where(version.c.file_id == file_id, version.c.deleted_at.is_(None))
        .order_by(version.c.attempt, version.c.number)
    ).all()


def manifests_of(connection: Connection, file_id: int, numbers: Collection[int]) -> dict[int, bytes]:
    """Return the manifests of some versions by number."""
    rows = connection.execute(
        select(version.c.number, version.c.manifest).where(
            version.c.file_id == file_id, one_of(connection, version.c.number, numbers)
        )
    )
    return {row.number: bytes(row.manifest) for row in rows}


def lock_file(connection: Connection, file_id: int) -> int:
    """Let whoever else changes the file wait; return its newest number."""
    query = select(file.c.last_version).where(file.c.id == file_id).with_for_update()
    return int(connection.execute(query).scalar_one())


def remove_versions(connection: Connection, file_id: int, numbers: Collection[int]) -> None:
    """Remove the rows of versions, but for one that was pinned meanwhile."""
    if numbers:
        connection.execute(
            delete(version).where(
                version.c.file_id == file_id,
                one_of(connection, version.c.number, numbers),
                version.c.pinned == 0,
            )
        )


def look_again(connection: Connection, file_ids: Collection[int], at: float | None) -> None:
    """Note when files are to be looked at (None: not)."""
    connection.execute(update(file).where(one_of(connection, file.c.id, file_ids)).values(thin_at=at))
