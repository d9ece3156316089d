"""Fetching what belongs to the code of a run from the vault, each file verified and of the version that is meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from holdfast.code.state import MAX_STATE_BYTES, STATE_FILE, CodeState, Part
from holdfast.errors import MalformedContentError, StoredFileNotFoundError
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef
from holdfast.protocol.vault import Vault
from holdfast.restoring.files import restore_files, select_files
from holdfast.restoring.report import RestoreProgress

_PATTERNS = ("code/**", "*.patch")


def fetch_state(vault: Vault, run: RunPath, folder: Path, *, version: int | None = None) -> CodeState:
    """Return the state of a run's code.

    Args:
        vault: Where the run is.
        run: The run.
        folder: Where it is put while it is read.
        version: Version of the state; None for the newest. Each attempt of a run has its own.

    Raises:
        RunNotFoundError: There is no such run.
        StoredFileNotFoundError: The state of its code was not captured, or is not stored yet.
        MalformedContentError: What is stored is no such state.
    """
    try:
        [info] = vault.get_files(run, [FileRef(name=STATE_FILE, version=version)])
    except StoredFileNotFoundError as exc:
        raise StoredFileNotFoundError(
            f"The run {run} has no {STATE_FILE}{'' if version is None else f' of version {version}'}: its code was not "
            "captured, or is not stored yet.",
            hint=f"`holdfast ls -v {run}` lists what it has.",
        ) from exc
    if info.size > MAX_STATE_BYTES:
        raise MalformedContentError(f"{STATE_FILE} of {run} has {info.size:,} bytes.")
    _restore(vault, run, [info], folder, None)
    return CodeState.parse((folder / STATE_FILE).read_bytes())


def fetch_parts(
    vault: Vault, run: RunPath, state: CodeState, folder: Path, progress: RestoreProgress
) -> dict[str, Path]:
    """Restore the files that a state names, below a folder.

    Returns:
        Where each is, by name. What the run does not have with the content that the state names is not among them.

    Raises:
        HoldfastError: A file that is there cannot be restored.
    """
    newest: dict[str, FileInfo] = {}
    for pattern in _PATTERNS:
        try:
            newest.update((info.name, info) for info in select_files(vault, run, [pattern]))
        except StoredFileNotFoundError:
            continue
    found = [info for part in state.parts() if (info := _version(vault, run, part, newest)) is not None]
    _restore(vault, run, found, folder, progress)
    return {info.name: folder / info.name for info in found}


def _version(vault: Vault, run: RunPath, part: Part, newest: dict[str, FileInfo]) -> FileInfo | None:
    """Return the version that has the content of a part; a later attempt may have written others."""
    info = newest.get(part.name)
    if info is None or info.digest.hex() == part.digest:
        return info
    versions = vault.list_versions(run, part.name)
    return next((version for version in versions if version.digest.hex() == part.digest), None)


def _restore(
    vault: Vault, run: RunPath, files: Iterable[FileInfo], folder: Path, progress: RestoreProgress | None
) -> None:
    report = restore_files(vault, run, files, root=folder, progress=progress)
    for failed in report.failed:
        assert failed.error is not None
        raise failed.error
