"""`LocalVault`: the `Vault` on a catalog and blobs, and how to open one."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from holdfast.content.hashing import Bytes
from holdfast.errors import VaultLocationError
from holdfast.names import RunPath, to_label
from holdfast.protocol.messages import (
    ChunkMap,
    Commit,
    CommitResult,
    ContentAnswer,
    ContentQuery,
    DeleteResult,
    FileInfo,
    FilePage,
    FileRef,
    Identity,
    LocateQuery,
    Manifest,
    PackReceipt,
    PinUpdate,
    ProjectPage,
    ReadQuery,
    RunInfo,
    RunPage,
    RunQuery,
    RunSpec,
    RunUpdate,
    Upload,
    Verified,
)
from holdfast.vault import commits, deleting, ingest, reading, run_queries, runs, thinning
from holdfast.vault.blobs import Blobs, BlobSlice, open_blobs
from holdfast.vault.catalog.engine import Catalog
from holdfast.vault.catalog.migrating import migrate
from holdfast.vault.foundation import Foundation, Limits
from holdfast.vault.space import Space, check_location


def open_vault_at(
    data_dir: Path,
    *,
    user: str | None = None,
    catalog_url: str | None = None,
    blobs_url: str | None = None,
    reserve_bytes: int | None = None,
    any_location: bool = False,
    clock: Callable[[], float] = time.time,
) -> LocalVault:
    """Open the vault in a folder, making it if it is absent. Several processes may have it open at once.

    Args:
        data_dir: Holds ``catalog.sqlite`` and ``blobs/``; for this user only.
        user: Who the caller is; None: the user of the operating system.
        catalog_url: A database instead of ``catalog.sqlite`` (see `open_vault`).
        blobs_url: A store instead of ``blobs/`` (see `open_vault`).
        reserve_bytes: How much of the disk uploads must leave free; None: 5 %, at least 2 GiB.
        any_location: Accept a network file system, where a crash or a second host can destroy the vault.
        clock: Gives the time in seconds since the epoch.

    Raises:
        VaultLocationError: The folder cannot be made or is on a network file system, or a newer Holdfast wrote it.
    """
    data_dir = data_dir.absolute()
    catalog = data_dir / "catalog.sqlite"
    if catalog_url is None and not catalog.exists() and not any_location:
        check_location(data_dir)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise VaultLocationError(f"The vault's folder {data_dir} cannot be made: {exc}") from exc
    return open_vault(
        catalog_url or f"sqlite:///{catalog}",
        blobs_url or (data_dir / "blobs").as_uri(),
        user=user,
        space=Space(data_dir, reserve_bytes),
        clock=clock,
    )


def open_vault(
    catalog_url: str,
    blobs: str | Blobs,
    *,
    blob_options: Mapping[str, str] | None = None,
    user: str | None = None,
    space: Space | None = None,
    clock: Callable[[], float] = time.time,
    limits: Limits | None = None,
) -> LocalVault:
    """Open the vault on a catalog and blobs given by URL, making what is absent.

    Args:
        catalog_url: ``sqlite:///<path>`` or ``postgresql+psycopg://user@host/database``.
        blobs: ``file:///folder``, ``memory:``, ``s3://bucket/prefix`` (see `open_blobs`), or a store that is open.
        blob_options: For an object store: its endpoint, region and credentials.
        user: Who the caller is; None: the user of the operating system.
        space: The room to watch; None: none is.
        clock: Gives the time in seconds since the epoch.
        limits: How large and how long things may be.
    """
    catalog = Catalog(catalog_url)
    try:
        migrate(catalog)
        store = open_blobs(blobs, blob_options) if isinstance(blobs, str) else blobs
    except BaseException:
        catalog.close()
        raise
    space = space or Space(None)
    space.hold()
    ground = Foundation(catalog, store, space, clock, limits or Limits())
    name = to_label(user or _os_user())
    return LocalVault(ground, Identity(user=name, entity=name))


def _os_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user-{os.getuid()}"


class LocalVault:
    """The `Vault` that keeps. Open it with `open_vault_at` or `open_vault`; safe to use from several threads."""

    def __init__(self, ground: Foundation, identity: Identity, *, is_view: bool = False) -> None:
        self._ground = ground
        self._identity = identity
        self._is_view = is_view

    def for_caller(self, identity: Identity) -> LocalVault:
        """Return this vault as another caller sees it. Cheap; closing it does nothing."""
        return LocalVault(self._ground, identity, is_view=True)

    @property
    def foundation(self) -> Foundation:
        """The catalog and blobs, for what is not part of the `Vault` Protocol."""
        return self._ground

    def close(self) -> None:
        """See `Vault.close`."""
        if not self._is_view:
            self._ground.close()

    def whoami(self) -> Identity:
        """See `Vault.whoami`."""
        return self._identity

    # -- runs

    def open_run(self, spec: RunSpec) -> RunInfo:
        """See `Vault.open_run`."""
        return runs.open_run(self._ground, self._identity.user, spec)

    def update_run(self, run: RunPath, update: RunUpdate) -> RunInfo:
        """See `Vault.update_run`."""
        info = runs.update_run(self._ground, run, update)
        thinning.thin_due(self._ground)
        return info

    def get_run(self, run: RunPath) -> RunInfo:
        """See `Vault.get_run`."""
        return runs.get_run(self._ground, run)

    def list_runs(self, entity: str, project: str, *, after: str | None = None, limit: int = 100) -> RunPage:
        """See `Vault.list_runs`."""
        return runs.list_runs(self._ground, entity, project, after=after, limit=limit)

    def query_runs(self, entity: str, project: str, query: RunQuery) -> RunPage:
        """See `Vault.query_runs`."""
        return run_queries.query_runs(self._ground, entity, project, query)

    def list_projects(
        self, entity: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> ProjectPage:
        """See `Vault.list_projects`."""
        return runs.list_projects(self._ground, entity, after=after, limit=limit)

    # -- writing

    def begin(self, run: RunPath, *, attempt: str | None = None) -> Upload:
        """See `Vault.begin`."""
        return ingest.begin(self._ground, self._identity.user, run, attempt)

    def have(self, upload_id: str, ids: bytes) -> bytes:
        """See `Vault.have`."""
        return ingest.have(self._ground, self._identity.user, upload_id, ids)

    def have_contents(self, upload_id: str, query: ContentQuery) -> ContentAnswer:
        """See `Vault.have_contents`."""
        return ingest.have_contents(self._ground, self._identity.user, upload_id, query)

    def open_pack(self, upload_id: str, pack_id: str) -> ingest.PackWriter:
        """Begin a pack whose bytes arrive piece by piece: `put_pack` for a server that streams."""
        return ingest.PackWriter(self._ground, self._identity.user, upload_id, pack_id)

    def put_pack(self, upload_id: str, pack_id: str, body: Sequence[Bytes]) -> PackReceipt:
        """See `Vault.put_pack`."""
        writer = self.open_pack(upload_id, pack_id)
        writer.feed_all(body)
        return writer.finish()

    def commit(self, upload_id: str, commit: Commit) -> CommitResult:
        """See `Vault.commit`."""
        return commits.commit(self._ground, self._identity.user, upload_id, commit)

    # -- reading

    def list_files(
        self,
        run: RunPath,
        *,
        pattern: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> FilePage:
        """See `Vault.list_files`."""
        return reading.list_files(self._ground, run, pattern=pattern, after=after, limit=limit)

    def get_files(self, run: RunPath, refs: Sequence[FileRef]) -> list[FileInfo]:
        """See `Vault.get_files`."""
        return reading.get_files(self._ground, run, refs)

    def list_versions(self, run: RunPath, name: str) -> list[FileInfo]:
        """See `Vault.list_versions`."""
        return reading.list_versions(self._ground, run, name)

    def manifest(self, run: RunPath, ref: FileRef) -> Manifest:
        """See `Vault.manifest`."""
        return reading.manifest(self._ground, run, ref)

    def locate(self, run: RunPath, query: LocateQuery) -> ChunkMap:
        """See `Vault.locate`."""
        return reading.locate(self._ground, run, query)

    def read(self, run: RunPath, query: ReadQuery) -> Iterator[bytes | memoryview]:
        """See `Vault.read`."""
        return reading.read(self._ground, run, query)

    def verify(self, run: RunPath, query: ReadQuery) -> Verified:
        """See `Vault.verify`."""
        checked = query.model_copy(update={"is_checked": True})
        return Verified(size_bytes=sum(len(block) for block in self.read(run, checked)))

    def read_pieces(self, run: RunPath, query: ReadQuery) -> Iterator[memoryview | BlobSlice]:
        """`read` for a server that can send parts of files: yields those as slices, each open until the next piece."""
        return reading.pieces(self._ground, run, query)

    # -- keeping and deleting

    def pin_versions(self, run: RunPath, update: PinUpdate) -> list[FileInfo]:
        """See `Vault.pin_versions`."""
        return deleting.pin_versions(self._ground, run, update)

    def delete_files(self, run: RunPath, names: Sequence[str]) -> DeleteResult:
        """See `Vault.delete_files`."""
        return deleting.delete_files(self._ground, run, names)
