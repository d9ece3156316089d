"""Where the files of a journal lie, seen from the run directory as it is found now.

A journal has absolute paths of the machine and the place where it was written. A run directory that was renamed, copied or
packed and taken elsewhere is read by `Whereabouts`, which says where each saved file is now:

| the directory is | a file in it | a file elsewhere |
|---|---|---|
| where it was made | as written | as written |
| renamed, or seen under another path | below its new place | as written |
| a copy, on the machine of the training | below its new place | as written |
| a copy, on another machine | below its new place | at its path only if it is that very file, else its pin |

So a file of another machine that happens to lie at the same path is never taken for the one that was saved.
"""

from __future__ import annotations

import os
from dataclasses import replace

from holdfast.rundir.facts import Fact, Finished, Opened, Saved, SavedFile, from_records
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.processes import host_name
from holdfast.rundir.records import RecordReader


class Whereabouts:
    """Tells where the saved files of one run directory are.

    Args:
        directory: The run directory.
        is_shared: The training's own directory on a disk that both machines see, whatever inode numbers it shows.
    """

    def __init__(self, directory: RunDirectory, *, is_shared: bool = False) -> None:
        self._directory = directory
        self._is_shared = is_shared
        self._before = ""
        self._is_copy = self._is_foreign = False
        self._intact_unless: frozenset[str] | None = None
        """The run ended by itself, and these pins were no longer as of their call; None: nobody looked."""

    def here(self, fact: Fact) -> Fact:
        """Return a fact of the journal with the paths that hold here. To be given all facts, in order."""
        if isinstance(fact, Opened) and not self._before:
            self._learn(fact)
        if isinstance(fact, Saved) and (self._is_copy or self._before != str(self._directory.path)):
            return replace(fact, files=[self._file(file) for file in fact.files])
        return fact

    def _learn(self, opened: Opened) -> None:
        self._before = opened.directory or str(self._directory.path)
        try:
            ino = self._directory.journal.stat().st_ino
        except OSError:
            return
        self._is_copy = not self._is_shared and opened.journal_ino not in (None, ino)
        self._is_foreign = opened.host != host_name()
        if self._is_copy:
            facts = from_records(RecordReader(self._directory.journal).read())
            finished = next((fact for fact in facts if isinstance(fact, Finished)), None)
            self._intact_unless = None if finished is None else frozenset(finished.rewritten)

    def _file(self, file: SavedFile) -> SavedFile:
        path = file.path
        if path.startswith(self._before + "/"):
            path = f"{self._directory.path}{path[len(self._before) :]}"
        elif self._is_copy and self._is_foreign and not _is_that_file(file):
            path = str(self._directory.pins / (file.pin or "none"))
        is_copy = file.pin_is_copy
        if self._is_copy and self._intact_unless is not None and file.pin is not None:
            is_copy |= file.pin not in self._intact_unless  # a copied pin shares nothing with the source
        return replace(file, path=path, pin_is_copy=is_copy)


def _is_that_file(file: SavedFile) -> bool:
    try:
        found = os.stat(file.path)  # noqa: PTH116 - thousands in a row
    except OSError:
        return False
    return (found.st_ino, found.st_size, found.st_mtime_ns) == (file.ino, file.size, file.mtime_ns)
