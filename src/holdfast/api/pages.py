"""Listings as sequences that are fetched page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar, overload

T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """Some items of a listing, and what to ask for to get those that follow (None at the end)."""

    items: list[T]
    next: str | None


class Pages(Sequence[T], Generic[T]):
    """A sequence whose items are fetched when they are asked for, and then kept. For use from one thread.

    Iterating, indexing and slicing fetch as many pages as they need. `len` asks the vault for the number where it can
    tell that without listing, and else fetches everything.

    Args:
        fetch: Returns the page after a mark (None: the first).
        count: Returns how many items there are in all.
    """

    def __init__(
        self, fetch: Callable[[str | None], Page[T]], count: Callable[[], int] | None = None
    ) -> None:
        self._fetch = fetch
        self._count = count
        self._items: list[T] = []
        self._after: str | None = None
        self._is_whole = False
        self._length: int | None = None

    def __iter__(self) -> Iterator[T]:
        at = 0
        while self._reaches(at):
            yield self._items[at]
            at += 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            ends = (index.start or 0, -1 if index.stop is None else index.stop)
            self._reaches(None if min(ends) < 0 else max(ends) - 1)
        else:
            self._reaches(None if index < 0 else index)
        return self._items[index]

    def __len__(self) -> int:
        if self._length is None:
            if self._count is None or (self._reaches(0) and self._is_whole):
                self._reaches(None)
            self._length = len(self._items) if self._is_whole or self._count is None else self._count()
        return self._length

    def __bool__(self) -> bool:
        return self._reaches(0)

    def __repr__(self) -> str:
        more = "" if self._is_whole else " so far"
        return f"<{type(self).__name__} of {len(self._items)} items{more}>"

    def _reaches(self, index: int | None) -> bool:
        """Fetch until there is an item at an index (None: everything), and tell whether there is."""
        while not self._is_whole and (index is None or index >= len(self._items)):
            page = self._fetch(self._after)
            self._items += page.items
            self._after = page.next
            self._is_whole = page.next is None
        return index is not None and index < len(self._items)
