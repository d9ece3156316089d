"""Puts a saved file into ``run.dir``: a symbolic link, else a hard link, else a copy. Never writes through a link.

What `Links` has put there it may replace or take back; anything else in ``run.dir`` is the user's and stays.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable

from holdfast.errors import UsageError

_NO_LINK = frozenset(
    {errno.EPERM, errno.EACCES, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
)

_COPY_BLOCK = 8 << 20

Undo = Callable[[], None]


class Links:
    """The links of one run.

    Args:
        run_dir: ``run.dir``, absolute.
        scratch: A folder on the same file system, where a link is made before it replaces another.
    """

    def __init__(self, run_dir: str, scratch: str) -> None:
        self._run_dir = run_dir
        self._scratch = scratch
        self._folders = {run_dir}
        self.sources: dict[str, str] = {}
        """What was put into ``run.dir``: name to source."""

    def put(self, name: str, source: str, *, beside: bool = False) -> Undo | None:
        """Make ``run.dir/name`` lead to the source, and return what takes that back (None: nothing was done).

        Args:
            name: The file's name within the run.
            source: Where it is.
            beside: If something is at that place already which Holdfast has not linked, leave it and do nothing.

        Raises:
            UsageError: Something of the user's own is at that place.
            OSError: The run directory cannot be written, or the source cannot be copied where no link is possible.
        """
        try:
            return self._put(name, source, beside)
        except FileNotFoundError:
            # The syncer has just removed the link to a file that is stored and was not to be kept.
            return self._put(name, source, beside)

    def _put(self, name: str, source: str, beside: bool) -> Undo | None:
        place = f"{self._run_dir}/{name}"
        if place == source or (beside and name not in self.sources and os.path.lexists(place)):
            return None
        folder = os.path.dirname(place)
        if folder not in self._folders and not self._make_folder(folder):
            return self._leave(place, name, source)
        try:
            os.symlink(source, place)
        except FileExistsError:
            return self._replace(name, place, source)
        except FileNotFoundError:  # the user has removed the folder since
            self._folders = {self._run_dir}
            if not self._make_folder(folder):
                return self._leave(place, name, source)
            os.symlink(source, place)
        except OSError as exc:
            if exc.errno not in _NO_LINK:
                raise
            if os.path.lexists(place):
                return self._replace(name, place, source)
            _link_or_copy(source, place)
        self.sources[name] = source
        return lambda: self._take_back(name, place)

    def _make_folder(self, folder: str) -> bool:
        """Make a folder below ``run.dir``; False if that would lead through a link or something else of the user's."""
        path = self._run_dir
        for part in folder[len(self._run_dir) + 1 :].split("/"):
            path = f"{path}/{part}"
            try:
                os.mkdir(path)
            except FileExistsError:
                if os.path.islink(path) or not os.path.isdir(path):
                    return False
            self._folders.add(path)
        return True

    def _replace(self, name: str, place: str, source: str) -> Undo | None:
        known = self.sources.get(name)
        target = os.readlink(place) if os.path.islink(place) else None
        if target == source:
            self.sources[name] = source
            return None
        if known is None or os.path.isdir(place):
            return self._leave(place, name, source)
        if target is None and os.path.samefile(place, source):
            return None
        part = f"{self._scratch}/link.part"
        _remove(part)
        try:
            os.symlink(source, part)
        except OSError as exc:
            if exc.errno not in _NO_LINK:
                raise
            _link_or_copy(source, part)
        os.replace(part, place)
        self.sources[name] = source
        return lambda: self._put_back(name, place, target, known)

    @staticmethod
    def _leave(place: str, name: str, source: str) -> None:
        """Leave what is the user's own at a place; refuse unless it is the source itself."""
        try:
            if os.path.samefile(place, source):
                return
        except OSError:
            pass  # it is not there behind a folder of the user's own, so it is not the source
        raise UsageError(
            f"{source!r} cannot be saved as {name!r}: {place!r} is in the way, and Holdfast has not made it.",
            hint="Save it under another name by another base_path, or remove what is there.",
        )

    def _take_back(self, name: str, place: str) -> None:
        self.sources.pop(name, None)
        _remove(place)

    def _put_back(self, name: str, place: str, target: str | None, known: str) -> None:
        self.sources[name] = known
        if target is not None:
            _remove(place)
            os.symlink(target, place)


def _link_or_copy(source: str, place: str) -> None:
    try:
        os.link(os.path.realpath(source), place)
    except OSError as exc:
        if exc.errno not in _NO_LINK:
            raise
        with open(source, "rb") as origin, open(place, "xb") as copy:
            shutil.copyfileobj(origin, copy, _COPY_BLOCK)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
