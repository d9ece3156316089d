"""Accounts and the hashes of their API keys in the catalog."""

from __future__ import annotations

import hmac

from sqlalchemy import Connection, bindparam, or_, select

from holdfast.vault.catalog.bulk import OR_IGNORE, insert_rows
from holdfast.vault.catalog.schema import account, api_key, entity

# Asked with each request; to put the statement together costs more than to run it.
_VALID = (
    select(api_key.c.hash, account.c.name, entity.c.name)
    .join(account, account.c.id == api_key.c.account_id)
    .join(entity, entity.c.id == account.c.entity_id)
    .where(
        api_key.c.hash == bindparam("hash"),
        api_key.c.revoked_at.is_(None),
        account.c.disabled_at.is_(None),
        or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > bindparam("now")),
    )
)


def keys_exist(connection: Connection) -> bool:
    """Tell whether there is any key, valid or not."""
    return connection.execute(select(api_key.c.id).limit(1)).first() is not None


def add_key(
    connection: Connection, user: str, key_hash: bytes, *, label: str, is_admin: bool, now: float
) -> None:
    """Add a key; make the user, and an entity of his name, if they are not there."""
    insert_rows(connection, (entity.c.name, entity.c.created_at), [(user, now)], ending=OR_IGNORE)
    entity_id = connection.execute(select(entity.c.id).where(entity.c.name == user)).scalar_one()
    columns = (account.c.name, account.c.entity_id, account.c.is_admin, account.c.created_at)
    insert_rows(connection, columns, [(user, entity_id, int(is_admin), now)], ending=OR_IGNORE)
    account_id = connection.execute(select(account.c.id).where(account.c.name == user)).scalar_one()
    connection.execute(
        api_key.insert(),
        {"account_id": account_id, "hash": key_hash, "label": label, "scope": "all", "created_at": now},
    )


def find_key(connection: Connection, key_hash: bytes, *, now: float) -> tuple[str, str] | None:
    """Return the names of user and entity of a key that is valid now, or None."""
    row = connection.execute(_VALID, {"hash": key_hash, "now": now}).first()
    if row is None or not hmac.compare_digest(bytes(row[0]), key_hash):
        return None
    return str(row[1]), str(row[2])
