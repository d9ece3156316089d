"""The keeping side: `LocalVault` on a catalog (SQL) and blobs (packs)."""

from __future__ import annotations

from holdfast.vault.local import LocalVault, open_vault, open_vault_at

__all__ = ["LocalVault", "open_vault", "open_vault_at"]
