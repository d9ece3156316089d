"""The tables of the catalog, the same on SQLite and PostgreSQL.

**How liveness works.** There are no counters. A pack is alive while a row refers to it: `version_pack` (a version's
loose chunks), `segment_pack` (the chunks of a segment that a version refers to by `version_segment`) or `pin` (an
upload under way). These foreign keys restrict, so the database itself refuses to forget a pack that is in use.

A growing log has thousands of versions over thousands of packs; because its versions share segments, the
references of one version stay few.

An `attempt` is one run directory. The attempts of one start of a run, one for each rank, are a round; `run.attempts`
counts rounds, and `upload.attempt` and `version.attempt` are the round that the bytes come from.

`chunk` has no foreign key to `pack`: checking it would need an index as large as the table. Whoever removes a
pack removes its chunk rows in the same transaction, by the pack's own table.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0002"
"""The newest migration. Opening a catalog that is at it needs nothing else."""

Number = BigInteger().with_variant(Integer(), "sqlite")
Name = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared and sorted by its UTF-8 bytes."""

metadata = MetaData()


class PackState(IntEnum):
    """The life of a pack; the values are stored."""

    LIVE = 1
    CONDEMNED = 2
    """Nothing referred to it when it was looked at; it may yet be revived."""
    DELETING = 3


def _id() -> Column[int]:
    return Column("id", Number, primary_key=True)


def _of(
    target: str, *, name: str | None = None, ondelete: str = "RESTRICT", key: bool = False
) -> Column[int]:
    foreign = ForeignKey(f"{target}.id", ondelete=ondelete)
    return Column(name or f"{target}_id", Number, foreign, primary_key=key, nullable=False)


def _time(name: str, *, optional: bool = False) -> Column[float]:
    return Column(name, Double, nullable=optional)


# ---------------------------------------------------------------- who and where

entity = Table(
    "entity",
    metadata,
    _id(),
    Column("name", Name, nullable=False, unique=True),
    _time("created_at"),
)

domain = Table(
    "domain",
    metadata,
    _id(),
    Column("name", Name, nullable=False, unique=True),
    Column("key", LargeBinary, nullable=False),
    Column("epoch", Number, nullable=False, server_default=text("1")),
)

project = Table(
    "project",
    metadata,
    _id(),
    _of("entity"),
    _of("domain"),
    Column("name", Name, nullable=False),
    Column("run_count", Number, nullable=False, server_default=text("0")),
    _time("created_at"),
    UniqueConstraint("entity_id", "name"),
)

account = Table(
    "account",
    metadata,
    _id(),
    Column("name", Name, nullable=False, unique=True),
    _of("entity"),
    Column("is_admin", SmallInteger, nullable=False, server_default=text("0")),
    _time("created_at"),
    _time("disabled_at", optional=True),
)

