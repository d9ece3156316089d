"""The `Vault` Protocol: everything that the keeping side can be asked.

**How it works.** Writing: `open_run` once; `begin` an upload; `have` tells which chunk ids the vault lacks;
`put_pack` sends them; `commit` publishes file versions. Reading: `list_files` / `get_files`, `locate` the chunks,
`read` their frames. The caller verifies what it reads with `content.packs`; the vault has verified it before.

Two things satisfy it: `holdfast.vault.LocalVault` (on a catalog and blobs) and `holdfast.remote.RemoteVault` (over HTTP
to a server that stands on the former). One contract suite, `tests/contract`, runs over both.

**What a caller may rely on**

- Every method blocks, is safe to call from several threads, and raises only `HoldfastError`.
- Every method may be repeated after a lost reply and then has the effect of one call.
- A `PackReceipt` or `CommitResult` that was returned survives any crash of the vault after it.
- Versions appear all at once at `commit`; nobody sees a part of one, or a version whose bytes are not all there.
- A version number of a file is never used twice and never changes its content.
- An id alone never gives bytes: `read` serves only packs that a version of this very run refers to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from holdfast.names import RunPath
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


class Vault(Protocol):
    """The keeping side. See the module for what a caller may rely on."""

    def close(self) -> None:
        """Release connections and files. The vault cannot be used afterwards."""

    def whoami(self) -> Identity:
        """Return who the caller is. Raises `UnauthorizedError` for a bad key."""

    # -- runs

    def open_run(self, spec: RunSpec) -> RunInfo:
        """Create the run, or join it as a further attempt; set its state to running.

        Raises:
            RunExistsError: ``resume="never"`` and another attempt of this rank has written the run.
            RunNotFoundError: ``resume="must"`` and there is no such run.
        """

    def update_run(self, run: RunPath, update: RunUpdate) -> RunInfo:
        """Change a run. Raises `RunNotFoundError` if there is no such run, or ``update.attempt`` did not open it."""

    def get_run(self, run: RunPath) -> RunInfo:
        """Return a run. Raises `RunNotFoundError`. Writes nothing."""

    def list_runs(self, entity: str, project: str, *, after: str | None = None, limit: int = 100) -> RunPage:
        """Return runs of a project, newest first; an unknown project has none."""

    def query_runs(self, entity: str, project: str, query: RunQuery) -> RunPage:
        """Return the runs of a project that match filters, in an order; an unknown project has none.

        Raises:
            UsageError: A filter or the order means nothing; the message names the operator or field.
        """

    def list_projects(
        self, entity: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> ProjectPage:
        """Return projects by name, of one entity or of all that the caller may see."""

    # -- writing

    def begin(self, run: RunPath, *, attempt: str | None = None) -> Upload:
        """Begin an upload to a run.

        Args:
            run: The run.
            attempt: The attempt (`RunSpec.attempt`) that the files come from; None: the newest. Versions from an
                attempt older than the one that last wrote a file get their numbers, but the newest stays the newest.

        Raises:
            RunNotFoundError: There is no such run, or this attempt did not open it.
            VaultFullError: Uploads are refused because the disk is (nearly) full.
        """

    def have(self, upload_id: str, ids: bytes) -> bytes:
        """Tell which chunks (or segments) the vault holds, and pin those for this upload.

        Args:
            upload_id: From `begin`.
            ids: n x 32 bytes, n at most ``Upload.have_max``.

        Returns:
            A bitmap of n bits; bit i (least significant first within a byte) is 1 if id i is there.
        """

    def have_contents(self, upload_id: str, query: ContentQuery) -> ContentAnswer:
        """Tell which whole contents are there, and pin them for this upload."""

    def put_pack(
        self, upload_id: str, pack_id: str, body: Sequence[bytes | bytearray | memoryview]
    ) -> PackReceipt:
        """Store a pack (see `content.packs`) after checking every frame, and pin it for this upload.

        Args:
            upload_id: From `begin`.
            pack_id: 26 to 64 characters ``[0-9a-z]``, random, never used for other bytes.
            body: The pack's bytes, in pieces; they must not change until the call returns.

        Raises:
            MalformedContentError: Not a pack, or a frame does not match its id. Nothing is stored.
            PackConflictError: The id was used for other bytes.
            VaultFullError: The disk is (nearly) full. Nothing is stored.
        """

    def commit(self, upload_id: str, commit: Commit) -> CommitResult:
        """Publish versions, all or none.

        An entry whose content equals the newest version of its file makes no new version.

        Raises:
            ChunkMissingError: Some chunks are not there; put them and call again with the same key.
            StaleBaseError: An entry's ``base`` is not the newest version.
            IdempotencyError: The key was used for other entries.
        """

    # -- reading

    def list_files(
        self,
        run: RunPath,
        *,
        pattern: str | None = None,
        after: str | None = None,
        limit: int = 1000,
    ) -> FilePage:
        """Return the files of a run at their newest versions, ordered by name.

        Args:
            run: The run. Raises `RunNotFoundError`.
            pattern: A glob over names: ``*`` and ``?`` stop at ``/``, ``**`` does not; a name that exists
                literally always matches itself. None: all.
            after: ``next`` of the page before.
            limit: At most so many (up to 10,000).
        """

    def get_files(self, run: RunPath, refs: Sequence[FileRef]) -> list[FileInfo]:
        """Return the versions asked for, in that order. Raises `StoredFileNotFoundError` naming the first absent."""

    def list_versions(self, run: RunPath, name: str) -> list[FileInfo]:
        """Return all versions of a file, highest number first. Raises `StoredFileNotFoundError`."""

    def manifest(self, run: RunPath, ref: FileRef) -> Manifest:
        """Return the ordered chunk list of a version. Raises `StoredFileNotFoundError`."""

    def locate(self, run: RunPath, query: LocateQuery) -> ChunkMap:
        """Return where the chunks of versions lie. Raises `StoredFileNotFoundError`."""

    def read(self, run: RunPath, query: ReadQuery) -> Iterator[bytes | memoryview]:
        """Yield the bytes of the ranges, one after the other, in pieces of any size.

        Each frame is checked before its first byte is yielded, unless the query says that the caller does.

        Raises:
            StoredFileNotFoundError: A pack is not referred to by this run.
            CorruptContentError: A frame is damaged; nothing of it is yielded.
        """

    def verify(self, run: RunPath, query: ReadQuery) -> Verified:
        """Read the ranges from where they lie and check each frame, as `read` does, but send nothing of them.

        Takes as long as the vault needs to read so much; ask for some hundred MiB at a time.

        Raises:
            StoredFileNotFoundError: A pack is not referred to by this run.
            CorruptContentError: A frame is damaged or gone.
        """

    # -- keeping and deleting

    def pin_versions(self, run: RunPath, update: PinUpdate) -> list[FileInfo]:
        """Pin versions, so that they are kept until they are unpinned, or unpin them: all of them or none.

        Returns:
            The versions as they are now, in the order asked for.

        Raises:
            StoredFileNotFoundError: One is not there.
        """

    def delete_files(self, run: RunPath, names: Sequence[str]) -> DeleteResult:
        """Put files (all their versions) into the trash: no longer listed or readable, their numbers not reused."""
