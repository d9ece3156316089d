"""Packs, chunks and segments in the catalog."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, text, update

from holdfast.content.manifests import decode_refs
from holdfast.content.packs import FrameEntry, Kind
from holdfast.vault.catalog.bulk import OR_IGNORE, AnyRow, find_by_ids, insert_rows, is_sqlite, one_of
from holdfast.vault.catalog.schema import (
    PackState,
    chunk,
    pack,
    segment,
    segment_pack,
)

_CHUNK_COLUMNS = (
    chunk.c.domain_id,
    chunk.c.id,
    chunk.c.pack_id,
    chunk.c.start,
    chunk.c.stored_len,
    chunk.c.raw_len,
    chunk.c.codec,
)
_CHUNK_HEALS = """
ON CONFLICT (domain_id, id) DO UPDATE SET pack_id = excluded.pack_id, start = excluded.start,
stored_len = excluded.stored_len, raw_len = excluded.raw_len, codec = excluded.codec, damaged = 0
WHERE chunk.damaged <> 0
OR NOT EXISTS (SELECT 1 FROM pack WHERE pack.id = chunk.pack_id AND pack.state = 1)
"""
_POSTGRES_CHUNKS = (
    """
INSERT INTO chunk (domain_id, id, pack_id, start, stored_len, raw_len, codec)
SELECT %(domain)s, c.id, %(pack)s, c.start, c.stored_len, c.raw_len, c.codec
FROM unnest(%(ids)b::bytea[], %(start)b::int[], %(stored)b::int[], %(raw)b::int[], %(codec)b::int2[])
AS c(id, start, stored_len, raw_len, codec) ORDER BY c.id
"""
    + _CHUNK_HEALS
)
_SEGMENT_COLUMNS = (
    segment.c.domain_id,
    segment.c.hash,
    segment.c.pack_id,
    segment.c.chunks,
    segment.c.raw_bytes,
    segment.c.refs,
)
_SEGMENT_HEALS = """
ON CONFLICT (domain_id, hash) DO UPDATE SET pack_id = excluded.pack_id
WHERE NOT EXISTS (SELECT 1 FROM pack WHERE pack.id = segment.pack_id AND pack.state = 1)
"""
# Asked with each pack; to put a statement together costs more than to run it.
_PACK = select(pack).where(pack.c.domain_id == bindparam("domain"), pack.c.name == bindparam("name"))
_NEW_PACK = pack.insert().returning(pack.c.id)
_DAMAGED = select(chunk.c.id, chunk.c.pack_id).where(
    chunk.c.domain_id == bindparam("domain"), chunk.c.damaged != 0
)
_ALSO = (
    text(
        "INSERT INTO version_pack (file_id, number, pack_id) SELECT file_id, number, :new"
        " FROM version_pack WHERE pack_id = :old ON CONFLICT DO NOTHING"
    ),
    text(
        "INSERT INTO segment_pack (segment_id, pack_id) SELECT segment_id, :new"
        " FROM segment_pack WHERE pack_id = :old ON CONFLICT DO NOTHING"
    ),
)


class ChunkRow(NamedTuple):
    """Where a chunk lies; ``at`` is its place in the list of ids asked for."""

    at: int
    pack_id: int
    start: int
    stored_len: int
    raw_len: int
    damaged: int


class SegmentRow(NamedTuple):
    """What is known of a segment; ``at`` is its place in the list of ids asked for."""

    at: int
    id: int
    pack_id: int
    chunks: int
    raw_bytes: int
    is_complete: int


def find_chunks(connection: Connection, domain_id: int, ids: bytes) -> list[ChunkRow]:
    """Return the rows of those chunks that are known, in any order."""
    columns = (chunk.c.pack_id, chunk.c.start, chunk.c.stored_len, chunk.c.raw_len, chunk.c.damaged)
    return list(map(ChunkRow._make, find_by_ids(connection, chunk.c.id, columns, domain_id, ids)))


def find_segments(connection: Connection, domain_id: int, ids: bytes) -> list[SegmentRow]:
    """Return the rows of those segments that are known, in any order."""
    columns = (segment.c.id, segment.c.pack_id, segment.c.chunks, segment.c.raw_bytes, segment.c.is_complete)
    return list(map(SegmentRow._make, find_by_ids(connection, segment.c.hash, columns, domain_id, ids)))


def segment_refs(connection: Connection, domain_id: int, ids: bytes) -> dict[bytes, bytes]:
    """Return the bodies of segments by id; unknown ones are left out."""
    rows = find_by_ids(connection, segment.c.hash, (segment.c.hash, segment.c.refs), domain_id, ids)
    return {bytes(row[1]): bytes(row[2]) for row in rows}


# ---------------------------------------------------------------- packs


def find_pack(connection: Connection, domain_id: int, name: str) -> AnyRow | None:
    """Return the row of a pack by the id that its writer gave it."""
    return connection.execute(_PACK, {"domain": domain_id, "name": name}).one_or_none()


def packs_by_id(connection: Connection, pack_ids: Collection[int]) -> dict[int, AnyRow]:
    """Return id, name, blob and state of packs, and keep them from changing until the transaction ends."""
    if not pack_ids:
        return {}
    rows = connection.execute(
        select(pack.c.id, pack.c.name, pack.c.blob, pack.c.state)
        .where(one_of(connection, pack.c.id, pack_ids))
        .order_by(pack.c.id)
        .with_for_update(read=True)
    )
    return {row.id: row for row in rows}


def live_packs(connection: Connection, pack_ids: Collection[int]) -> set[int]:
    """Return which of the packs may be referred to, and keep them so until the transaction ends."""
    return {id_ for id_, row in packs_by_id(connection, pack_ids).items() if row.state == PackState.LIVE}


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
    pack_id = int(connection.execute(_NEW_PACK, row).scalar_one())
    chunks = [entry for entry in entries if entry.kind is Kind.CHUNK]
    damaged = _damaged(connection, domain_id)
    healed = {damaged[entry.id] for entry in chunks if entry.id in damaged} if damaged else set()
    _insert_chunks(connection, domain_id, pack_id, chunks)
    for old in healed:
        _refer_also(connection, old, pack_id)
    _insert_segments(connection, domain_id, pack_id, segments)
    return pack_id


def _damaged(connection: Connection, domain_id: int) -> dict[bytes, int]:
    rows = connection.execute(_DAMAGED, {"domain": domain_id})
    return {bytes(row.id): row.pack_id for row in rows}


def _insert_chunks(
    connection: Connection, domain_id: int, pack_id: int, chunks: Sequence[FrameEntry]
) -> None:
    if is_sqlite(connection):
        rows = [(domain_id, c.id, pack_id, c.offset, c.stored_len, c.raw_len, int(c.codec)) for c in chunks]
        insert_rows(connection, _CHUNK_COLUMNS, rows, ending=_CHUNK_HEALS)
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
    connection.exec_driver_sql(_POSTGRES_CHUNKS, values)


def _refer_also(connection: Connection, old: int, new: int) -> None:
    for statement in _ALSO:
        connection.execute(statement, {"old": old, "new": new})


def _insert_segments(
    connection: Connection, domain_id: int, pack_id: int, segments: dict[bytes, bytes]
) -> None:
    rows = []
    for hash_, body in sorted(segments.items()):
        refs = decode_refs(body)
        rows.append((domain_id, hash_, pack_id, len(refs), sum(ref.raw_len for ref in refs), body))
    insert_rows(connection, _SEGMENT_COLUMNS, rows, ending=_SEGMENT_HEALS)


# ---------------------------------------------------------------- segments


def complete_segments(connection: Connection, packs_of: dict[int, set[int]]) -> None:
    """Record that every chunk of these segments is there, and in which packs."""
    if not packs_of:
        return
    rows = [(segment_id, pack_id) for segment_id, ids in sorted(packs_of.items()) for pack_id in sorted(ids)]
    columns = (segment_pack.c.segment_id, segment_pack.c.pack_id)
    insert_rows(connection, columns, rows, ending=OR_IGNORE)
    connection.execute(
        update(segment).where(one_of(connection, segment.c.id, packs_of.keys())).values(is_complete=1)
    )


def fading_segments(connection: Connection, segment_ids: Collection[int]) -> set[int]:
    """Return which of these segments have a chunk in a pack that is going away."""
    if not segment_ids:
        return set()
    rows = connection.execute(
        select(segment_pack.c.segment_id)
        .join(pack, pack.c.id == segment_pack.c.pack_id)
        .where(one_of(connection, segment_pack.c.segment_id, segment_ids), pack.c.state != PackState.LIVE)
        .distinct()
    )
    return set(rows.scalars())


def packs_of_segments(connection: Connection, segment_ids: Collection[int]) -> set[int]:
    """Return the packs that hold the chunks of these segments, and the segments themselves."""
    if not segment_ids:
        return set()
    of_chunks = select(segment_pack.c.pack_id).where(
        one_of(connection, segment_pack.c.segment_id, segment_ids)
    )
    of_bodies = select(segment.c.pack_id).where(one_of(connection, segment.c.id, segment_ids))
    return set(connection.execute(of_chunks.union(of_bodies)).scalars())


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
    """Make chunks of a pack unknown to uploads until they are put again, and their segments incomplete."""
    for id_ in sorted(ids):
        connection.execute(
            update(chunk)
            .where(chunk.c.domain_id == domain_id, chunk.c.id == id_, chunk.c.pack_id == pack_id)
            .values(damaged=1)
        )
    rows = connection.execute(
        select(segment.c.id, segment.c.refs)
        .join(segment_pack, segment_pack.c.segment_id == segment.c.id)
        .where(segment_pack.c.pack_id == pack_id)
    ).all()
    wanted = set(ids)
    hit = [row.id for row in rows if any(ref.id in wanted for ref in decode_refs(bytes(row.refs)))]
    connection.execute(update(segment).where(one_of(connection, segment.c.id, hit)).values(is_complete=0))
