"""Thousands of values in one statement, for each dialect in the way that it is fast at.

SQLite gets a list of ids as one blob that the query cuts, other lists as JSON, and rows by the driver's `executemany`;
PostgreSQL gets arrays. That is several times faster than an IN list or an insert per row.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    Text,
    any_,
    bindparam,
    func,
    select,
)

from holdfast.content.hashing import ID_BYTES

_SQLITE_IDS = """
WITH RECURSIVE wanted(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM wanted WHERE i + 1 < :count)
SELECT wanted.i, {columns} FROM wanted CROSS JOIN {table} AS found
ON found.domain_id = :domain AND found.{key} = substr(:ids, wanted.i * 32 + 1, 32)
"""
_POSTGRES_IDS = """
SELECT (wanted.i - 1)::int, {columns} FROM unnest(%(ids)b::bytea[]) WITH ORDINALITY AS wanted(id, i)
JOIN {table} AS found ON found.domain_id = %(domain)s AND found.{key} = wanted.id
"""

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row, its columns by name."""

OR_IGNORE = "ON CONFLICT DO NOTHING"


def is_sqlite(connection: Connection) -> bool:
    """Tell which of the two dialects a connection speaks."""
    return connection.dialect.name == "sqlite"


def find_by_ids(
    connection: Connection, key: Column[bytes], columns: Sequence[Column[Any]], domain_id: int, ids: bytes
) -> Sequence[AnyRow]:
    """Return the rows of a domain whose key is one of some ids.

    Args:
        connection: Where to ask.
        key: The column of ids; its table has a ``domain_id`` and an index on both.
        columns: What to return after the index of the id in the list.
        domain_id: The domain.
        ids: n x 32 bytes.
    """
    if not ids:
        return []
    names = {
        "table": key.table.name,
        "key": key.name,
        "columns": ", ".join(f"found.{column.name}" for column in columns),
    }
    if is_sqlite(connection):
        values = {"ids": ids, "count": len(ids) // ID_BYTES, "domain": domain_id}
        return connection.exec_driver_sql(_SQLITE_IDS.format(**names), values).all()
    return connection.exec_driver_sql(
        _POSTGRES_IDS.format(**names), {"ids": _split(ids), "domain": domain_id}
    ).all()


def _split(ids: bytes) -> list[bytes]:
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


def one_of(
    connection: Connection, column: Column[Any], values: Collection[int] | Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that a column has one of any number of values."""
    if is_sqlite(connection):
        listed = func.json_each(json.dumps(list(values))).table_valued("value")
        return column.in_(select(listed.c.value))
    kind = Text() if isinstance(column.type, Text) else BigInteger()
    return column == any_(bindparam(None, list(values), type_=ARRAY(kind), unique=True))


def insert_rows(
    connection: Connection,
    columns: Sequence[Column[Any]],
    rows: Sequence[tuple[Any, ...]],
    *,
    ending: str = "",
) -> int:
    """Insert rows given as tuples, and return how many were.

    Args:
        connection: Where to insert.
        columns: The columns of the tuples, all of one table.
        rows: Values as the driver takes them.
        ending: What follows the VALUES, such as `OR_IGNORE`.
    """
    if not rows:
        return 0
    names = ", ".join(column.name for column in columns)
    marks = ", ".join(["?" if is_sqlite(connection) else "%s"] * len(columns))
    sql = f"INSERT INTO {columns[0].table.name} ({names}) VALUES ({marks}) {ending}"  # noqa: S608 - our own names
    return connection.exec_driver_sql(sql, list(rows)).rowcount
