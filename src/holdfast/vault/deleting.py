"""Keeping and deleting: pins on versions; files into the trash, from where they can be restored or purged."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from holdfast.errors import VaultFullError
from holdfast.names import RunPath, check_file_name
from holdfast.protocol.messages import DeleteResult, FileInfo, PinUpdate
from holdfast.vault.catalog import files, runs
from holdfast.vault.catalog.thinning import look_again
from holdfast.vault.foundation import Foundation
from holdfast.vault.reading import find, info


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


def pin_versions(ground: Foundation, path: RunPath, request: PinUpdate) -> list[FileInfo]:
    """See `Vault.pin_versions`."""
    return ground.catalog.write(_pin, path, request, ground.clock())


def _pin(connection: Connection, path: RunPath, request: PinUpdate, now: float) -> list[FileInfo]:
    run = runs.need_run(connection, path)
    files.lock_known(connection, run.id, {ref.name for ref in request.refs})
    found = find(connection, run.id, path, request.refs)
    files.pin_versions(connection, found, pinned=request.pinned)
    if found and not request.pinned:
        look_again(connection, {row.file_id for row in found}, now)
    return [info(row).model_copy(update={"pinned": request.pinned}) for row in found]
