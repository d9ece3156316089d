"""Removing local files that were saved with ``keep_local="until_stored"``, once the vault has them.

**How it works.** What is stored, quiet and wished away is hashed by a thread of its own. If the hash is that of the stored
version, the follower's thread takes the file away: it renames it to a name of our own beside it, looks whether that is the
very file that was hashed and nobody has it open for writing, and then removes it; else it gives the name back. So a file
that the training puts in its place in that moment is never the one that goes.

**Invariants.** A file goes only after the sync log says that its bytes are stored. A save that wants the file to be kept, of the
same file under whatever name, wins. What a kill left under our name is given back first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from holdfast.content.hashing import ContentHasher
from holdfast.protocol.messages import Fidelity
from holdfast.rundir.facts import Removed, Stored
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.processes import writers_of
from holdfast.sync.ledger import Ledger
from holdfast.sync.state import FileState, RunState
from holdfast.sync.watch import PART_SUFFIX, Signature
from holdfast.sync.workers import Idle, Report, Worker

log = logging.getLogger(__name__)

LOOK_S = 0.5
_RETRY_S = 5.0
_BLOCK_BYTES = 4 << 20
_BATCH_FILES = 200
_BATCH_BYTES = 1 << 30
_COST = 100


@dataclass(frozen=True, slots=True)
class _Target:
    """A file that may go, if its content is what is stored."""

    name: str
    path: str
    seen: Signature
    stored: Stored


class Remover:
    """Removes the local files of one run that are not wanted any more. For the follower's thread.

    Args:
        directory: The run directory.
        state: What its logs say.
        ledger: Where it is noted what was removed.
        reports: Where the hashing thread reports; whoever reads it hands reports on to `take`.
        pulse: Called before a file is removed: raises if that is not ours to do any more.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        state: RunState,
        ledger: Ledger,
        reports: SimpleQueue[Report],
        pulse: Callable[[], None],
    ) -> None:
        self.worker = Worker("holdfast-remover", reports)
        self._directory = directory
        self._state = state
        self._ledger = ledger
        self._pulse = pulse
        self._is_ending = False
        self._next_look = 0.0
        self._claimed: set[str] = set()
        self._claimed_of = -1
        self._put_off: dict[str, float] = {}
        self._hopeless: dict[str, Signature] = {}
        """Files that stay as they are now."""

    def begin_ending(self) -> None:
        """The run is over: what cannot go now stays."""
        self._is_ending = True
        self._put_off.clear()
        self._next_look = 0.0

    def turn(self, now: float) -> None:
        """Look for files that may go, if it is time, and let them be hashed."""
        if self.worker.is_busy or now < self._next_look or not self._state.may_remove:
            return
        if not self._ledger.is_written:  # what is stored and not in the log yet may be asked for again
            return
        targets = self._targets(now)
        took = time.monotonic() - now
        self._next_look = now if targets else now + max(LOOK_S, _COST * took)
        if targets:
            self.worker.give(lambda: ((target, _digest(target)) for target in targets))

    def is_done(self) -> bool:
        """Tell whether nothing may go any more, as things are."""
        if not self._state.may_remove:
            return True
        return not self.worker.is_busy and not self._targets(time.monotonic())

    def take(self, report: Report) -> bool:
        """Take in a report of the hashing thread; False: it is not from there."""
        if report.worker is not self.worker:
            return False
        if isinstance(report.item, Idle):
            self.worker.is_busy = False
            return True
        target, digest = report.item
        if digest is None or digest.hex() != target.stored.digest:
            self._hopeless[target.path] = target.seen
        else:
            self._remove(target)
        return True

    def give_back(self) -> None:
        """Give the files their names back that a syncer which was killed was about to remove."""
        for file in self._state.files.values():
            if file.path is not None and self._state.may_go(file):
                part = self._part(file.path)
                if os.path.lexists(part):
                    with contextlib.suppress(OSError):  # its disk refuses; the next syncer tries again
                        _give_back(part, file.path)

    def _targets(self, now: float) -> list[_Target]:
        """Return some files that may go, if their content is what is stored."""
        self._claim()
        targets: list[_Target] = []
        size = 0
        for file in self._state.files.values():
            target = self._target(file, now)
            if target is None or os.path.realpath(target.path) in self._claimed:
                continue
            targets.append(target)
            size += target.seen.size
            if len(targets) >= _BATCH_FILES or size >= _BATCH_BYTES:
                break
        return targets

    def _target(self, file: FileState, now: float) -> _Target | None:
        path, stored = file.path, file.stored
        if (
            path is None
            or stored is None
            or file.open
            or stored.grown
            or stored.fidelity == Fidelity.UNSETTLED
        ):
            return None
        if path.startswith(f"{self._directory.pins}/") or self._put_off.get(path, 0.0) > now:
            return None
        seen = _look(path)
        if seen is None or self._hopeless.get(path) == seen or seen not in _known(file, stored):
            return None
        return _Target(file.name, path, seen, stored) if self._state.may_go(file) else None

    def _claim(self) -> None:
        """Find out which files must stay: some save wants that, or is not fulfilled yet, whatever path it knows them by."""
        self._claimed_of = self._state.saves
        self._claimed = {
            os.path.realpath(file.path)
            for file in self._state.files.values()
            if file.path is not None and (file.open or not self._state.may_go(file))
        }

    def _remove(self, target: _Target) -> None:
        if self._claimed_of != self._state.saves:
            self._claim()
        stored = self._state.file(target.name).stored
        if stored != target.stored or os.path.realpath(target.path) in self._claimed:
            return
        self._pulse()
        try:
            is_gone = self._take_away(target)
        except OSError as exc:
            log.warning("%s is stored and cannot be removed: %s", target.path, exc)
            self._hopeless[target.path] = target.seen
            return
        if is_gone:
            self._ledger.note(Removed(target.name, target.path, target.seen.size, target.stored.version))
        elif self._is_ending:
            self._hopeless[target.path] = target.seen
        else:
            self._put_off[target.path] = time.monotonic() + _RETRY_S

    def _take_away(self, target: _Target) -> bool:
        if not _is_free(target.path, is_ending=self._is_ending):
            return False
        part = self._part(target.path)
        os.rename(target.path, part)  # noqa: PTH104 - names that are not valid Unicode stay what they are
        if _look(part) != target.seen or not _is_free(part, is_ending=self._is_ending):
            _give_back(part, target.path)
            return False
        os.unlink(part)  # noqa: PTH108 - as above
        self._unlink(target)
        return True

    def _unlink(self, target: _Target) -> None:
        """Remove the link in ``run.dir``, which leads nowhere now."""
        place = self._directory.files / target.name
        with contextlib.suppress(OSError):
            if str(place.readlink()) == target.path:
                place.unlink()

    def _part(self, path: str) -> str:
        opened = self._state.opened
        assert opened is not None
        return f"{path}.{opened.attempt[:8]}{PART_SUFFIX}"


