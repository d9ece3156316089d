"""The files of a run, each at one version."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from holdfast.api.pages import Page, Pages
from holdfast.errors import HoldfastError, UsageError
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef, PinUpdate
from holdfast.protocol.vault import Vault
from holdfast.restoring.content import iter_content
from holdfast.restoring.diffs import FileDiff, compare
from holdfast.restoring.files import restore_file, restore_files
from holdfast.restoring.report import RestoreProgress, RestoreReport
from holdfast.restoring.versions import refer
from holdfast.times import Which, at_utc

_READ_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RunAt:
    """A run on a vault."""

    vault: Vault
    base_url: str | None
    """The server; None: the embedded vault, which has no URLs."""
    path: RunPath

    def file(self, ref: FileRef) -> File:
        """Return a file. Raises `StoredFileNotFoundError`."""
        [info] = self.vault.get_files(self.path, [ref])
        return File(self, info)


class File:
    """A file of a run, at one version: the newest as of when it was asked for, unless it was asked for another.

    Attributes:
        name: The file's name within the run.
        version: The number of the version.
        size: Bytes.
        digest: The BLAKE3 hash of the content, in hexadecimal.
        info: All that the vault says of it.
    """

    def __init__(self, at: RunAt, info: FileInfo) -> None:
        self._at = at
        self.info = info
        self.name = info.name
        self.version = info.version
        self.size = info.size
        self.digest = info.digest.hex()

    def __repr__(self) -> str:
        return f"<File {self._at.path}/{self.name} v{self.version} ({self.size} bytes)>"

    @property
    def mimetype(self) -> str:
        """What the name says of the type; ``application/octet-stream`` where it says nothing."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @property
    def created_at(self) -> datetime:
        """When the vault published this version, in UTC."""
        return at_utc(self.info.created_at)

    @property
    def updated_at(self) -> datetime:
        """The same as `created_at`: a version never changes."""
        return self.created_at

    @property
    def modified_at(self) -> datetime:
        """When the file was last written, by the clock of the machine it comes from, in UTC."""
        return at_utc(self.info.mtime_ns / 1e9)

    @property
    def policy(self) -> str:
        """The policy that it was saved with: live, now or end."""
        return self.info.policy

    @property
    def fidelity(self) -> str:
        """How it relates to the file it was read from: exact, later or unsettled."""
        return str(self.info.fidelity)

    @property
    def attempt(self) -> int:
        """Which start of the run it comes from; `Run.attempts` counts them."""
        return self.info.attempt

    @property
    def pinned(self) -> bool:
        """Whether this version is kept until it is unpinned."""
        return self.info.pinned

    @property
    def url(self) -> str | None:
        """Where the server gives this version's plain content to whoever sends an API key; None without a server."""
        if self._at.base_url is None:
            return None
        return (
            f"{self._at.base_url}/api/v1/runs/{self._at.path}/raw/{quote(self.name)}?version={self.version}"
        )

    @property
    def versions(self) -> list[File]:
        """All versions of the file that are kept, the highest number first. Asks the vault."""
        return [File(self._at, info) for info in self._at.vault.list_versions(self._at.path, self.name)]

    # -- content

    def download(
        self,
        root: str | os.PathLike[str] = ".",
        replace: bool = False,
        exist_ok: bool = False,
        *,
        mode: str = "rb",
    ) -> IO[Any]:
        """Restore this version below a folder, every byte verified, and open it for reading.

        Args:
            root: The folder; the file gets its name below it.
            replace: Overwrite a local file that has other content.
            exist_ok: Accepted for the sake of W&B scripts. A local file with the right content is never an error, and
                one with other content never passes for the file.
            mode: ``"rb"``, or ``"r"`` for text in UTF-8.

        Returns:
            The open file; its ``name`` is the absolute path.

        Raises:
            TargetExistsError: There is a local file with other content and ``replace`` is False.
            CorruptContentError: The vault's copy is damaged. What was there is as it was.
            VaultUnavailableError: The vault went away; calling again goes on where it stopped.
            LocalFileError: The local disk refused.
        """
        del exist_ok
        return restore_file(
            self._at.vault,
            self._at.path,
            self.name,
            root=Path(root).absolute(),
            replace=replace,
            version=self.version,
            mode=mode,
        )

    def iter_content(self) -> Iterator[bytes | memoryview]:
        """Yield the content in pieces, each verified; memory stays small whatever the size."""
        return iter_content(self._at.vault, self._at.path, self.info)

    def read(self) -> bytes:
        """Return the whole content, verified."""
        return b"".join(self.iter_content())

    # -- versions

    def at_version(self, version: Which) -> File:
        """Return the file at another version.

        Args:
            version: Its number, or a time (a `datetime.datetime`, or ISO 8601 as text; without a zone it is this
                machine's) for the one that was the newest then.

        Raises:
            StoredFileNotFoundError: There is no such version.
        """
        return self._at.file(refer(self.name, version))

    def pin(self) -> None:
        """Keep this version until it is unpinned, whatever thinning or a retention rule says."""
        self._set_pinned(pinned=True)

    def unpin(self) -> None:
        """Give up the pin."""
        self._set_pinned(pinned=False)

    def _set_pinned(self, *, pinned: bool) -> None:
        ref = FileRef(name=self.name, version=self.version)
        [self.info] = self._at.vault.pin_versions(self._at.path, PinUpdate(refs=[ref], pinned=pinned))

    def diff(self, other: File) -> FileDiff:
        """Compare this with another version, or with a file of another run; text line by line, up to 8 MiB.

        Args:
            other: What is shown as the newer one.
        """
        labels = (
            f"{self._at.path}/{self.name} v{self.version}",
            f"{other._at.path}/{other.name} v{other.version}",
        )
        contents = {id(self.info): self, id(other.info): other}
        return compare(self.info, other.info, lambda info: contents[id(info)].read(), labels=labels)

    def delete(self) -> None:
        """Put the file, with all its versions, into the vault's trash. Local files are not touched."""
        self._at.vault.delete_files(self._at.path, [self.name])


