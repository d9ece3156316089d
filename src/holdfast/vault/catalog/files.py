"""Files and their versions in the catalog."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, select, update

from holdfast.vault.catalog.bulk import OR_IGNORE, AnyRow, find_by_ids, insert_rows, one_of
from holdfast.vault.catalog.schema import (
    file,
    pack,
    segment_pack,
    version,
    version_pack,
    version_segment,
)

VersionRow: TypeAlias = AnyRow
"""The columns of `version` with the file's ``name``, without the manifest unless asked for."""

_INFO = (
    file.c.name,
    version.c.file_id,
    version.c.number,
    version.c.size_bytes,
    version.c.digest,
    version.c.chunks,
    version.c.mode,
    version.c.mtime_ns,
    version.c.created_at,
    version.c.fidelity,
    version.c.policy,
    version.c.splitter,
    version.c.attempt,
    version.c.pinned,
)
_SET_LATER = ("deleted_at", "pinned")


@dataclass(slots=True)
class FileState:
    """A file while a commit works on it: its newest number, and what its head is."""

    id: int
    last_version: int
    head: int | None
    attempt: int = 0
    digest: bytes = b""
    size_bytes: int = 0
    thin_at: float | None = None
    """When thinning is to look at it."""


# ---------------------------------------------------------------- writing


def lock_files(connection: Connection, run_pk: int, names: Collection[str]) -> dict[str, FileState]:
    """Return the files of these names, made where missing; other commits to them wait."""
    found = lock_known(connection, run_pk, names)
    missing = sorted(set(names) - found.keys())
    if missing:
        rows = [(run_pk, name) for name in missing]
        insert_rows(connection, (file.c.run_id, file.c.name), rows, ending=OR_IGNORE)
        found.update(lock_known(connection, run_pk, missing))
    _read_heads(connection, list(found.values()))
    return found


def lock_known(connection: Connection, run_pk: int, names: Collection[str]) -> dict[str, FileState]:
    """Return those files that are there, their heads not read; whoever else changes them waits."""
    rows = connection.execute(
        select(file.c.name, file.c.id, file.c.last_version, file.c.head, file.c.thin_at)
        .where(file.c.run_id == run_pk, one_of(connection, file.c.name, names))
        .order_by(file.c.name)
        .with_for_update()
    )
    return {row.name: FileState(row.id, row.last_version, row.head, thin_at=row.thin_at) for row in rows}


def _read_heads(connection: Connection, states: Sequence[FileState]) -> None:
    """Complete the states by a query of its own, which sees what was committed while the lock was waited for."""
    by_id = {state.id: state for state in states if state.head is not None}
    if not by_id:
        return
    rows = connection.execute(
        select(version.c.file_id, version.c.attempt, version.c.digest, version.c.size_bytes)
        .join(file, (file.c.id == version.c.file_id) & (file.c.head == version.c.number))
        .where(one_of(connection, file.c.id, by_id.keys()))
    )
    for row in rows:
        state = by_id[row.file_id]
        state.attempt, state.digest, state.size_bytes = row.attempt, bytes(row.digest), row.size_bytes


def newest_of_attempts(connection: Connection, file_id: int, up_to: int) -> VersionRow | None:
    """Return the newest version of a file that an attempt up to this one wrote."""
    return connection.execute(
        select(version.c.number, version.c.digest, version.c.size_bytes)
        .where(version.c.file_id == file_id, version.c.attempt <= up_to, version.c.deleted_at.is_(None))
        .order_by(version.c.number.desc())
        .limit(1)
    ).one_or_none()


def insert_versions(
    connection: Connection,
    versions: Sequence[dict[str, Any]],
    packs: Sequence[tuple[int, int, int]],
    segments: Sequence[tuple[int, int, int]],
) -> None:
    """Insert versions, and the packs and segments that (file, number) refers to."""
    columns = [column for column in version.c if column.name not in _SET_LATER]
    insert_rows(connection, columns, [tuple(row[column.name] for column in columns) for row in versions])
    insert_rows(connection, list(version_pack.c), packs)
    insert_rows(connection, list(version_segment.c), segments)


def move_heads(connection: Connection, states: Sequence[FileState]) -> None:
    """Store the newest number and the head of files, and when thinning is to look at them."""
    if states:
        connection.execute(
            update(file)
            .where(file.c.id == bindparam("file_pk"))
            .values(last_version=bindparam("newest"), head=bindparam("at"), thin_at=bindparam("thin")),
            [
                {"file_pk": state.id, "newest": state.last_version, "at": state.head, "thin": state.thin_at}
                for state in states
            ],
        )


def pin_versions(connection: Connection, rows: Sequence[VersionRow], *, pinned: bool) -> None:
    """Mark versions as pinned or not."""
    if rows:
        connection.execute(
            update(version)
            .where(version.c.file_id == bindparam("of"), version.c.number == bindparam("at"))
            .values(pinned=int(pinned)),
            [{"of": row.file_id, "at": row.number} for row in rows],
        )


def bury_files(connection: Connection, run_pk: int, names: Collection[str], now: float) -> list[str]:
    """Take files that are there off the list, with all their versions; return their names."""
    rows = connection.execute(
        select(file.c.id, file.c.name)
        .where(file.c.run_id == run_pk, one_of(connection, file.c.name, names), file.c.head.is_not(None))
        .order_by(file.c.name)
        .with_for_update()
    )
    gone = {row.id: row.name for row in rows}
    if gone:
        connection.execute(update(file).where(one_of(connection, file.c.id, gone.keys())).values(head=None))
        connection.execute(
            update(version)
            .where(one_of(connection, version.c.file_id, gone.keys()), version.c.deleted_at.is_(None))
            .values(deleted_at=now)
        )
    return list(gone.values())


