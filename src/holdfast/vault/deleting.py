"""Deleting files: into the trash, from which a later version of Holdfast restores or purges them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from holdfast.errors import VaultFullError
from holdfast.names import RunPath, check_file_name
from holdfast.protocol.messages import DeleteResult
from holdfast.vault.catalog import files, runs
from holdfast.vault.foundation import Foundation


def delete_files(ground: Foundation, path: RunPath, names: Sequence[str]) -> DeleteResult:
    """See `Vault.delete_files`. Works on a full disk too, by giving up the reserve file."""
    wanted = [check_file_name(name) for name in names]
    try:
        gone = ground.catalog.write(_bury, path, wanted, ground.clock())
    except VaultFullError:
        if not ground.space.release():
            raise
        gone = ground.catalog.write(_bury, path, wanted, ground.clock())
    return DeleteResult(deleted=sorted(gone))


def _bury(connection: Connection, path: RunPath, names: Sequence[str], now: float) -> list[str]:
    run = runs.need_run(connection, path)
    return files.bury_files(connection, run.id, set(names), now)
