"""Taking a run directory away: under another name first, then for good.

**How it works.** `set_aside` renames ``run-...`` to ``.cleaning-run-...``: whole, and out of everybody's way. Who has seen
that nothing changed in the last moment condemns it by a second rename, to ``.trash-run-...``; from then on it is rubbish
and is removed piece by piece. A kill between the steps leaves either name: what is set aside is whole and is put back by
`put_back_abandoned`, what is condemned is removed by `empty_trash`.

**Invariant.** A directory that is called ``run-...`` has lost nothing: no removal ever begins under that name.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.lease import lease_is_live

_ASIDE = ".cleaning-"
_TRASH = ".trash-"
_NAME = re.compile(r"(\.cleaning-|\.trash-)(run-\d{8}_\d{6}-.+)")


def set_aside(directory: RunDirectory) -> RunDirectory:
    """Rename a run directory out of everybody's way; it stays whole. Raises `OSError`."""
    return _renamed(directory, _ASIDE + directory.path.name)


def put_back(aside: RunDirectory) -> RunDirectory:
    """Give a directory that was set aside its name again. Raises `OSError`."""
    return _renamed(aside, aside.path.name.removeprefix(_ASIDE))


def condemn(aside: RunDirectory) -> RunDirectory:
    """Make a directory that was set aside rubbish, for ever. Raises `OSError`."""
    return _renamed(aside, _TRASH + aside.path.name.removeprefix(_ASIDE))


def remove(trash: RunDirectory) -> None:
    """Remove what was condemned. Links are removed, not followed. Raises `OSError`; the rest goes with the next call."""
    shutil.rmtree(trash.path)


def put_back_abandoned(root: Path) -> None:
    """Give the directories in a folder their names again that were set aside by a process that is gone."""
    for directory in _found(root, _ASIDE):
        if not lease_is_live(directory):
            with contextlib.suppress(
                OSError
            ):  # another process was quicker, or the folder is not ours to write
                put_back(directory)


def empty_trash(root: Path) -> None:
    """Remove what a process that is gone had condemned in a folder."""
    for directory in _found(root, _TRASH):
        with contextlib.suppress(OSError):  # the next call tries again
            remove(directory)


def _found(root: Path, prefix: str) -> Iterator[RunDirectory]:
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        if name.startswith(prefix) and _NAME.fullmatch(name) and _is_mine(root / name):
            yield RunDirectory((root / name).absolute())


def _is_mine(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _renamed(directory: RunDirectory, name: str) -> RunDirectory:
    path = directory.path.with_name(name)
    if os.path.lexists(path):
        raise FileExistsError(f"{path} is in the way")
    return RunDirectory(directory.path.rename(path))