def _known(file: FileState, stored: Stored) -> set[Signature]:
    """Return how the file looked when the bytes of the stored version were in it."""
    known = {Signature(stored.size, stored.mtime_ns, stored.ino)}
    saves = (save.file for save in file.fulfilled[-1:])
    return known | {Signature(item.size, item.mtime_ns, item.ino) for item in saves}


def _look(path: str) -> Signature | None:
    """Return the signature of a regular file; None for anything else, links too: a link of the user's own stays."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return Signature(found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _digest(target: _Target) -> bytes | None:
    """Return the hash of a file; None if it changed or cannot be read."""
    whole = ContentHasher()
    try:
        fd = os.open(target.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            at = 0
            while data := os.pread(fd, _BLOCK_BYTES, at):
                whole.update(data)
                at += len(data)
        finally:
            os.close(fd)
    except OSError:
        return None
    return whole.digest() if _look(target.path) == target.seen else None


def _is_free(path: str, *, is_ending: bool) -> bool:
    """Tell whether no process has a file open for writing.

    Linux knows: it grants a read lease on a file only then. Where it cannot tell (network disks), a file is free once the
    run is over and no process of this machine has it open.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)  # whose default is to do nothing
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (AttributeError, OSError):
        found = os.fstat(fd)
        return is_ending and writers_of({(found.st_dev, found.st_ino): path}) is None
    finally:
        os.close(fd)
    return True


def _give_back(part: str, path: str) -> None:
    """Give a file its name again, unless another has it by now."""
    try:
        os.link(part, path, follow_symlinks=False)
    except FileExistsError:
        pass  # what was put there since is the file; this one would have been replaced by it
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if not os.path.lexists(path):
            Path(part).rename(path)
            return
    os.unlink(part)  # noqa: PTH108 - names that are not valid Unicode stay what they are
