"""Finding out what changed: looks at the watched files, and at ``run.dir`` for files that nobody named.

A look costs the training process nothing, but the machine a little: the pause between two looks is at least a hundred
times what a look takes, so that ten thousand watched files cost about one percent of one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from holdfast.content.hashing import ContentHasher
from holdfast.rundir.facts import Stored
from holdfast.sync.state import FileState, RunState
from holdfast.sync.watch import Found, Signature, find_files, look

LOOK_S = 0.5
_COST = 100
_BLOCK_BYTES = 4 << 20


class Finder:
    """Looks at the files of one run directory.

    Args:
        files: ``run.dir``.
        state: What is known of the run; files that are found are noted there.
        pulse: Called often while something takes long.
    """

    def __init__(self, files: Path, state: RunState, pulse: Callable[[], None]) -> None:
        self._files = files
        self._state = state
        self._pulse = pulse
        self._next = 0.0
        self._policies: dict[str, str | None] = {}
        self._policies_of = 0
        self._as_restored: dict[str, tuple[Signature, bool]] = {}

    def changed(self, now: float) -> list[str]:
        """Return the watched files that are not stored as they are, if it is time to look."""
        if now < self._next:
            return []
        began = time.monotonic()
        if self._state.watched:
            self._adopt_watched()
        names = [file.name for file in self._state.files.values() if _is_changed(file)]
        self._next = now + max(LOOK_S, _COST * (time.monotonic() - began))
        return names

    def adopt_everything(self) -> None:
        """Note every file below ``run.dir`` that is not ignored as one that is stored at the end of the run."""
        for found in find_files(self._files):
            if self._state.ignores(found.name):
                continue
            file = self._state.files.get(found.name)
            if (file is None or not (file.is_saved or file.once)) and not self._is_as_restored(found):
                self._state.file(found.name).adopt(found.path, "end")

    def _adopt_watched(self) -> None:
        if self._policies_of != len(self._state.watched):
            self._policies.clear()
            self._policies_of = len(self._state.watched)
        for found in find_files(self._files):
            policy = self._policy(found.name)
            if policy is None:
                continue
            file = self._state.files.get(found.name)
            if file is not None and file.is_saved and file.path != found.path:
                continue  # what `save` put there for a file from elsewhere
            if not self._is_as_restored(found):
                self._state.file(found.name).adopt(found.path, policy)

    def _policy(self, name: str) -> str | None:
        if name not in self._policies:
            is_ignored = self._state.ignores(name)
            self._policies[name] = None if is_ignored else self._state.watch_policy(name)
        return self._policies[name]

    def _is_as_restored(self, found: Found) -> bool:
        restored = self._state.restored.get(found.name)
        seen = look(found.path) if restored is not None else None
        if restored is None or seen is None or seen.size != restored.size:
            return False
        known = self._as_restored.get(found.name)
        if known is None or known[0] != seen:
            known = self._as_restored[found.name] = (seen, self._digest(found.path) == restored.digest)
        return known[1]

    def _digest(self, path: str) -> str | None:
        hasher = ContentHasher()
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - a name that is not valid Unicode stays what it is
                while block := file.read(_BLOCK_BYTES):
                    hasher.update(block)
                    self._pulse()
        except OSError:
            return None
        return hasher.digest().hex()


def _is_changed(file: FileState) -> bool:
    if not (file.live or file.once) or file.path is None:
        return False
    seen = look(file.path)
    return seen is not None and (file.stored is None or _signature(file.stored) != seen)


def _signature(stored: Stored) -> Signature:
    return Signature(stored.size, stored.mtime_ns, stored.ino)
