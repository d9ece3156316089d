"""What the run directory of an offline run holds: it may be packed and synced where the sources are out of reach.

Each save is pinned, as a link where that is possible and else as a copy. A pin keeps the file that was saved; when the
training has put another file in its place since (renamed over it), `Saver.gather` pins that one at the end of the run.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from holdfast.rundir.facts import SavedFile


class Held(NamedTuple):
    """One file of a save."""

    policy: str
    keep_local: str
    file: SavedFile


class Holdings:
    """The pins of an offline run, compared with what they are of.

    Args:
        run_dir: ``run.dir``; what lies in it needs no pin to be carried along.
        pins: The folder of the pins.
    """

    def __init__(self, run_dir: str, pins: str) -> None:
        self._run_dir = run_dir
        self._pins = pins
        self._latest: dict[str, Held] = {}
        self._now: list[SavedFile] = []

    def note(self, held: Held) -> bool:
        """Note a save; return False if its content is not in the run directory."""
        policy, _, file = held
        is_inside = file.path.startswith(self._run_dir + "/")
        if policy != "now" and not is_inside:
            self._latest[file.name] = held
        elif policy == "now" and file.pin is not None and not file.pin_is_copy:
            self._now.append(file)
        return is_inside or file.pin is not None

    def replaced(self) -> list[tuple[Held, os.stat_result]]:
        """Return the saves whose source is not what their pin holds any more, with a look at the source."""
        found = []
        for held in self._latest.values():
            file = held.file
            try:
                info = os.stat(file.path)  # noqa: PTH116 - thousands in a row
            except OSError:
                continue  # gone: the pin is what there is
            is_same = info.st_ino == file.ino
            if file.pin_is_copy:
                is_same &= (info.st_size, info.st_mtime_ns) == (file.size, file.mtime_ns)
            if file.pin is None or not is_same:
                found.append((held, info))
        return found

    def rewritten(self) -> list[str]:
        """Return the linked pins of ``now`` saves that are no longer as of the call."""
        return [file.pin for file in self._now if file.pin is not None and not self._is_intact(file)]

    def _is_intact(self, file: SavedFile) -> bool:
        try:
            info = os.stat(f"{self._pins}/{file.pin}")  # noqa: PTH116 - thousands in a row
        except OSError:
            return False
        return (info.st_size, info.st_mtime_ns) == (file.size, file.mtime_ns)
