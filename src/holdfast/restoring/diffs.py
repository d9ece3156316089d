"""Comparing two stored files: are they the same, and if they are text, which lines differ."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from holdfast.protocol.messages import FileInfo

TEXT_MAX_BYTES = 8 << 20
"""A larger file is not compared line by line."""
LINES_MAX = 20_000
"""The most lines on a side, between those that both begin and end with, that are compared."""
CONTEXT = 3


@dataclass(frozen=True, slots=True)
class FileDiff:
    """What differs between two files.

    Attributes:
        is_same: They have the same bytes.
        text: The difference in the unified format; empty where they are the same or are not compared line by line.
        reason: Why two different files are not compared line by line; None where they are.
    """

    is_same: bool
    text: str = ""
    reason: str | None = None


def compare(
    old: FileInfo, new: FileInfo, read: Callable[[FileInfo], bytes], *, labels: tuple[str, str]
) -> FileDiff:
    """Compare two versions.

    Args:
        old: The one.
        new: The other.
        read: Returns the content of either; called for nothing that is not to be compared line by line.
        labels: What the two are called in the head of the difference.
    """
    if (old.digest, old.size) == (new.digest, new.size):
        return FileDiff(is_same=True)
    if max(old.size, new.size) > TEXT_MAX_BYTES:
        return FileDiff(is_same=False, reason=f"larger than {TEXT_MAX_BYTES >> 20} MiB")
    before, after = _text(read(old)), _text(read(new))
    if before is None or after is None:
        return FileDiff(is_same=False, reason="binary")
    lines = _changes(before.splitlines(keepends=True), after.splitlines(keepends=True), labels)
    if lines is None:
        return FileDiff(is_same=False, reason=f"different in more than {LINES_MAX:,} lines")
    return FileDiff(is_same=False, text="".join(lines))


def _text(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _changes(old: list[str], new: list[str], labels: tuple[str, str]) -> Iterator[str] | None:
    """Return the lines of the difference, or None if there are too many to compare.

    Lines that both begin or end with are left out of the comparison but for the context, which makes it quick for logs.
    """
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    rest = min(len(old), len(new)) - head
    ends = zip(reversed(old), reversed(new), strict=False)
    tail = min(rest, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends)))
    if max(len(old), len(new)) - head - tail > LINES_MAX:
        return None
    skipped = max(0, head - CONTEXT)
    kept = max(0, tail - CONTEXT)
    return _unified(old[skipped : len(old) - kept], new[skipped : len(new) - kept], skipped, labels)


def _unified(old: list[str], new: list[str], skipped: int, labels: tuple[str, str]) -> Iterator[str]:
    yield f"--- {labels[0]}\n+++ {labels[1]}\n"
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        yield f"@@ -{_span(first[1], last[2], skipped)} +{_span(first[3], last[4], skipped)} @@\n"
        for tag, a, b, c, d in group:
            if tag == "equal":
                yield from _marked(" ", old[a:b])
            else:
                yield from _marked("-", old[a:b])
                yield from _marked("+", new[c:d])


def _span(start: int, stop: int, skipped: int) -> str:
    length = stop - start
    begin = start + skipped + (1 if length else 0)
    return str(begin) if length == 1 else f"{begin},{length}"


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield mark + line if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
