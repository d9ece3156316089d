"""Putting untracked files into a work tree: never over other content, never through a symbolic link."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from holdfast.code.state import Untracked, check_tree_path
from holdfast.errors import TargetExistsError
from holdfast.restoring.folders import Folder, Folders, disk_error


def find_in_the_way(top: Path, files: Iterable[Untracked], parts: Mapping[str, Path]) -> list[str]:
    """Return the paths at which something else is already."""
    return [file.path for file in files if _is_there(top / file.path, file, parts) is False]


class Placer:
    """Places files below a folder, and can take away again what it placed.

    Args:
        top: The top of the work tree.
        parts: The restored files of the run by name.
    """

    def __init__(self, top: Path, parts: Mapping[str, Path]) -> None:
        self._top = top
        self._parts = parts
        self._made: list[Path] = []

    def place(self, files: Iterable[Untracked]) -> None:
        """Place files; those that are there already with this content stay.

        Raises:
            TargetExistsError: Something else is there, or a symbolic link on the way.
            LocalFileError: The disk refused.
        """
        with Folders(self._top) as folders:
            for file in files:
                *parents, name = check_tree_path(file.path).split("/")
                path = self._top / file.path
                self._made += [
                    folder
                    for folder in reversed(path.parents)
                    if folder != self._top and not os.path.lexists(folder)
                ]
                try:
                    with folders.hold(tuple(parents), create=True) as folder:
                        self._place(folder, name, path, file)
                except OSError as exc:
                    raise disk_error(exc, path) from exc

    def undo(self) -> None:
        """Take away what was placed."""
        for path in reversed(self._made):
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()

    def _place(self, folder: Folder, name: str, path: Path, file: Untracked) -> None:
        there = _is_there(path, file, self._parts)
        if there is False:
            raise TargetExistsError(
                f"{path} is there already, with other content.",
                hint="Move it away, or pass --into DIR to restore elsewhere.",
            )
        if there:
            return
        self._made.append(path)
        if file.part is None:
            os.symlink(file.link or "", name, dir_fd=folder.fd)
            return
        mode = 0o777 if file.executable else 0o666
        fd = folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(fd, "wb") as target, self._parts[file.part.name].open("rb") as source:  # noqa: PTH123 - a descriptor
            shutil.copyfileobj(source, target)


def _is_there(path: Path, file: Untracked, parts: Mapping[str, Path]) -> bool | None:
    """Tell whether the very file is at a path (True), something else is (False), or nothing (None)."""
    try:
        if not os.path.lexists(path):
            return None
        if path.is_symlink() or file.part is None:
            return path.is_symlink() and os.readlink(path) == file.link  # noqa: PTH115 - as it is, not made a Path
        is_file = path.is_file() and bool(path.stat().st_mode & 0o100) == file.executable
        return is_file and path.read_bytes() == parts[file.part.name].read_bytes()
    except OSError:
        return False