member = Table(
    "member",
    metadata,
    _of("account", ondelete="CASCADE", key=True),
    _of("entity", ondelete="CASCADE", key=True),
    Column("role", Name, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    _id(),
    _of("account", ondelete="CASCADE"),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("label", Name, nullable=False),
    Column("scope", Name, nullable=False),
    _time("created_at"),
    _time("expires_at", optional=True),
    _time("revoked_at", optional=True),
    _time("used_at", optional=True),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    _time("at"),
    Column("actor", Name, nullable=False),
    Column("action", Name, nullable=False),
    Column("object", Name, nullable=False),
    Column("detail", Text, nullable=False),
)

# ---------------------------------------------------------------- runs

run = Table(
    "run",
    metadata,
    _id(),
    _of("project"),
    Column("run_id", Name, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Name, nullable=False),
    Column("notes", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("run_group", Text),
    Column("job_type", Text),
    Column("config", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("step", Number),
    Column("attempts", Integer, nullable=False),
    Column("created_by", Name, nullable=False),
    _time("created_at"),
    _time("heartbeat_at"),
    _time("ended_at", optional=True),
    Column("exit_code", Integer),
    UniqueConstraint("project_id", "run_id"),
)

attempt = Table(
    "attempt",
    metadata,
    _of("run", ondelete="CASCADE", key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Name, nullable=False),
    _time("started_at"),
    Column("host", Text),
    Column("program", Text),
    Column("rank", Integer, nullable=False, server_default=text("0")),
    Column("round", Integer, nullable=False, server_default=text("1")),
    Column("state", Name, nullable=False, server_default=text("'running'")),
    Column("opened_at", Double, nullable=False, server_default=text("0")),
    Column("heartbeat_at", Double, nullable=False, server_default=text("0")),
    _time("ended_at", optional=True),
    Column("exit_code", Integer),
    UniqueConstraint("run_id", "name"),
)

# ---------------------------------------------------------------- content

pack = Table(
    "pack",
    metadata,
    _id(),
    _of("domain"),
    Column("name", Name, nullable=False),
    Column("blob", Name, nullable=False, unique=True),
    Column("state", SmallInteger, nullable=False),
    Column("size_bytes", Number, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    _time("created_at"),
    _time("condemned_at", optional=True),
    _time("verified_at"),
    UniqueConstraint("domain_id", "name"),
)

chunk = Table(
    "chunk",
    metadata,
    _of("domain", key=True),
    Column("id", LargeBinary, primary_key=True),
    Column("pack_id", Number, nullable=False),
    Column("start", Integer, nullable=False),
    Column("stored_len", Integer, nullable=False),
    Column("raw_len", Integer, nullable=False),
    Column("codec", SmallInteger, nullable=False),
    Column("damaged", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)
Index(
    "chunk_damaged",
    chunk.c.domain_id,
    chunk.c.pack_id,
    sqlite_where=chunk.c.damaged != 0,
    postgresql_where=chunk.c.damaged != 0,
)

segment = Table(
    "segment",
    metadata,
    Column("id", Number, primary_key=True),
    _of("domain"),
    Column("hash", LargeBinary, nullable=False),
    _of("pack"),
    Column("chunks", Integer, nullable=False),
    Column("raw_bytes", Number, nullable=False),
    Column("is_complete", SmallInteger, nullable=False, server_default=text("0")),
    Column("refs", LargeBinary, nullable=False),
    UniqueConstraint("domain_id", "hash"),
)

segment_pack = Table(
    "segment_pack",
    metadata,
    _of("segment", ondelete="CASCADE", key=True),
    _of("pack", key=True),
    Index("segment_pack_pack", "pack_id"),
    sqlite_with_rowid=False,
)

# ---------------------------------------------------------------- files

file = Table(
    "file",
    metadata,
    _id(),
    _of("run", ondelete="CASCADE"),
    Column("name", Name, nullable=False),
    Column("last_version", Integer, nullable=False, server_default=text("0")),
    Column("head", Integer),
    _time("thin_at", optional=True),
    UniqueConstraint("run_id", "name"),
)
Index(
    "file_thin",
    file.c.thin_at,
    sqlite_where=file.c.thin_at.is_not(None),
    postgresql_where=file.c.thin_at.is_not(None),
)

version = Table(
    "version",
    metadata,
    _of("file", ondelete="CASCADE", key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _of("domain"),
    Column("attempt", Integer, nullable=False),
    Column("size_bytes", Number, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("mode", Integer, nullable=False),
    Column("mtime_ns", Number, nullable=False),
    Column("fidelity", Name, nullable=False),
    Column("policy", Name, nullable=False),
    Column("splitter", Name, nullable=False),
    Column("created_by", Name, nullable=False),
    _time("created_at"),
    _time("deleted_at", optional=True),
    Column("pinned", SmallInteger, nullable=False, server_default=text("0")),
    Column("manifest", LargeBinary, nullable=False),
    Index("version_content", "domain_id", "digest"),
)

version_pack = Table(
    "version_pack",
    metadata,
    Column("file_id", Number, primary_key=True),
    Column("number", Integer, primary_key=True),
    _of("pack", key=True),
    ForeignKeyConstraint(["file_id", "number"], ["version.file_id", "version.number"], ondelete="CASCADE"),
    Index("version_pack_pack", "pack_id"),
    sqlite_with_rowid=False,
)

version_segment = Table(
    "version_segment",
    metadata,
    Column("file_id", Number, primary_key=True),
    Column("number", Integer, primary_key=True),
    _of("segment", key=True),
    ForeignKeyConstraint(["file_id", "number"], ["version.file_id", "version.number"], ondelete="CASCADE"),
    Index("version_segment_segment", "segment_id"),
    sqlite_with_rowid=False,
)

# ---------------------------------------------------------------- uploads

upload = Table(
    "upload",
    metadata,
    _id(),
    Column("name", Name, nullable=False, unique=True),
    _of("run", ondelete="CASCADE"),
    Column("attempt", Integer, nullable=False),
    Column("created_by", Name, nullable=False),
    _time("created_at"),
    _time("expires_at"),
    Index("upload_expires", "expires_at"),
)

pin = Table(
    "pin",
    metadata,
    _of("upload", ondelete="CASCADE", key=True),
    _of("pack", key=True),
    Index("pin_pack", "pack_id"),
    sqlite_with_rowid=False,
)

idempotency = Table(
    "idempotency",
    metadata,
    _of("run", ondelete="CASCADE", key=True),
    Column("key", Name, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("answer", Text, nullable=False),
    _time("created_at"),
    Index("idempotency_created", "created_at"),
)
