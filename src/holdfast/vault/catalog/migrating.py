"""Bring a catalog's schema up to date, safely when several processes open it at the same moment.

An up-to-date catalog is recognised by one query; Alembic is imported only when there is something to do. A migration
is one transaction that excludes others (SQLite: BEGIN IMMEDIATE; PostgreSQL: an advisory lock), and whoever waited
for it looks again before doing anything.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from holdfast.errors import VaultLocationError, VaultUnavailableError
from holdfast.vault.catalog.engine import BUSY_TIMEOUT_S, Catalog
from holdfast.vault.catalog.schema import REVISION

_ADVISORY_LOCK = 0x686F6C64


def migrate(catalog: Catalog) -> None:
    """Create the schema or bring it up to date.

    Raises:
        VaultLocationError: A newer Holdfast has migrated it.
    """
    if catalog.read(_revision) == REVISION:
        return
    if catalog.engine.dialect.name == "sqlite":
        _use_wal(catalog)
    catalog.write(_upgrade)


def _revision(connection: Connection) -> str | None:
    try:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (OperationalError, ProgrammingError) as exc:
        if "alembic_version" not in str(exc.orig):
            raise
        return None


def _use_wal(catalog: Catalog) -> None:
    """Switch the database file to WAL, which it then keeps.

    SQLite answers "locked" at once, without its busy timeout, when two processes do this at the same moment.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    connection = catalog.engine.raw_connection()
    try:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            except catalog.engine.dialect.loaded_dbapi.OperationalError as exc:
                if time.monotonic() > deadline:
                    raise VaultUnavailableError(f"The catalog is locked: {exc}") from exc
                time.sleep(0.02)
            else:
                return
    finally:
        connection.close()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    found = _table_revision(connection)
    if found == REVISION:
        return
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise VaultLocationError(
            f"This vault was written by a newer Holdfast (schema {found}).", hint="Upgrade holdfast."
        )
    command.upgrade(config, "head")


def _table_revision(connection: Connection) -> str | None:
    """Return the revision inside a transaction, which a failed query would spoil on PostgreSQL."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
