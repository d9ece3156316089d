"""The API keys of a vault, by their SHA-256: the keys themselves are never stored."""

from __future__ import annotations

import time

from holdfast.protocol.messages import Identity
from holdfast.vault.catalog import keys
from holdfast.vault.catalog.engine import Catalog


class Keys:
    """Adds and finds keys in a vault's catalog. Safe to use from several threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def exist(self) -> bool:
        """Tell whether this vault has had any key yet."""
        return self._catalog.read(keys.keys_exist)

    def add(self, user: str, key_hash: bytes, *, label: str, is_admin: bool = False) -> None:
        """Give a user one more key; his default entity has his name."""
        self._catalog.write(keys.add_key, user, key_hash, label=label, is_admin=is_admin, now=time.time())

    def find(self, key_hash: bytes) -> Identity | None:
        """Return who the key belongs to; None when it is unknown, revoked or expired."""
        found = self._catalog.read(keys.find_key, key_hash, now=time.time())
        return Identity(user=found[0], entity=found[1]) if found else None
