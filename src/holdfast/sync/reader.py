"""The safe reader: opens files that somebody may be writing, and tells whether what was read was a state of them.

**How it works.** `Reader.open` looks at the file (fstat) and refuses it at once where its rule does. The bytes are
then read through the one descriptor, and `Reading.verdict` looks again. What neither look can see, a second write
within one tick of a coarse clock, is excluded by refusing files written around the time of reading.

A file that is replaced or deleted while it is read still gives a state that it had, so that is stored; whoever
follows the path sees that it is another file now and stores that too.

**Invariants.** The bytes sent are the bytes hashed: the file is read once. Nothing but a regular file is read.
"""

from __future__ import annotations

import os
import stat
import time
from types import TracebackType
from typing import Self

from holdfast.content.formats import end_check
from holdfast.content.pieces import ReadAt
from holdfast.errors import HoldfastError, LocalFileError, StoredFileNotFoundError
from holdfast.protocol.messages import Fidelity
from holdfast.sync.jobs import Failed, Job, NotReady, ReadRule

WRITING = "still being written"
NOT_WHOLE = "not whole yet"
REWRITTEN = "rewritten"

_CLOCK_GUARD_NS = 20_000_000


class Reading:
    """A file open under a job's rule. Use as a context manager; close it after the verdict.

    Attributes:
        job: The job.
        rule: The rule that holds; SETTLED instead of the job's where ``expect`` was not met.
        size: How many bytes to read.
        fidelity: What the version may be called; `verdict` can lower it.
        info: The first look.
    """

    def __init__(self, job: Job, fd: int, info: os.stat_result, began_ns: int) -> None:
        self.job = job
        self.rule = job.rule
        self.fidelity = job.fidelity
        self.info = info
        self.size = info.st_size
        self._fd = fd
        self._began_ns = began_ns
        self._shrunk = False
        if job.expect is not None and job.expect != (info.st_size, info.st_mtime_ns):
            self.fidelity = Fidelity.LATER
            if self.rule is not ReadRule.ANYWAY:
                self.rule = ReadRule.SETTLED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def fill(self, view: memoryview, offset: int) -> int:
        """Read into all of ``view`` from ``offset``; return less only at the end of the file.

        Raises:
            LocalFileError: The disk failed.
        """
        done = 0
        try:
            while done < len(view) and (got := os.preadv(self._fd, [view[done:]], offset + done)):
                done += got
        except OSError as exc:
            raise _unreadable(self.job, exc) from exc
        if done < len(view) and offset + done < self.size:
            self._shrunk = True
            self.size = offset + done
        return done

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file. Raises `LocalFileError`."""
        try:
            data = os.pread(self._fd, length, offset)
            while len(data) < length and (more := os.pread(self._fd, length - len(data), offset + len(data))):
                data += more
        except OSError as exc:
            raise _unreadable(self.job, exc) from exc
        return data

    def end_verdict(self, read_at: ReadAt) -> str | None:
        """Return why the content cannot be whole by its format, or None where it is or nobody can tell.

        Args:
            read_at: Reads the content, from the file or from where it was read to.
        """
        if self.rule not in (ReadRule.SETTLED, ReadRule.ANYWAY) or end_check(self.size, read_at) is not False:
            return None
        return self._judge(NOT_WHOLE)

    def verdict(self) -> str | None:
        """Look again, after the last byte: return why what was read is not to be stored, or None if it is."""
        after = os.fstat(self._fd)
        if self.rule is ReadRule.PREFIX:
            return REWRITTEN if self._shrunk or after.st_size < self.info.st_size else None
        if self._shrunk or self._differs(after):
            return self._judge(WRITING)
        if self.rule is not ReadRule.PINNED and self._is_too_fresh():
            return self._judge(WRITING)
        return None

    def refuse_unsettled(self, *, quiet: bool) -> str | None:
        """Return why the file may not be read yet, by the first look, or None."""
        if self.rule in (ReadRule.SETTLED, ReadRule.ANYWAY) and not quiet:
            return self._judge(WRITING)
        return None

    def _judge(self, reason: str) -> str | None:
        if self.rule is not ReadRule.ANYWAY:
            return reason
        self.fidelity = Fidelity.UNSETTLED
        return None

    def _differs(self, after: os.stat_result) -> bool:
        before = self.info
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            return True
        # A pin that is made or removed changes ctime and the number of links, and no byte.
        linked = before.st_nlink != after.st_nlink
        return self.rule is not ReadRule.PINNED and not linked and before.st_ctime_ns != after.st_ctime_ns

    def _is_too_fresh(self) -> bool:
        first, last = self._began_ns - _CLOCK_GUARD_NS, time.time_ns() + _CLOCK_GUARD_NS
        return first <= self.info.st_mtime_ns <= last


class Reader:
    """Opens files for jobs. Not for use from several threads."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, ...], float]] = {}

    def open(self, job: Job) -> Reading | NotReady | Failed:
        """Open the job's file if its rule allows to read it now. The caller closes the reading."""
        began_ns = time.time_ns()
        try:
            # O_NONBLOCK: opening a FIFO must not wait for its writer.
            fd = os.open(job.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            return Failed(job, _unreadable(job, exc))
        reading = None
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                return Failed(job, LocalFileError(f"{job.path} is not a regular file."))
            opened = Reading(job, fd, info, began_ns)
            reason = opened.refuse_unsettled(quiet=self._is_quiet(job, info))
            if reason is not None:
                return NotReady(job, reason)
            reading = opened
            return reading
        finally:
            if reading is None:
                os.close(fd)

    def _is_quiet(self, job: Job, info: os.stat_result) -> bool:
        touched_ns = info.st_mtime_ns
        if info.st_nlink == 1:  # with more links, ctime tells when a pin was made
            touched_ns = max(touched_ns, info.st_ctime_ns)
        age_ns = time.time_ns() - touched_ns
        if age_ns >= job.quiet_s * 1e9:
            self._seen.pop(job.name, None)
            return True
        if age_ns >= 0:
            return False
        return self._is_quiet_by_watching(job, info)

    def _is_quiet_by_watching(self, job: Job, info: os.stat_result) -> bool:
        """Judge a file that claims to be from the future: the disk's clock is not ours, so time its looks."""
        look = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        now = time.monotonic()
        before, since = self._seen.get(job.name, (None, now))
        if before != look:
            self._seen[job.name] = (look, now)
            return job.quiet_s <= 0
        return now - since >= job.quiet_s


def _unreadable(job: Job, exc: OSError) -> HoldfastError:
    """Translate what the disk said."""
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return StoredFileNotFoundError(f"{job.path} is gone, so {job.name!r} cannot be stored.")
    return LocalFileError(f"{job.path} cannot be read: {exc.strerror or exc}.")
