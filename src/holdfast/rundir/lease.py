"""The lease: which syncer holds a run directory. Needs no file lock, so it holds on network disks.

**How it works.** Holders are numbered. The file ``syncer.lease.<number>`` of the greatest number says who holds the
directory. Who wants it next judges that holder; if it has let go or is dead, he makes the file of the next number
with ``O_EXCL`` and looks again: he holds the directory if his number is the greatest. Then he removes the lesser
ones. A holder rewrites its file in place every `BEAT_S` seconds with a greater beat; it checks before each commit
that its number is still the greatest, and stops when not.

A holder of this machine's boot and pid namespace is dead when its process is gone. Of any other it is only known
that its beat stands still: it is taken for dead after `STALE_S` seconds by the clock of who watches.

**Invariants.**

- The file of the greatest number is never removed; so numbers only grow, and each is given once as long as it counts.
- A holder writes to no lease file but its own, by the descriptor that made it. One that was paused, passed over and
  woke again can therefore do no harm to the lease of the next.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.errors import DirectoryBusyError, LocalFileError
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.processes import boot_name, host_name, process_is_alive, process_start
from holdfast.rundir.records import decode_line, encode_record

log = logging.getLogger(__name__)

BEAT_S = 2.0
STALE_S = 20.0
_RECENT_S = 60.0
_FILE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a run directory, as its lease file says."""

    token: str
    host: str
    boot: str
    pid: int
    pid_started: float
    beat: int = 0
    released: bool = False

    @classmethod
    def here(cls) -> Holder:
        """Return this process as a new holder."""
        return cls(
            token=secrets.token_hex(16),
            host=host_name(),
            boot=boot_name(),
            pid=os.getpid(),
            pid_started=process_start(os.getpid()) or 0.0,
        )

    def is_near(self, other: Holder) -> bool:
        """Tell whether both are processes of one machine that can see each other."""
        return (self.host, self.boot) == (other.host, other.boot)


class Lease:
    """The right of this process to be the syncer of a run directory. Get one with `acquire_lease`."""

    def __init__(self, directory: RunDirectory, number: int, holder: Holder, fd: int) -> None:
        self._directory = directory
        self._number = number
        self._holder = holder
        self._fd = fd
        self._next_beat = 0.0

    @property
    def token(self) -> str:
        return self._holder.token

    def is_held(self) -> bool:
        """Tell whether this process still holds the directory: False once another was given it.

        Raises:
            LocalFileError: The disk does not answer.
        """
        try:
            return max(_numbers(self._directory), default=0) == self._number
        except FileNotFoundError:
            return False  # the whole run directory was removed
        except OSError as exc:
            raise LocalFileError(f"{self._directory.path} cannot be read: {exc.strerror or exc}.") from exc

    def check(self) -> None:
        """Do nothing if this process still holds the directory. Safe to call from any thread.

        Raises:
            DirectoryBusyError: Another syncer was given the directory; this one must stop at once.
            LocalFileError: The disk does not answer, so nobody can tell.
        """
        if not self.is_held():
            raise DirectoryBusyError(f"Another syncer has taken over {self._directory.path}.")

    def keep(self) -> None:
        """Check, and show a sign of life if it is time for one. To be called several times a second by one thread.

        A disk that does not answer is waited for.

        Raises:
            DirectoryBusyError: As `check`.
        """
        now = time.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + BEAT_S
        try:
            self.check()
        except LocalFileError as exc:
            log.warning("%s", exc)
            return
        self._holder = replace(self._holder, beat=self._holder.beat + 1)
        with contextlib.suppress(OSError):  # a full disk does not end the lease; a few beats may be missed
            _write(self._fd, self._holder)

    def release(self) -> None:
        """Let go: whoever wants the directory has it at once. Does no harm if another has it already."""
        if self._fd < 0:
            return
        try:
            with contextlib.suppress(OSError):  # the end of this process frees the lease as well
                _write(self._fd, replace(self._holder, released=True))
        finally:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire_lease(
    directory: RunDirectory,
    *,
    me: Holder | None = None,
    stale_s: float = STALE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """Become the syncer of a run directory.

    Returns at once, unless a process of another machine holds the directory: that one is watched until it shows a
    sign of life or has shown none for ``stale_s`` seconds. Of many that try, exactly one succeeds.

    Args:
        directory: The run directory.
        me: Who asks; None: this process.
        stale_s: How long the beat of a far holder stands still until it is taken for dead.
        sleep: Waits between two looks at a far holder.

    Raises:
        DirectoryBusyError: Another living syncer holds the directory, or was quicker.
        OSError: The run directory cannot be written.
    """
    me = me or Holder.here()
    number = max(_numbers(directory), default=0)
    if number and not _may_be_taken(_path(directory, number), me, stale_s, sleep):
        raise DirectoryBusyError(f"Another syncer holds {directory.path}.")
    number += 1
    try:
        fd = os.open(_path(directory, number), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise DirectoryBusyError(f"Another syncer was quicker to take {directory.path}.") from None
    with contextlib.suppress(OSError):  # on a full disk the empty file holds as long as nobody else wants it
        _write(fd, me)
    lease = Lease(directory, number, me, fd)
    numbers = _numbers(directory)
    if max(numbers) != number:
        lease.release()
        _path(directory, number).unlink(missing_ok=True)
        raise DirectoryBusyError(f"Another syncer was quicker to take {directory.path}.")
    for lesser in numbers:
        if lesser < number:
            _path(directory, lesser).unlink(missing_ok=True)
    return lease


def lease_is_live(directory: RunDirectory) -> bool:
    """Tell whether a syncer follows the run directory, at one quick look.

    A holder on another machine counts as living when its file changed within the last minute. The answer may be
    wrong about such a one; starting a syncer all the same does no harm, since `acquire_lease` looks longer.
    """
    number = max(_numbers(directory), default=0)
    if not number:
        return False
    path = _path(directory, number)
    holder = _read(path)
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return True  # a next holder has removed it just now
    if holder is not None and holder.released:
        return False
    if holder is not None and (holder.host, holder.boot) == (host_name(), boot_name()):
        return process_is_alive(holder.pid, holder.pid_started)
    return abs(age) < _RECENT_S


def _may_be_taken(path: Path, me: Holder, stale_s: float, sleep: Callable[[float], None]) -> bool:
    first = _read(path)
    if first is not None and (first.released or first.is_near(me)):
        return first.released or not process_is_alive(first.pid, first.pid_started)
    start = time.monotonic()
    while time.monotonic() - start < stale_s:
        sleep(min(0.5, stale_s / 10))
        now = _read(path)
        if now != first or not path.exists():
            return now is not None and now.released
    return True


def _path(directory: RunDirectory, number: int) -> Path:
    return directory.path / f"{directory.lease.name}.{number}"


def _numbers(directory: RunDirectory) -> list[int]:
    names = os.listdir(directory.path)  # noqa: PTH208 - names alone are needed, several times a second
    form = re.compile(re.escape(directory.lease.name) + r"\.(\d+)\Z")
    return [int(found[1]) for name in names if (found := form.match(name))]


def _write(fd: int, holder: Holder) -> None:
    line = encode_record(asdict(holder))
    os.pwrite(fd, line.ljust(_FILE_BYTES, b"\n"), 0)
    getattr(os, "fdatasync", os.fsync)(fd)


def _read(path: Path) -> Holder | None:
    """Return what a lease file says; None if that cannot be told (made just now, removed, in the middle of a write)."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    record = decode_line(data.partition(b"\n")[0])
    try:
        return None if record is None else Holder(**record)
    except TypeError:
        return None
