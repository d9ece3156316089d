"""The connection to the catalog's database: opening it, transactions, and the translation of its errors.

**How it works.** A write runs as a function in a transaction, so that it can be run again when the database says that
two writers met (PostgreSQL: deadlock, unique key inserted meanwhile). SQLite writes begin IMMEDIATE: one writer at
a time among all processes, and none that fails half-way for lack of the lock.

**Invariants**

- What `Catalog.write` returned from is durable (SQLite: WAL with synchronous FULL).
- No error of SQLAlchemy or of a driver leaves this package; `translated` is the one place that maps them.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from holdfast.errors import HoldfastError, SettingsError, VaultFullError, VaultUnavailableError

BUSY_TIMEOUT_S = 30
_ATTEMPTS = 8
_COLLISIONS = {"40001", "40P01"}
_FULL = {"53100"}
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Catalog:
    """The database of a vault.

    Args:
        url: ``sqlite:///<path>`` or ``postgresql+psycopg://...``.
    """

    def __init__(self, url: str) -> None:
        self._engine = _create_engine(url)
        self._writes = self._engine.execution_options(holdfast_write=True)
        self._queue = threading.Lock() if self._engine.dialect.name == "sqlite" else nullcontext()

    @property
    def engine(self) -> Engine:
        """The engine, for migrations and tests."""
        return self._engine

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def read(
        self, work: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Return what ``work(connection, ...)`` returns; it sees one state of the database on SQLite."""
        with translated(), self._engine.connect() as connection:
            return work(connection, *args, **kwargs)

    def write(
        self, work: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run ``work(connection, ...)`` in one durable transaction; run it again if it collided with another."""
        for attempt in range(_ATTEMPTS):
            try:
                with translated(), self._queue, self._writes.begin() as connection:
                    return work(connection, *args, **kwargs)
            except _CollisionError:
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
        raise VaultUnavailableError("The catalog is too busy: a transaction kept colliding with others.")


class _CollisionError(Exception):
    """Two transactions met; the same one may succeed when run again."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of SQLAlchemy and of the drivers into Holdfast's."""
    try:
        yield
    except SQLAlchemyError as exc:
        raise _translate(exc) from exc


def _translate(exc: SQLAlchemyError) -> HoldfastError | _CollisionError:
    original = exc.orig if isinstance(exc, DBAPIError) else None
    state = getattr(original, "sqlstate", None)
    name = getattr(original, "sqlite_errorname", "")
    if state in _COLLISIONS or isinstance(exc, IntegrityError):
        return _CollisionError(str(original))
    if state in _FULL or name == "SQLITE_FULL":
        return VaultFullError("The disk of the vault's catalog is full.")
    if isinstance(exc, OperationalError) and name == "SQLITE_BUSY":
        return VaultUnavailableError(f"The catalog was locked by others for {BUSY_TIMEOUT_S} s.")
    return VaultUnavailableError(f"The catalog cannot be used: {original or exc}")


def _create_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        match parsed.get_backend_name():
            case "sqlite":
                return _create_sqlite(parsed)
            case "postgresql":
                return create_engine(parsed, pool_size=8, max_overflow=24, pool_pre_ping=True)
    except ArgumentError as exc:
        raise SettingsError(f"A catalog cannot be opened with this URL: {exc}") from exc
    except ImportError as exc:
        raise SettingsError(
            "PostgreSQL needs an extra.", hint="Install it: pip install 'holdfast[postgres]'"
        ) from exc
    raise SettingsError(
        f"A catalog cannot live in a {parsed.get_backend_name()!r} database.",
        hint="Use sqlite:///<path> or postgresql+psycopg://...",
    )


def _create_sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in (
        "synchronous = FULL",
        "fullfsync = ON",
        "foreign_keys = ON",
        "cache_size = -16384",
        "wal_autocheckpoint = 4000",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("holdfast_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
