"""Counts one pass over some files, so that progress is right however the pass ends."""

from __future__ import annotations

import threading

from holdfast.sync.jobs import Progress


class Tally:
    """What a pass adds to the progress.

    Bytes count as soon as the vault holds them; those of files that do not become a version are taken off at the end.

    Args:
        progress: What to count on. `held` may be called from any thread.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._held_bytes = 0
        self._stored_bytes = 0
        self._under_way: dict[str, None] = {}

    def is_under_way(self, name: str) -> bool:
        """Tell whether a file began and did not end."""
        return name in self._under_way

    def began(self, name: str) -> None:
        """Note that a file is being read."""
        self._under_way[name] = None
        self._progress.reading(name)

    def ended(self, name: str, *, stored_bytes: int | None) -> None:
        """Note that a file is stored, with so many bytes, or (None) that it will not be for now."""
        self._under_way.pop(name, None)
        self._stored_bytes += stored_bytes or 0
        self._progress.ended(name, stored=stored_bytes is not None)

    def held(self, size_bytes: int) -> None:
        """Note that the vault holds so many more bytes of content."""
        with self._lock:
            self._held_bytes += size_bytes
        self._progress.held(size_bytes)

    def close(self) -> None:
        """Take off what was counted for files that are not stored."""
        for name in list(self._under_way):
            self.ended(name, stored_bytes=None)
        self._progress.held(self._stored_bytes - self._held_bytes)
