"""Projects and runs as the vault has them."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.api.files import File, Files, RunAt, list_files
from holdfast.api.history import as_frame, read_history, sample
from holdfast.api.pages import Pages
from holdfast.api.uploading import name_below, upload
from holdfast.errors import MalformedContentError, StoredFileNotFoundError
from holdfast.protocol.messages import FileRef, ProjectInfo, RunInfo, RunUpdate
from holdfast.restoring.report import RestoreReport
from holdfast.restoring.versions import refer
from holdfast.times import Which, at_utc

METADATA = "metadata.json"
_FILES_PAGE = 1000
_EDITABLE = ("name", "notes", "tags", "group", "config", "summary")


class Run:
    """A run as the vault has it.

    What can be edited (``name``, ``notes``, ``tags``, ``group``, ``config``, ``summary``) is edited on this object and
    sent by `update`. Everything else is as of when the run was read; `load` reads it again.

    Attributes:
        id: The run id.
        name: The display name.
        notes: Notes.
        tags: Tags.
        group: The group, or None.
        config: The config, as a dictionary.
        summary: The summary, as a dictionary.
        info: All that the vault said of the run when it was read.
    """

    id: str
    name: str
    notes: str
    tags: list[str]
    group: str | None
    config: dict[str, Any]
    summary: dict[str, Any]

    def __init__(self, at: RunAt, info: RunInfo) -> None:
        self._at = at
        self._take(info)

    def __repr__(self) -> str:
        return f"<Run {self._at.path} ({self.state})>"

    def _take(self, info: RunInfo) -> None:
        self.info = info
        self.id = info.run_id
        for name in _EDITABLE:
            setattr(self, name, copy.deepcopy(getattr(info, name)))

    # -- facts

    @property
    def entity(self) -> str:
        return self.info.entity

    @property
    def project(self) -> str:
        return self.info.project

    @property
    def path(self) -> str:
        """``entity/project/run_id``."""
        return str(self._at.path)

    @property
    def state(self) -> str:
        """running, finished, failed or crashed."""
        return str(self.info.state)

    @property
    def job_type(self) -> str | None:
        return self.info.job_type

    @property
    def user(self) -> str:
        """Who made the run."""
        return self.info.user

    @property
    def attempts(self) -> int:
        """How often it was begun: once, and once more each time it was resumed."""
        return self.info.attempts

    @property
    def step(self) -> int | None:
        """The last step that was logged."""
        return self.info.step

    @property
    def created_at(self) -> datetime:
        """When it began, in UTC."""
        return at_utc(self.info.created_at)

    @property
    def heartbeat_at(self) -> datetime:
        """When the vault last heard of it, in UTC."""
        return at_utc(self.info.heartbeat_at)

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, in UTC; None while it runs."""
        return None if self.info.ended_at is None else at_utc(self.info.ended_at)

    @property
    def exit_code(self) -> int | None:
        return self.info.exit_code

    @property
    def file_count(self) -> int:
        return self.info.file_count

    @property
    def size(self) -> int:
        """The bytes of all its files at their newest versions."""
        return self.info.size_bytes

    @property
    def url(self) -> str | None:
        """The run's page; None without a server."""
        base, path = self._at.base_url, self._at.path
        return None if base is None else f"{base}/{path.entity}/{path.project}/runs/{path.run_id}"

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What was recorded of host, program and code (``metadata.json``); None if nothing was.

        Raises:
            MalformedContentError: The file is not JSON.
        """
        try:
            text = self.file(METADATA).read()
        except StoredFileNotFoundError:
            return None
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError as exc:
            raise MalformedContentError(f"{METADATA} of the run {self.path} is not JSON.") from exc
        return found

    # -- changing

    def update(self) -> None:
        """Send what was edited on this object; the rest of the run stays as it is on the vault.

        While the run is under way its training process goes on replacing the config and the summary by its own.
        """
        edited = {
            name: getattr(self, name) for name in _EDITABLE if getattr(self, name) != getattr(self.info, name)
        }
        edited.update({name: "" for name in ("notes", "group") if name in edited and edited[name] is None})
        if edited:
            self._take(self._at.vault.update_run(self._at.path, RunUpdate(**edited)))

    def load(self) -> Run:
        """Read the run again, dropping what was edited and not sent; return it."""
        self._take(self._at.vault.get_run(self._at.path))
        return self

    # -- files

    def files(
        self,
        names: str | Sequence[str] | None = None,
        pattern: str | None = None,
        per_page: int = _FILES_PAGE,
    ) -> Files:
        """Return the files of the run at their newest versions, by name; they are fetched as they are asked for.

        Args:
            names: A list of names: those files, in that order, an absent one being an error. As a text the same
                as ``pattern``.
            pattern: A glob over names: ``*`` and ``?`` stop at ``/``, ``**`` does not.
            per_page: How many are asked for at once.

        Raises:
            UsageError: Names and a pattern were given.
        """
        return list_files(self._at, names, pattern, per_page)

    def file(self, name: str, version: Which | None = None) -> File:
        """Return one file.

        Args:
            name: Its name.
            version: Its number, or a time (a `datetime.datetime`, or ISO 8601 as text; without a zone it is this
                machine's) for the version that was the newest then; None: the newest.

        Raises:
            StoredFileNotFoundError: The run has no such file, or the file no such version.
        """
        return self._at.file(refer(name, version))

    def download(
        self, root: str | os.PathLike[str] = ".", *, pattern: str | None = None, replace: bool = False
    ) -> RestoreReport:
        """Restore the files of the run, or those that match a pattern, below a folder; see `Files.download`."""
        return self.files(pattern=pattern).download(root, replace)

    def upload_file(
        self, path: str | os.PathLike[str], root: str | os.PathLike[str] = ".", *, name: str | None = None
    ) -> File:
        """Add a local file to the run, also to one that has ended. It is durable when this returns.

        A file that is being written is waited for, at most ten seconds; what does not come to rest is stored as it is,
        with the fidelity ``unsettled``.

        Args:
            path: The file.
            root: The folder that its name within the run is relative to.
            name: The name within the run, instead.

        Returns:
            The file at its new version (or at the newest, if that has the same content).

        Raises:
            UsageError: The file does not lie below ``root``.
            StoredFileNotFoundError: There is no such local file.
            LocalFileError: It cannot be read.
            VaultFullError: The vault's disk is (nearly) full.
        """
        done = upload(self._at, Path(path), name or name_below(Path(path), Path(root)))
        return self._at.file(FileRef(name=done.job.name, version=done.version))

    # -- history

    def history(
        self, samples: int | None = None, keys: Sequence[str] | None = None, *, pandas: bool = False
    ) -> Any:
        """Return what was logged, one row a step, ordered by step.

        What one step got from several calls, or from a later attempt of a resumed run, is one row with the last values.

        Args:
            samples: At most so many rows, at even distances; None: all.
            keys: Only rows that have all of these, and of them only these (with ``_step``).
            pandas: Return a DataFrame.

        Returns:
            A list of dictionaries.

        Raises:
            UsageError: ``pandas`` is asked for and not installed.
            MalformedContentError: ``history.jsonl`` is not what `log` writes.
        """
        rows = sample(read_history(self._at, keys), samples)
        return as_frame(rows) if pandas else rows

    def scan_history(
        self, keys: Sequence[str] | None = None, *, min_step: int | None = None, max_step: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of `history` from ``min_step`` up to, but not including, ``max_step``."""
        for row in read_history(self._at, keys):
            if (min_step is None or row["_step"] >= min_step) and (
                max_step is None or row["_step"] < max_step
            ):
                yield row


class Project:
    """A project as the vault has it."""

    def __init__(self, info: ProjectInfo, runs: Callable[[str], Pages[Run]]) -> None:
        self.info = info
        self._runs = runs

    def __repr__(self) -> str:
        return f"<Project {self.path}>"

    @property
    def name(self) -> str:
        return self.info.project

    @property
    def entity(self) -> str:
        return self.info.entity

    @property
    def path(self) -> str:
        """``entity/project``."""
        return f"{self.info.entity}/{self.info.project}"

    @property
    def run_count(self) -> int:
        return self.info.run_count

    @property
    def created_at(self) -> datetime:
        """When its first run began to be stored, in UTC."""
        return at_utc(self.info.created_at)

    def runs(self) -> Pages[Run]:
        """Return its runs, the newest first."""
        return self._runs(self.path)
