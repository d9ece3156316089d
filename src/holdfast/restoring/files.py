"""Restoring files: from a run on a vault to files below a folder, each verified before it has its name.

**How it works.** Targets that have the right content already are left alone. For the rest, the places of all chunks are
asked for; chunks that a killed restore or the file to be replaced has are taken from the disk, hashed; the others are
fetched in a few large requests, verified one by one and written to part files at once, whatever file they belong to.
A file whose last chunk has come is hashed as a whole and published.

**Invariants**

- A file under its final name is complete, verified and durable.
- Nothing is written through a symbolic link, or outside the root.
- Nothing is written on the vault.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

from holdfast.content.hashing import Bytes
from holdfast.content.manifests import ChunkPlace, decode_places
from holdfast.errors import (
    CorruptContentError,
    HoldfastError,
    StoredFileNotFoundError,
    TargetExistsError,
    UsageError,
)
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef, LocateQuery
from holdfast.protocol.vault import Vault
from holdfast.restoring.fetch import Fetcher
from holdfast.restoring.folders import Folders, disk_error
from holdfast.restoring.local import Seed, Target, inspect_target, open_target
from holdfast.restoring.parts import Leftovers
from holdfast.restoring.plan import Frame, plan_requests
from holdfast.restoring.publish import Publisher
from holdfast.restoring.report import FileResult, Outcome, RestoreProgress, RestoreReport
from holdfast.restoring.task import FileTask
from holdfast.restoring.versions import refer
from holdfast.times import Which

_PAGE = 10_000
_BATCH_FILES = 10_000
_CUTTING_PAYS_FROM = 1 << 20

_MODES = {"rb": None, "br": None, "r": "utf-8", "rt": "utf-8"}

Use: TypeAlias = tuple[FileTask, int]


def select_files(vault: Vault, run: RunPath, patterns: Iterable[str] = ()) -> list[FileInfo]:
    """Return the newest versions of the files of a run that match any of the patterns, by name.

    Args:
        vault: Where the run is.
        run: The run.
        patterns: Globs over names as `Vault.list_files` takes them; a folder's name means all that is in it.
            None at all: every file.

    Raises:
        RunNotFoundError: There is no such run.
        StoredFileNotFoundError: A pattern matches nothing; the message names it.
    """
    patterns = list(patterns)
    if not patterns:
        return list(_listed(vault, run, None))
    found: dict[str, FileInfo] = {}
    for pattern in patterns:
        matches = list(_listed(vault, run, pattern)) or list(_listed(vault, run, pattern.rstrip("/") + "/**"))
        if not matches:
            raise StoredFileNotFoundError(
                f"The run {run} has no file that matches {pattern!r}.",
                hint=f"`holdfast ls {run}` lists them.",
            )
        found.update((info.name, info) for info in matches)
    return sorted(found.values(), key=lambda info: info.name)


def _listed(vault: Vault, run: RunPath, pattern: str | None) -> Iterator[FileInfo]:
    after = None
    while True:
        page = vault.list_files(run, pattern=pattern, after=after, limit=_PAGE)
        yield from page.files
        if page.next is None:
            return
        after = page.next


def restore_files(
    vault: Vault,
    run: RunPath,
    files: Iterable[FileInfo],
    *,
    root: Path,
    replace: bool = False,
    progress: RestoreProgress | None = None,
    on_file: Callable[[FileResult], None] | None = None,
) -> RestoreReport:
    """Restore versions of files of a run below a folder.

    A file that fails does not keep the others from being restored. Calling again goes on where a call that failed or
    was killed stopped. Several processes may restore to the same folder at once.

    Args:
        vault: Where the run is.
        run: The run.
        files: The versions, from `select_files` or `Vault.get_files`; one version a name.
        root: The folder that the names are relative to; made if it is not there. It may be a symbolic link, what
            is in it may not.
        replace: Overwrite targets with other content. A symbolic link is then replaced itself.
        progress: Counts while this runs.
        on_file: Called for each file when it is done, from any thread.

    Returns:
        What became of each file; the caller must look at ``failed``.

    Raises:
        LocalFileError: The root cannot be used.
        VaultUnavailableError: Before anything could be fetched.
    """
    with Folders(root) as folders:
        restore = _Restore(vault, run, folders, replace=replace, progress=progress, on_file=on_file)
        return restore.run({info.name: info for info in files}.values())


def restore_file(
    vault: Vault,
    run: RunPath,
    name: str,
    *,
    root: Path,
    replace: bool = False,
    version: Which | None = None,
    mode: str = "rb",
    progress: RestoreProgress | None = None,
) -> IO[Any]:
    """Restore one file of a run below a folder and open it for reading.

    Args:
        vault: Where the run is.
        run: The run.
        name: The file's name within the run.
        root: As for `restore_files`.
        replace: As for `restore_files`.
        version: The version, as `holdfast.restoring.versions.refer` takes it; None for the newest.
        mode: ``"rb"``, or ``"r"`` for text in UTF-8.
        progress: Counts while this runs.

    Returns:
        The open file; its ``name`` is the absolute path of the target.

    Raises:
        StoredFileNotFoundError: The run has no such file, or the file no such version.
        TargetExistsError: The target has other content and ``replace`` is False, or a folder or a symbolic link is
            in the way.
        CorruptContentError: The vault's copy is damaged. The target is as it was.
        VaultUnavailableError: The vault could not be reached, or went away; calling again goes on from there.
        LocalFileError: The disk is full, or the user may not write there.
    """
    if mode not in _MODES:
        raise UsageError(f"A file cannot be restored with mode {mode!r}.", hint='Use "rb", or "r" for text.')
    [info] = vault.get_files(run, [refer(name, version)])
    report = restore_files(vault, run, [info], root=root, replace=replace, progress=progress)
    [result] = report.files
    if result.error is not None:
        raise result.error
    return result.path.open(mode, encoding=_MODES[mode])


class _Restore:
    def __init__(
        self,
        vault: Vault,
        run: RunPath,
        folders: Folders,
        *,
        replace: bool,
        progress: RestoreProgress | None,
        on_file: Callable[[FileResult], None] | None,
    ) -> None:
        self._vault, self._run, self._folders, self._replace = vault, run, folders, replace
        self._progress = progress or RestoreProgress()
        self._on_file = on_file
        self._leftovers = Leftovers()
        self._report = RestoreReport()
        self._publisher = Publisher(folders, replace=replace, done=self._published)

    def run(self, files: Iterable[FileInfo]) -> RestoreReport:
        infos = list(files)
        self._progress.add(files_total=len(infos), bytes_total=sum(info.size for info in infos))
        tasks = [FileTask(self._folders, info) for info in infos if self._is_to_be_fetched(info)]
        for start in range(0, len(tasks), _BATCH_FILES):
            self._restore(tasks[start : start + _BATCH_FILES])
        self._report.bytes_fetched = self._progress.bytes_fetched
        self._report.bytes_reused = self._progress.bytes_reused
        return self._report

    # -- before

    def _is_to_be_fetched(self, info: FileInfo) -> bool:
        try:
            target = inspect_target(self._folders, info)
            if target is Target.OTHER and not self._replace:
                raise TargetExistsError(
                    f"{self._folders.root / info.name} exists with other content than {info.name} of the run."
                )
        except OSError as exc:  # ours among them: TargetExistsError is a FileExistsError
            self._note(info, Outcome.FAILED, disk_error(exc, self._folders.root / info.name))
            return False
        if target is Target.SAME:
            self._note(info, Outcome.UNCHANGED)
        return target is not Target.SAME

    def _locate(self, tasks: Sequence[FileTask]) -> tuple[bytes, list[str]]:
        """Give each task the places of its chunks; return the key of their ids and the packs they are in."""
        refs = [FileRef(name=task.info.name, version=task.info.version) for task in tasks]
        places: list[ChunkPlace] = []
        packs: list[str] = []
        start: int | None = 0
        key = b""
        while start is not None:
            found = self._vault.locate(self._run, LocateQuery(refs=refs, start=start))
            places += [place._replace(pack=place.pack + len(packs)) for place in decode_places(found.chunks)]
            packs += found.packs
            key, start = found.domain_key, found.next
        at = 0
        for task in tasks:
            left = task.info.size
            while left > 0 and at < len(places):
                task.places.append(places[at])
                left -= places[at].raw_len
                at += 1
            if left:
                task.fail(
                    CorruptContentError(f"The chunk list of {task.info.name} does not make up its size.")
                )
        return key, packs

    # -- while

    def _restore(self, tasks: Sequence[FileTask]) -> None:
        key, packs = self._locate(tasks)
        try:
            frames = self._plan(tasks, key, packs)
            fetcher = Fetcher[Use](
                *(self._vault, self._run, key),
                deliver=self._deliver,
                give_up=self._give_up,
                is_wanted=lambda frame: any(task.error is None for task, _ in frame.uses),
            )
            fetcher.fetch(plan_requests(frames))
        except HoldfastError as exc:
            for task in tasks:
                task.interrupt(exc)
        finally:
            self._publisher.flush()
            self._clear_up(tasks)

    def _plan(self, tasks: Sequence[FileTask], key: bytes, packs: Sequence[str]) -> list[Frame[Use]]:
        frames: dict[bytes, Frame[Use]] = {}
        for task in tasks:
            if task.error is not None:
                continue
            try:
                missing = self._take_local(task, key)
            except OSError as exc:
                task.fail(disk_error(exc, task.path))
                continue
            for offset, place in missing:
                frame = frames.get(place.id)
                if frame is None:
                    frame = Frame(place.id, place.raw_len, packs[place.pack], place.offset, place.frame_len)
                    frames[place.id] = frame
                frame.uses.append((task, offset))
            task.expect(missing)
            if not missing:
                self._complete(task)
        return list(frames.values())

    def _take_local(self, task: FileTask, key: bytes) -> list[tuple[int, ChunkPlace]]:
        """Return the chunks that neither the part of a killed restore nor the file to be replaced has."""
        missing = list(_with_offsets(task.places))
        if task.part.adopt(self._leftovers):
            fd = task.part.open()
            try:
                part = Seed(fd, key)
                missing = [item for item in missing if part.at(item[0], item[1].id, item[1].raw_len) is None]
            finally:
                os.close(fd)
        if self._replace and missing:
            missing = self._copy_from_target(task, key, missing)
        reused = task.info.size - sum(place.raw_len for _, place in missing)
        self._progress.add(bytes_done=reused, bytes_reused=reused)
        return missing

    def _copy_from_target(
        self, task: FileTask, key: bytes, missing: list[tuple[int, ChunkPlace]]
    ) -> list[tuple[int, ChunkPlace]]:
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(self._folders.hold(task.part.parts))
                fd = stack.enter_context(open_target(folder, task.part.target))
            except FileNotFoundError:
                return missing
            if fd is None:
                return missing
            seed = Seed(fd, key)
            missing = _copy(task, missing, seed.at)
            if sum(place.raw_len for _, place in missing) >= _CUTTING_PAYS_FROM:
                seed.cut()
                missing = _copy(task, missing, lambda _, id_, length: seed.anywhere(id_, length))
        return missing

    def _deliver(self, frame: Frame[Use], data: Bytes) -> None:
        self._progress.add(bytes_fetched=frame.length)
        for task, offset in frame.uses:
            if task.write(offset, data):
                self._complete(task)
            self._progress.add(bytes_done=len(data))

    def _give_up(self, frame: Frame[Use], error: HoldfastError) -> None:
        for task, _ in frame.uses:
            task.fail(
                type(error)(f"{task.info.name} cannot be restored: {error.message}", details=error.details)
            )

    def _complete(self, task: FileTask) -> None:
        if task.complete():
            self._publisher.add(task)

    # -- after

    def _published(self, task: FileTask, error: HoldfastError | None) -> None:
        if isinstance(error, TargetExistsError) and self._appeared_the_same(task):
            task.part.discard()
            self._note(task.info, Outcome.UNCHANGED)
        elif error is not None:
            task.fail(error)
            return
        else:
            self._note(task.info, Outcome.RESTORED)
        task.is_published = True

    def _appeared_the_same(self, task: FileTask) -> bool:
        """Tell whether another restore of the same file was faster."""
        try:
            return inspect_target(self._folders, task.info) is Target.SAME
        except OSError:
            return False

    def _clear_up(self, tasks: Sequence[FileTask]) -> None:
        """Report what failed; leave what can be gone on with to the next restore, and remove the rest."""
        for task in tasks:
            if task.is_published:
                continue
            if task.has_failed:
                task.part.discard()
            else:
                task.part.abandon()
            if task.error is not None:
                self._note(task.info, Outcome.FAILED, task.error)

    def _note(self, info: FileInfo, outcome: Outcome, error: HoldfastError | None = None) -> None:
        result = FileResult(info, self._folders.root / info.name, outcome, error)
        self._report.files.append(result)
        self._progress.add(files_done=1, bytes_done=info.size if outcome is Outcome.UNCHANGED else 0)
        if self._on_file is not None:
            self._on_file(result)


def _with_offsets(places: Iterable[ChunkPlace]) -> Iterator[tuple[int, ChunkPlace]]:
    offset = 0
    for place in places:
        yield offset, place
        offset += place.raw_len


def _copy(
    task: FileTask,
    missing: list[tuple[int, ChunkPlace]],
    find: Callable[[int, bytes, int], bytes | None],
) -> list[tuple[int, ChunkPlace]]:
    """Write to the part what a seed has, and return what it has not."""
    rest = []
    for offset, place in missing:
        data = find(offset, place.id, place.raw_len)
        if data is None:
            rest.append((offset, place))
        else:
            task.part.write(offset, data)
    return rest