# ---------------------------------------------------------------- reading


def _heads(run_pk: int, *extra: Any) -> Select[Any]:
    return (
        select(*_INFO, *extra)
        .join(file, (file.c.id == version.c.file_id) & (file.c.head == version.c.number))
        .where(file.c.run_id == run_pk)
    )


def _versions(run_pk: int, *extra: Any) -> Select[Any]:
    return (
        select(*_INFO, *extra)
        .join(file, file.c.id == version.c.file_id)
        .where(file.c.run_id == run_pk, file.c.head.is_not(None), version.c.deleted_at.is_(None))
    )


def list_heads(
    connection: Connection, run_pk: int, *, prefix: str, after: str | None, limit: int
) -> Sequence[VersionRow]:
    """Return files by name whose names start with the prefix and come after a name."""
    query = _heads(run_pk)
    if prefix:
        query = query.where(file.c.name >= prefix)
        end = _after_prefix(prefix)
        if end is not None:
            query = query.where(file.c.name < end)
    if after is not None:
        query = query.where(file.c.name > after)
    return connection.execute(query.order_by(file.c.name).limit(limit)).all()


def _after_prefix(prefix: str) -> str | None:
    """Return the first name that is after all names with this prefix, in code point order, if there is one."""
    last = ord(prefix[-1]) + 1
    if 0xD800 <= last <= 0xDFFF:
        last = 0xE000
    return prefix[:-1] + chr(last) if last <= 0x10FFFF else None


def find_heads(
    connection: Connection, run_pk: int, names: Collection[str], *, with_manifest: bool = False
) -> dict[str, VersionRow]:
    """Return the newest versions of files by name; absent ones are left out."""
    extra = (version.c.manifest,) if with_manifest else ()
    rows = connection.execute(_heads(run_pk, *extra).where(one_of(connection, file.c.name, names)))
    return {row.name: row for row in rows}


def find_version(
    connection: Connection, run_pk: int, name: str, number: int, *, with_manifest: bool = False
) -> VersionRow | None:
    """Return one version of a file, or None."""
    extra = (version.c.manifest,) if with_manifest else ()
    return connection.execute(
        _versions(run_pk, *extra).where(file.c.name == name, version.c.number == number)
    ).one_or_none()


def version_as_of(connection: Connection, run_pk: int, name: str, at: float) -> VersionRow | None:
    """Return the version of a file that was the newest at a time, or None if it had none that is still there."""
    return connection.execute(
        _versions(run_pk)
        .where(file.c.name == name, version.c.created_at <= at)
        .order_by(version.c.attempt.desc(), version.c.number.desc())
        .limit(1)
    ).one_or_none()


def versions_of(connection: Connection, run_pk: int, name: str) -> Sequence[VersionRow]:
    """Return all versions of a file, newest first."""
    return connection.execute(
        _versions(run_pk).where(file.c.name == name).order_by(version.c.number.desc())
    ).all()


def find_contents(connection: Connection, domain_id: int, digests: bytes) -> dict[tuple[bytes, int], bytes]:
    """Return the manifests, by digest and size, of readable versions anywhere in the domain with these digests."""
    columns = (version.c.digest, version.c.size_bytes, version.c.manifest, version.c.deleted_at)
    rows = find_by_ids(connection, version.c.digest, columns, domain_id, digests)
    return {(bytes(row[1]), row[2]): bytes(row[3]) for row in rows if row[4] is None}


def _refers(run_pk: int) -> ColumnElement[bool]:
    """A condition on `pack`: some readable version of the run refers to it."""
    readable = (file.c.run_id == run_pk) & (file.c.id == version.c.file_id) & version.c.deleted_at.is_(None)
    loose = exists().where(
        version_pack.c.pack_id == pack.c.id,
        version_pack.c.file_id == version.c.file_id,
        version_pack.c.number == version.c.number,
        readable,
    )
    folded = exists().where(
        segment_pack.c.pack_id == pack.c.id,
        segment_pack.c.segment_id == version_segment.c.segment_id,
        version_segment.c.file_id == version.c.file_id,
        version_segment.c.number == version.c.number,
        readable,
    )
    return loose | folded


def readable_packs(
    connection: Connection, run_pk: int, domain_id: int, names: Collection[str]
) -> dict[str, tuple[int, str]]:
    """Return row id and blob, by name, of those packs that a readable version of the run refers to."""
    rows = connection.execute(
        select(pack.c.name, pack.c.id, pack.c.blob).where(
            pack.c.domain_id == domain_id, one_of(connection, pack.c.name, names), _refers(run_pk)
        )
    )
    return {row.name: (row.id, row.blob) for row in rows}


def versions_in_pack(connection: Connection, run_pk: int, pack_id: int) -> Sequence[VersionRow]:
    """Return the readable versions of a run, with manifests, that refer to a pack."""
    loose = exists().where(
        version_pack.c.pack_id == pack_id,
        version_pack.c.file_id == version.c.file_id,
        version_pack.c.number == version.c.number,
    )
    folded = exists().where(
        segment_pack.c.pack_id == pack_id,
        segment_pack.c.segment_id == version_segment.c.segment_id,
        version_segment.c.file_id == version.c.file_id,
        version_segment.c.number == version.c.number,
    )
    return connection.execute(_versions(run_pk, version.c.manifest).where(loose | folded)).all()
