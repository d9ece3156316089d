"""Packs, chunks and segments in the catalog.

Lists of ids travel as one blob of 32 bytes each: SQLite cuts it in the query, PostgreSQL gets an array. Both answer
thousands of ids in one statement, four to five times faster than an IN list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Row, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from holdfast.content.hashing import ID_BYTES
from holdfast.content.manifests import decode_refs
from holdfast.content.packs import FrameEntry, Kind
from holdfast.vault.catalog.schema import (
    PackState,
    chunk,
    pack,
    segment,
    segment_pack,
    version_pack,
)

BATCH = 900
"""The most values in one IN list."""

_IDS_SQLITE = """
WITH RECURSIVE wanted(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM wanted WHERE i + 1 < :count)
SELECT wanted.i, {columns} FROM wanted CROSS JOIN {table} AS found
ON found.domain_id = :domain AND found.{key} = substr(:ids, wanted.i * 32 + 1, 32)
"""
_IDS_POSTGRES = """
SELECT (wanted.i - 1)::int, {columns} FROM unnest(%(ids)b::bytea[]) WITH ORDINALITY AS wanted(id, i)
JOIN {table} AS found ON found.domain_id = %(domain)s AND found.{key} = wanted.id
"""
_CHUNK_UPSERT = """
ON CONFLICT (domain_id, id) DO UPDATE SET pack_id = excluded.pack_id, start = excluded.start,
stored_len = excluded.stored_len, raw_len = excluded.raw_len, codec = excluded.codec, damaged = 0
WHERE chunk.damaged <> 0
OR NOT EXISTS (SELECT 1 FROM pack WHERE pack.id = chunk.pack_id AND pack.state = 1)
"""
_CHUNK_INSERT_SQLITE = (
    "INSERT INTO chunk (domain_id, id, pack_id, start, stored_len, raw_len, codec) VALUES (?, ?, ?, ?, ?, ?, ?)"
    + _CHUNK_UPSERT
)
_CHUNK_INSERT_POSTGRES = (
    "INSERT INTO chunk (domain_id, id, pack_id, start, stored_len, raw_len, codec)"
    " SELECT %(domain)s, c.id, %(pack)s, c.start, c.stored_len, c.raw_len, c.codec"
    " FROM unnest(%(ids)b::bytea[], %(start)b::int[], %(stored)b::int[], %(raw)b::int[], %(codec)b::int2[])"
    " AS c(id, start, stored_len, raw_len, codec) ORDER BY c.id" + _CHUNK_UPSERT
)
_SEGMENT_INSERT = text(
    "INSERT INTO segment (domain_id, hash, pack_id, chunks, raw_bytes, refs)"
    " VALUES (:domain, :hash, :pack, :chunks, :raw_bytes, :refs)"
    " ON CONFLICT (domain_id, hash) DO UPDATE SET pack_id = excluded.pack_id"
    " WHERE NOT EXISTS (SELECT 1 FROM pack WHERE pack.id = segment.pack_id AND pack.state = 1)"
)


class ChunkRow(NamedTuple):
    """Where a chunk lies; ``index`` is its place in the list of ids asked for."""

    index: int
    pack_id: int
    start: int
    stored_len: int
    raw_len: int
    damaged: int


class SegmentRow(NamedTuple):
    """What is known of a segment; ``index`` is its place in the list of ids asked for."""

    index: int
    id: int
    pack_id: int
    chunks: int
    raw_bytes: int
    is_complete: int


def find_chunks(connection: Connection, domain_id: int, ids: bytes) -> list[ChunkRow]:
    """Return the rows of those chunks that are known, in any order."""
    rows = _by_ids(connection, "chunk", "id", "pack_id, start, stored_len, raw_len, damaged", domain_id, ids)
    return list(map(ChunkRow._make, rows))


def find_segments(connection: Connection, domain_id: int, ids: bytes) -> list[SegmentRow]:
    """Return the rows of those segments that are known, in any order."""
    rows = _by_ids(
        connection, "segment", "hash", "id, pack_id, chunks, raw_bytes, is_complete", domain_id, ids
    )
    return list(map(SegmentRow._make, rows))


def segment_refs(connection: Connection, domain_id: int, ids: bytes) -> dict[bytes, bytes]:
    """Return the bodies of segments by id; unknown ones are left out."""
    rows = _by_ids(connection, "segment", "hash", "hash, refs", domain_id, ids)
    return {bytes(row[1]): bytes(row[2]) for row in rows}


def _by_ids(
    connection: Connection, table: str, key: str, columns: str, domain_id: int, ids: bytes
) -> Sequence[Row[tuple[int, ...]]]:
    if not ids:
        return []
    names = ", ".join(f"found.{name}" for name in columns.split(", "))
    if connection.dialect.name == "sqlite":
        sql = _IDS_SQLITE.format(table=table, key=key, columns=names)
        values = {"ids": ids, "count": len(ids) // ID_BYTES, "domain": domain_id}
        return connection.exec_driver_sql(sql, values).all()
    sql = _IDS_POSTGRES.format(table=table, key=key, columns=names)
    return connection.exec_driver_sql(sql, {"ids": split_ids(ids), "domain": domain_id}).all()


def split_ids(ids: bytes) -> list[bytes]:
    """Return the single ids of a list of ids."""
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


# ---------------------------------------------------------------- packs


def find_pack(
    connection: Connection, domain_id: int, name: str
) -> Row[tuple[int, str, int, int, int, bytes]] | None:
    """Return the row of a pack by the id that its writer gave it."""
    return connection.execute(
        select(pack).where(pack.c.domain_id == domain_id, pack.c.name == name)
    ).one_or_none()


def packs_by_id(
    connection: Connection, pack_ids: Collection[int]
) -> dict[int, Row[tuple[int, str, str, int]]]:
    """Return id, name, blob and state of packs, and keep them from changing until the transaction ends."""
    found = {}
    for batch in _batches(sorted(pack_ids)):
        rows = connection.execute(
            select(pack.c.id, pack.c.name, pack.c.blob, pack.c.state)
            .where(pack.c.id.in_(batch))
            .order_by(pack.c.id)
            .with_for_update(read=True)
        )
        found.update({row.id: row for row in rows})
    return found


def live_packs(connection: Connection, pack_ids: Collection[int]) -> set[int]:
    """Return which of the packs may be referred to, and keep them so until the transaction ends."""
    return {id_ for id_, row in packs_by_id(connection, pack_ids).items() if row.state == PackState.LIVE}


def _batches(values: Sequence[int]) -> Iterable[Sequence[int]]:
    return (values[at : at + BATCH] for at in range(0, len(values), BATCH))


def insert_pack(
    connection: Connection,
    *,
    domain_id: int,
    name: str,
    blob: str,
    size_bytes: int,
    fingerprint: bytes,
    entries: Sequence[FrameEntry],
    segments: dict[bytes, bytes],
    now: float,
) -> int:
    """Insert a durable, verified pack with all its chunks and segments; return its row id.

    A chunk that is there already stays where it is, unless it is damaged or its pack is going away: then it heals,
    and whatever referred to its old pack refers to the new one too.
    """
    row = {
        "domain_id": domain_id,
        "name": name,
        "blob": blob,
        "state": PackState.LIVE,
        "size_bytes": size_bytes,
        "chunks": len(entries),
        "fingerprint": fingerprint,
        "created_at": now,
        "verified_at": now,
    }
    pack_id = connection.execute(pack.insert().returning(pack.c.id), row).scalar_one()
    chunks = [entry for entry in entries if entry.kind is Kind.CHUNK]
    damaged = _damaged(connection, domain_id)
    healed = {damaged[entry.id] for entry in chunks if entry.id in damaged} if damaged else set()
    _insert_chunks(connection, domain_id, pack_id, chunks)
    for old in healed:
        _refer_also(connection, old, pack_id)
    _insert_segments(connection, domain_id, pack_id, segments)
    return pack_id


def _damaged(connection: Connection, domain_id: int) -> dict[bytes, int]:
    rows = connection.execute(
        select(chunk.c.id, chunk.c.pack_id).where(chunk.c.domain_id == domain_id, chunk.c.damaged != 0)
    )
    return {bytes(row.id): row.pack_id for row in rows}


def _insert_chunks(
    connection: Connection, domain_id: int, pack_id: int, chunks: Sequence[FrameEntry]
) -> None:
    if not chunks:
        return
    if connection.dialect.name == "sqlite":
        rows = [(domain_id, c.id, pack_id, c.offset, c.stored_len, c.raw_len, int(c.codec)) for c in chunks]
        connection.exec_driver_sql(_CHUNK_INSERT_SQLITE, rows)
        return
    values = {
        "domain": domain_id,
        "pack": pack_id,
        "ids": [c.id for c in chunks],
        "start": [c.offset for c in chunks],
        "stored": [c.stored_len for c in chunks],
        "raw": [c.raw_len for c in chunks],
        "codec": [int(c.codec) for c in chunks],
    }
    connection.exec_driver_sql(_CHUNK_INSERT_POSTGRES, values)


def _refer_also(connection: Connection, old: int, new: int) -> None:
    insert = insert_ignoring(connection)
    for table in (version_pack, segment_pack):
        columns = [column for column in table.c if column.name != "pack_id"]
        source = select(*columns, text(str(new))).where(table.c.pack_id == old)
        names = [*(column.name for column in columns), "pack_id"]
        connection.execute(insert(table).from_select(names, source).on_conflict_do_nothing())


def insert_ignoring(connection: Connection):  # type: ignore[no-untyped-def]  # one class of each dialect
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert


def _insert_segments(
    connection: Connection, domain_id: int, pack_id: int, segments: dict[bytes, bytes]
) -> None:
    rows = []
    for hash_, body in sorted(segments.items()):
        refs = decode_refs(body)
        rows.append(
            {
                "domain": domain_id,
                "hash": hash_,
                "pack": pack_id,
                "chunks": len(refs),
                "raw_bytes": sum(ref.raw_len for ref in refs),
                "refs": body,
            }
        )
    if rows:
        connection.execute(_SEGMENT_INSERT, rows)


# ---------------------------------------------------------------- segments


def complete_segments(connection: Connection, packs_of: dict[int, set[int]]) -> None:
    """Record that every chunk of these segments is there, and in which packs."""
    insert = insert_ignoring(connection)
    rows = [
        {"segment_id": segment_id, "pack_id": pack_id}
        for segment_id, pack_ids in sorted(packs_of.items())
        for pack_id in sorted(pack_ids)
    ]
    if rows:
        connection.execute(insert(segment_pack).on_conflict_do_nothing(), rows)
    for batch in _batches(sorted(packs_of)):
        connection.execute(update(segment).where(segment.c.id.in_(batch)).values(is_complete=1))


def fading_segments(connection: Connection, segment_ids: Collection[int]) -> set[int]:
    """Return which of these segments have a chunk in a pack that is going away."""
    found: set[int] = set()
    for batch in _batches(sorted(segment_ids)):
        rows = connection.execute(
            select(segment_pack.c.segment_id)
            .join(pack, pack.c.id == segment_pack.c.pack_id)
            .where(segment_pack.c.segment_id.in_(batch), pack.c.state != PackState.LIVE)
            .distinct()
        )
        found.update(rows.scalars())
    return found


def packs_of_segments(connection: Connection, segment_ids: Collection[int]) -> set[int]:
    """Return the packs that hold the chunks of these segments, and the segments themselves."""
    found: set[int] = set()
    for batch in _batches(sorted(segment_ids)):
        of_chunks = select(segment_pack.c.pack_id).where(segment_pack.c.segment_id.in_(batch))
        of_bodies = select(segment.c.pack_id).where(segment.c.id.in_(batch))
        found.update(connection.execute(of_chunks.union(of_bodies)).scalars())
    return found


# ---------------------------------------------------------------- damage


def chunks_within(
    connection: Connection, domain_id: int, pack_id: int, start: int, end: int
) -> list[tuple[bytes, int, int]]:
    """Return id, start and stored length of a pack's chunks in a range. Slow: it reads the domain's whole index."""
    rows = connection.execute(
        select(chunk.c.id, chunk.c.start, chunk.c.stored_len)
        .where(
            chunk.c.domain_id == domain_id,
            chunk.c.pack_id == pack_id,
            chunk.c.start >= start,
            chunk.c.start < end,
        )
        .order_by(chunk.c.start)
    )
    return [(bytes(row.id), row.start, row.stored_len) for row in rows]


def mark_damaged(connection: Connection, domain_id: int, pack_id: int, ids: Collection[bytes]) -> None:
    """Make these chunks unknown to `find_chunks` users until they are put again, and their segments incomplete."""
    for batch in _batches(sorted(ids)):  # type: ignore[type-var]
        connection.execute(
            update(chunk)
            .where(chunk.c.domain_id == domain_id, chunk.c.id.in_(batch), chunk.c.pack_id == pack_id)
            .values(damaged=1)
        )
    rows = connection.execute(
        select(segment.c.id, segment.c.refs)
        .join(segment_pack, segment_pack.c.segment_id == segment.c.id)
        .where(segment_pack.c.pack_id == pack_id)
    ).all()
    wanted = set(ids)
    hit = [row.id for row in rows if any(ref.id in wanted for ref in decode_refs(bytes(row.refs)))]
    for batch in _batches(hit):
        connection.execute(update(segment).where(segment.c.id.in_(batch)).values(is_complete=0))
