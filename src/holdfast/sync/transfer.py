"""One pass over some files: reads, hashes, asks, packs, sends and publishes, all at the same time.

**How it works.** The caller's thread cuts what another thread reads ahead of it. Two workers hash the pieces, ask the vault for them and pack what
it lacks; one thread computes the digests of large files; senders send full packs (`packing`); one thread commits. What
the workers return is taken up in the order of reading. Versions are published in groups: when enough have come together,
or after two seconds, whatever is packed is sent and, once acknowledged, committed.

**Invariants**

- A group is committed only after every pack under way at its making is acknowledged, so all that its versions refer
  to is there; where it is not (`ChunkMissingError`), its files are read and sent once more.
- Versions of one name are committed in the order of their jobs.
- When a pass ends, however it ends, its threads have ended and its files are closed.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from holdfast.content.splitters import Splitter, TailSplitter, choose_splitter
from holdfast.errors import (
    ChunkMissingError,
    InvalidNameError,
    LocalFileError,
    StoredFileNotFoundError,
)
from holdfast.names import check_file_name
from holdfast.protocol.messages import CommitResult
from holdfast.sync.batch import Batch, reads_from
from holdfast.sync.jobs import Done, Failed, Job, NotReady, Outcome, Progress, ReadRule
from holdfast.sync.limit import Limit
from holdfast.sync.packing import Packer
from holdfast.sync.prefix import NOTHING, Grown, Prefixes, whole_records_end
from holdfast.sync.reader import REWRITTEN, WRITING, Reader, Reading
from holdfast.sync.session import Session
from holdfast.sync.stream import Part, Stream
from holdfast.sync.tally import Tally
from holdfast.sync.versions import Ready
from holdfast.sync.windows import WINDOW_BYTES, WindowPool

_WORKERS = 2
_PARTS_AHEAD = 2
_BATCH_FILES = 4096
_GROUP_VERSIONS = 5000
_GROUP_MANIFEST_BYTES = 4 << 20
_GROUP_SECONDS = 2.0
_GROUPS_AHEAD = 2
_RESENDS = 1
_SURELY_NEW_BYTES = 256 << 10


class _Step(NamedTuple):
    """Work under way, and who takes its result."""

    future: Future[Any]
    take: Callable[[Any], None]


class _Group(NamedTuple):
    """Versions on their way to be published."""

    versions: list[Ready]
    future: Future[CommitResult]


class Transfer:
    """One pass. Use `run` once.

    Args:
        session: Where to store.
        reader: Opens files.
        prefixes: What is known of files that grow.
        limit: How many packs may be on their way.
        progress: Counts.
    """

    def __init__(
        self, session: Session, reader: Reader, prefixes: Prefixes, limit: Limit, progress: Progress
    ) -> None:
        self._session = session
        self._reader = reader
        self._prefixes = prefixes
        self._tally = Tally(progress)
        self._packer = Packer(session, limit, held=self._tally.held, sent=progress.sent)
        self._pool = WindowPool()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="holdfast-read")
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="holdfast-pack")
        self._digests = ThreadPoolExecutor(1, thread_name_prefix="holdfast-digest")
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="holdfast-commit")
        self._steps: deque[_Step] = deque()
        self._batch: Batch | None = None
        self._ready: list[Ready] = []
        self._ready_since = 0.0
        self._groups: deque[_Group] = deque()
        self._again: list[Job] = []
        self._resent: Counter[int] = Counter()

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Store the files and yield what became of each; see `holdfast.sync.upload.Uploader.store`."""
        todo = list(jobs)
        try:
            while todo:
                for job in todo:
                    yield from self._take(job)
                    yield from self._advance()
                yield from self._drain()
                todo, self._again = self._again, []
        finally:
            self._close()

    def _close(self) -> None:
        self._packer.stop()
        for threads in (self._ahead, self._workers, self._digests, self._committer):
            threads.shutdown(wait=True, cancel_futures=True)
        self._packer.close()
        self._pool.close()
        self._tally.close()

    # -- reading, in the caller's thread

    def _take(self, job: Job) -> Iterator[Outcome]:
        if self._tally.is_under_way(job.name):
            yield from self._drain()
        try:
            check_file_name(job.name)
        except InvalidNameError as exc:
            yield Failed(job, exc)
            return
        opened = self._reader.open(job)
        if not isinstance(opened, Reading):
            yield opened
            return
        self._tally.began(job.name)
        with opened as reading:
            outcome = yield from self._read(reading)
        if outcome is not None:
            self._tally.ended(job.name, stored_bytes=outcome.size if isinstance(outcome, Done) else None)
            yield outcome

    def _read(self, reading: Reading) -> Generator[Outcome, None, Outcome | None]:
        """Read a file on its way to a version; return an outcome if there will be none."""
        if reading.rule is ReadRule.PREFIX:
            return (yield from self._read_growing(reading))
        self._prefixes.forget(reading.job.name)
        try:
            if reading.size <= WINDOW_BYTES:
                return self._read_small(reading)
            if reason := reading.end_verdict(reading.read_at):
                return NotReady(reading.job, reason)
            splitter = choose_splitter(reading.size, reading.read_at)
        except (LocalFileError, StoredFileNotFoundError) as exc:
            return Failed(reading.job, exc)
        return (yield from self._read_stream(reading, splitter, NOTHING, ask=True))

    def _read_small(self, reading: Reading) -> Outcome | None:
        if self._batch is None or not self._batch.has_room(reading.size):
            self._dispatch()
            self._batch = Batch(self._pool.take())
        room = self._batch.room(reading.size)
        data = room[: reading.fill(room, 0)]
        if reason := reading.end_verdict(reads_from(data)) or reading.verdict():
            return NotReady(reading.job, reason)
        self._batch.keep(reading, data)
        if len(self._batch) >= _BATCH_FILES:
            self._dispatch()
        return None

    def _read_growing(self, reading: Reading) -> Generator[Outcome, None, Outcome | None]:
        job = reading.job
        splitter: Splitter
        try:
            base = NOTHING if self._resent[id(job)] else self._prefixes.stored_part(reading)
            if base is None:
                return NotReady(job, REWRITTEN)
            end = whole_records_end(reading, base.size, WINDOW_BYTES)
            if base is not NOTHING and end == base.size:
                info = reading.info
                return Done(
                    job,
                    base.version,
                    False,
                    base.digest,
                    base.size,
                    info.st_mtime_ns,
                    info.st_ino,
                    job.fidelity,
                )
            if end == 0 < reading.size:
                return NotReady(job, WRITING)
            reading.size = end
            if base is NOTHING:
                splitter = choose_splitter(end, reading.read_at)
            else:
                splitter = TailSplitter((), self._session.upload.domain_key)
        except (LocalFileError, StoredFileNotFoundError) as exc:
            return Failed(job, exc)
        ask = base is NOTHING or end - base.size >= _SURELY_NEW_BYTES
        return (yield from self._read_stream(reading, splitter, base, ask=ask))

    def _read_stream(
        self, reading: Reading, splitter: Splitter, base: Grown, *, ask: bool
    ) -> Generator[Outcome, None, Outcome | None]:
        stream = Stream(reading, splitter, base, self._session.upload.domain_key)
        with closing(stream.parts(self._pool, self._ahead)) as parts:
            while True:
                try:
                    part = next(parts, None)
                except LocalFileError as exc:
                    return Failed(reading.job, exc)
                if part is None:
                    break
                self._submit_part(stream, part, ask=ask)
                yield from self._advance()
        if reason := reading.verdict():
            return NotReady(reading.job, reason)
        digest = self._digests.submit(stream.hasher.digest)
        self._steps.append(
            _Step(
                digest,
                lambda value: self._add_ready([stream.seal(self._session, self._packer, value, ask=ask)]),
            )
        )
        return None

    # -- the workers

    def _submit_part(self, stream: Stream, part: Part, *, ask: bool) -> None:
        part.window.hold()
        self._digests.submit(stream.hasher.update, part.data).add_done_callback(
            lambda _: part.window.release()
        )
        future = self._workers.submit(part.store, self._session, self._packer, ask=ask)
        future.add_done_callback(lambda _: part.window.release())
        self._steps.append(_Step(future, stream.absorb))

    def _dispatch(self) -> None:
        """Give the batch of small files, if there is one, to the workers."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        future = self._workers.submit(batch.store, self._session, self._packer)
        future.add_done_callback(lambda _: batch.window.release())
        self._steps.append(_Step(future, self._add_ready))

    def _take_results(self, ahead: int) -> None:
        """Take up what the workers returned, waiting until at most so many steps are under way."""
        while self._steps and (len(self._steps) > ahead or self._steps[0].future.done()):
            step = self._steps.popleft()
            step.take(step.future.result())

    def _add_ready(self, versions: list[Ready]) -> None:
        if not self._ready:
            self._ready_since = time.monotonic()
        self._ready += versions

    # -- publishing

    def _advance(self) -> Iterator[Outcome]:
        """Move everything on that can move without waiting, and publish if it is time."""
        self._take_results(_PARTS_AHEAD)
        if self._is_time_to_publish():
            yield from self._publish()
        yield from self._take_published(ahead=_GROUPS_AHEAD)

    def _drain(self) -> Iterator[Outcome]:
        """Publish everything that was read, and wait for it."""
        self._dispatch()
        yield from self._publish()
        yield from self._take_published(ahead=0)

    def _is_time_to_publish(self) -> bool:
        return bool(self._ready) and (
            len(self._ready) >= _GROUP_VERSIONS
            or time.monotonic() - self._ready_since >= _GROUP_SECONDS
            or sum(len(version.entry.manifest) for version in self._ready) >= _GROUP_MANIFEST_BYTES
        )

    def _publish(self) -> Iterator[Outcome]:
        # What is under way may have claimed chunks that these versions refer to.
        self._take_results(0)
        versions, self._ready = self._ready, []
        if versions:
            yield from self._take_published(ahead=_GROUPS_AHEAD - 1)
            packs = self._packer.flush()
            self._groups.append(_Group(versions, self._committer.submit(self._commit, versions, packs)))

    def _commit(self, versions: Sequence[Ready], packs: Sequence[Future[None]]) -> CommitResult:
        for pack in packs:
            pack.result()
        return self._session.commit([version.entry for version in versions])

    def _take_published(self, ahead: int) -> Iterator[Outcome]:
        while self._groups and (len(self._groups) > ahead or self._groups[0].future.done()):
            group = self._groups.popleft()
            try:
                result = group.future.result()
            except ChunkMissingError as exc:
                yield from self._resend(group, exc)
                continue
            for version, committed in zip(group.versions, result.versions, strict=True):
                yield self._done(version, committed.version, created=committed.created)

    def _done(self, version: Ready, number: int, *, created: bool) -> Done:
        reading, entry = version.reading, version.entry
        if version.grown is not None:
            self._prefixes.remember(reading.job.name, version.grown, number)
        self._tally.ended(reading.job.name, stored_bytes=entry.size)
        return Done(
            job=reading.job,
            version=number,
            created=created,
            digest=entry.digest,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
            ino=reading.info.st_ino,
            fidelity=entry.fidelity,
        )

    def _resend(self, group: _Group, error: ChunkMissingError) -> Iterator[Outcome]:
        """Read the files of a refused group once more, since the vault lost what it had said it held."""
        self._packer.forget()
        for version in group.versions:
            job = version.reading.job
            self._tally.ended(job.name, stored_bytes=None)
            self._resent[id(job)] += 1
            if self._resent[id(job)] > _RESENDS:
                yield Failed(job, error)
            else:
                self._again.append(job)
