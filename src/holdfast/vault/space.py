"""Room on the vault's disk, and whether a vault may live there at all.

Uploads are refused while less than the reserve is free, so that reading, deleting and the catalog's own writes go on.
A reserve file, allocated beforehand, is given up when even a delete finds the disk full.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from holdfast.errors import VaultFullError, VaultLocationError, VaultUnavailableError

RESERVE_SHARE = 0.05
RESERVE_BYTES = 2 << 30
_RESERVE_FILE = "reserve"
_RESERVE_FILE_BYTES = 16 << 20
_SHARED_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre", "beegfs", "gpfs"}
)
_MOUNTS = Path("/proc/self/mountinfo")


class Space:
    """The free room that uploads must leave.

    Args:
        folder: A folder of the disk to watch; None when the vault stands on no local disk.
        reserve_bytes: How much must stay free; None: 5 % of the disk, at least 2 GiB.
    """

    def __init__(self, folder: Path | None, reserve_bytes: int | None = None) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes

    def check(self) -> None:
        """Raise `VaultFullError` if uploads must be refused now."""
        if self._folder is None:
            return
        free, reserve = self._measure(self._folder)
        if free < reserve:
            raise VaultFullError(
                f"The vault refuses uploads: {free} bytes are free on its disk, and {reserve} must stay free.",
                details={"free_bytes": free, "reserve_bytes": reserve},
            )

    def hold(self) -> None:
        """Allocate the reserve file if it is absent and there is plenty of room for it."""
        if self._folder is None or (self._folder / _RESERVE_FILE).exists():
            return
        free, reserve = self._measure(self._folder)
        if free < reserve + _RESERVE_FILE_BYTES:
            return
        part = self._folder / f"{_RESERVE_FILE}.{os.getpid()}"
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _RESERVE_FILE_BYTES)
            finally:
                os.close(fd)
            part.rename(self._folder / _RESERVE_FILE)
        except OSError as exc:
            part.unlink(missing_ok=True)
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP, errno.EINVAL):
                raise VaultUnavailableError(f"The disk of the vault failed: {exc}") from exc

    def release(self) -> bool:
        """Give up the reserve file; tell whether that freed anything."""
        if self._folder is None or not (self._folder / _RESERVE_FILE).exists():
            return False
        (self._folder / _RESERVE_FILE).unlink(missing_ok=True)
        return True

    def _measure(self, folder: Path) -> tuple[int, int]:
        try:
            stat = os.statvfs(folder)
        except OSError as exc:
            raise VaultUnavailableError(f"The disk of the vault failed: {exc}") from exc
        share = int(stat.f_blocks * stat.f_frsize * RESERVE_SHARE)
        reserve = max(share, RESERVE_BYTES) if self._reserve_bytes is None else self._reserve_bytes
        return stat.f_bavail * stat.f_frsize, reserve


def check_location(folder: Path) -> None:
    """Refuse a folder on a network or user-space file system, where SQLite and fsync keep no promise.

    Raises:
        VaultLocationError: The folder, or its nearest parent that exists, is on one.
    """
    kind = file_system(folder)
    if kind in _SHARED_TYPES or kind == "fuse" or kind.startswith("fuse."):
        raise VaultLocationError(
            f"A vault cannot safely live at {folder}: its file system is {kind}.",
            hint="Use a folder of a local disk (HOLDFAST_HOME), or a server.",
        )


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str:
    """Return the type of the file system that a folder is on or would be made on; empty if it cannot be told."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    device = place.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kind = ""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return kind
    for line in lines:
        left, _, right = line.partition(" - ")
        if left.split()[2] == wanted:
            kind = right.split()[0]
    return kind
