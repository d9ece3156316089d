"""Pieces of a file, and the plan of cuts that a format's structure gives."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

PIECE_BYTES = 1 << 20

_SMALL_BYTES = 256 << 10

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""``read_at(offset, length)`` returns that part of the file, shorter only at the file's end."""


class Piece(NamedTuple):
    """One chunk to be: how long it is and, for the codec, the size of the numbers inside (1, 2, 4 or 8).

    ``id`` is its chunk id if the splitter had to compute it.
    """

    length: int
    word: int = 1
    id: bytes | None = None


class Splitter(Protocol):
    """Places the cuts in one file, which is fed once, from its beginning, in windows.

    What is cut does not depend on how the windows fall.
    """

    @property
    def name(self) -> str:
        """The name that is recorded with the version."""

    def cut(self, window: memoryview, *, offset: int, final: bool) -> list[Piece]:
        """Return the pieces that the window's beginning is made of.

        Args:
            window: The file's bytes from ``offset``. What the pieces leave over begins the next window.
            offset: Where the window begins: 0, then the end of the last piece.
            final: The window reaches the end of the file; the pieces then cover all of it.

        Returns:
            At least one piece if the window has `MAX_CHUNK_BYTES` or more, none longer than that.
        """


class Plan:
    """Collect the regions of a file, in order and without gaps; small neighbours share a piece."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._words: list[int] = []
        self._end = 0
        self._run_bytes = 0
        self._run_words: dict[int, int] = {}

    @property
    def end(self) -> int:
        """Where the next region begins."""
        return self._end

    def add(self, length: int, word: int = 1) -> None:
        """Append a region of numbers of ``word`` bytes. One of 256 KiB or more begins a piece of its own."""
        if length >= _SMALL_BYTES:
            self.close()
            self._append(length, word)
            return
        if self._run_bytes + length > PIECE_BYTES:
            self.close()
        self._run_bytes += length
        self._run_words[word] = self._run_words.get(word, 0) + length
        self._end += length

    def close(self) -> None:
        """End the run of small regions: what comes next does not share its piece."""
        if self._run_bytes:
            word = max(self._run_words, key=self._run_words.__getitem__)
            self._end -= self._run_bytes
            self._append(self._run_bytes, word)
        self._run_bytes = 0
        self._run_words = {}

    def splitter(self, name: str) -> PlannedSplitter:
        """Return the splitter that follows this plan."""
        self.close()
        return PlannedSplitter(name, self._ends, self._words)

    def _append(self, length: int, word: int) -> None:
        self._end += length
        self._ends.append(self._end)
        self._words.append(word)


class PlannedSplitter:
    """Cut each region of a plan into pieces of 1 MiB from the region's start.

    Bytes beyond the plan are cut as one more region.
    """

    def __init__(self, name: str, ends: list[int], words: list[int]) -> None:
        self.name = name
        self._ends = ends
        self._words = words

    def cut(self, window: memoryview, *, offset: int, final: bool) -> list[Piece]:
        """Return pieces; see `Splitter`."""
        pieces: list[Piece] = []
        end = offset + len(window)
        while offset < end:
            stop, word = self._next_cut(offset)
            if stop > end:
                if not final:
                    break
                stop = end
            pieces.append(Piece(stop - offset, word))
            offset = stop
        return pieces

    def _next_cut(self, offset: int) -> tuple[int, int]:
        region = bisect_right(self._ends, offset)
        begin = self._ends[region - 1] if region else 0
        stop = offset + PIECE_BYTES - (offset - begin) % PIECE_BYTES
        if region == len(self._ends):
            return stop, 1
        return min(stop, self._ends[region]), self._words[region]