class Files(Pages[File]):
    """Files of a run, fetched page by page.

    Args:
        at: The run.
        fetch: Returns the page after a mark.
    """

    def __init__(self, at: RunAt, fetch: Callable[[str | None], Page[File]]) -> None:
        super().__init__(fetch)
        self._at = at

    def download(
        self,
        root: str | os.PathLike[str] = ".",
        replace: bool = False,
        *,
        progress: RestoreProgress | None = None,
    ) -> RestoreReport:
        """Restore all of these files below a folder, many at a time, every byte verified.

        Files that are there already with the right content are not fetched. A file that fails does not keep the others
        from being restored; calling again fetches what is left.

        Args:
            root: The folder; each file gets its name below it.
            replace: Overwrite local files that have other content.
            progress: Counts while this runs.

        Returns:
            What became of each file; none of them failed.

        Raises:
            HoldfastError: Some files could not be restored: of the class of the first one's error. The message says how
                many, and ``details["failed"]`` has the reason of each.
        """
        infos = [file.info for file in self]
        report = restore_files(
            self._at.vault,
            self._at.path,
            infos,
            root=Path(root).absolute(),
            replace=replace,
            progress=progress,
        )
        if report.failed:
            raise _failure(report)
        return report


def _failure(report: RestoreReport) -> HoldfastError:
    reasons = {result.info.name: result.error for result in report.failed if result.error is not None}
    [first, *_] = reasons.values()
    return type(first)(
        f"{len(reasons)} of {len(report.files)} files could not be restored, the first because: {first.message}",
        hint=first.hint,
        details={"failed": {name: error.message for name, error in reasons.items()}},
    )


def list_files(at: RunAt, names: str | Sequence[str] | None, pattern: str | None, per_page: int) -> Files:
    """See `holdfast.api.Run.files`."""
    if names is not None and pattern is not None:
        raise UsageError("files() takes either names or a pattern, not both.")
    if names is None or isinstance(names, str):
        return _matching(at, pattern if names is None else names, per_page)
    refs = [FileRef(name=name) for name in names]

    def fetch(_after: str | None) -> Page[File]:
        infos: list[FileInfo] = []
        for start in range(0, len(refs), _READ_MAX):
            infos += at.vault.get_files(at.path, refs[start : start + _READ_MAX])
        return Page([File(at, info) for info in infos], None)

    return Files(at, fetch)


def _matching(at: RunAt, pattern: str | None, per_page: int) -> Files:
    def fetch(after: str | None) -> Page[File]:
        page = at.vault.list_files(at.path, pattern=pattern, after=after, limit=per_page)
        return Page([File(at, info) for info in page.files], page.next)

    return Files(at, fetch)
