"""The plan of a restore: which frames are needed, and which requests fetch them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from holdfast.protocol.messages import PackRange, ReadQuery

REQUEST_BYTES = 32 << 20
REQUEST_RANGES = 4096

Use = TypeVar("Use")


@dataclass(slots=True)
class Frame(Generic[Use]):
    """One frame to fetch, and what its chunk is for."""

    id: bytes
    raw_len: int
    pack: str
    offset: int
    length: int
    uses: list[Use] = field(default_factory=list)


def plan_requests(frames: Sequence[Frame[Use]]) -> list[list[Frame[Use]]]:
    """Group frames into requests of about 32 MiB, each over as many packs as it takes.

    Packs keep the order in which the frames first name them, so files are completed one after the other; within a
    pack frames are in the order of their offsets, so neighbours become one range.
    """
    rank: dict[str, int] = {}
    for frame in frames:
        rank.setdefault(frame.pack, len(rank))
    requests: list[list[Frame[Use]]] = []
    size = REQUEST_BYTES
    for frame in sorted(frames, key=lambda frame: (rank[frame.pack], frame.offset)):
        if size >= REQUEST_BYTES or len(requests[-1]) >= REQUEST_RANGES:
            requests.append([])
            size = 0
        requests[-1].append(frame)
        size += frame.length
    return requests


def query_of(frames: Iterable[Frame[Use]], *, is_checked: bool = True) -> ReadQuery:
    """Return the query that yields exactly these frames, in this order; neighbours share a range."""
    ranges: list[tuple[str, int, int]] = []
    for frame in frames:
        if ranges and ranges[-1][0] == frame.pack and ranges[-1][2] == frame.offset:
            ranges[-1] = (frame.pack, ranges[-1][1], frame.offset + frame.length)
        else:
            ranges.append((frame.pack, frame.offset, frame.offset + frame.length))
    return ReadQuery(
        ranges=[PackRange(pack=pack, offset=start, length=end - start) for pack, start, end in ranges],
        is_checked=is_checked,
    )
