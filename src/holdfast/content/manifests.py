"""The ordered chunk list of a version: references, manifests and the segments that keep manifests small.

**How it works.** A manifest ends in at most 64 chunk records; what comes before them is folded into segments
of 64 references, and 16 such segments into one of 1,024. The fold depends only on the order of the chunks, so
a file that grows keeps its earlier segments, and versions that share a beginning share its segments. A
segment's body is stored once, in a pack.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from holdfast.content.codecs import MAX_CHUNK_BYTES
from holdfast.content.hashing import Bytes, chunk_id
from holdfast.errors import MalformedContentError

MAX_SEGMENT_REFS = 1024
MAX_CHUNK_RECORDS = 64

_VERSION = b"\x01"
_REF = struct.Struct("<32sI")
_CHUNK_RECORD = struct.Struct("<c32sI")
_SEGMENT_RECORD = struct.Struct("<c32sQI")
_PLACE = struct.Struct("<32sIIQI")
_SMALL_SEGMENT_REFS = 64
_SMALL_SEGMENTS_A_LARGE_ONE = MAX_SEGMENT_REFS // _SMALL_SEGMENT_REFS

REF_BYTES = _REF.size
PLACE_BYTES = _PLACE.size


class ChunkRef(NamedTuple):
    """One chunk of a content."""

    id: bytes
    raw_len: int


class SegmentRef(NamedTuple):
    """A run of chunks of a content, listed in a segment."""

    id: bytes
    raw_bytes: int
    chunks: int


class ChunkPlace(NamedTuple):
    """One chunk of a content and where its frame lies."""

    id: bytes
    raw_len: int
    pack: int
    offset: int
    frame_len: int


Record: TypeAlias = ChunkRef | SegmentRef


def encode_refs(refs: Iterable[ChunkRef]) -> bytes:
    """Return the references as 36 bytes each: the list on the wire and the body of a segment."""
    return b"".join([_REF.pack(*ref) for ref in refs])


def decode_refs(data: Bytes) -> list[ChunkRef]:
    """Return the references encoded by `encode_refs`. Raises `MalformedContentError`."""
    if len(data) % REF_BYTES:
        raise MalformedContentError("A list of chunk references is cut.")
    refs = list(map(ChunkRef._make, _REF.iter_unpack(data)))
    _check_lengths(refs)
    return refs


def encode_places(places: Iterable[ChunkPlace]) -> bytes:
    """Return the places as 52 bytes each."""
    return b"".join([_PLACE.pack(*place) for place in places])


def decode_places(data: Bytes) -> list[ChunkPlace]:
    """Return the places encoded by `encode_places`. Raises `MalformedContentError`."""
    if len(data) % PLACE_BYTES:
        raise MalformedContentError("A list of chunk places is cut.")
    places = list(map(ChunkPlace._make, _PLACE.iter_unpack(data)))
    _check_lengths(places)
    return places


def _check_lengths(items: Sequence[ChunkRef] | Sequence[ChunkPlace]) -> None:
    if any(not 0 < item.raw_len <= MAX_CHUNK_BYTES for item in items):
        raise MalformedContentError("A chunk reference has an impossible length.")


def encode_manifest(records: Sequence[Record]) -> bytes:
    """Return the manifest of these records; fold them first (`fold`, `ManifestBuilder`).

    Raises:
        MalformedContentError: There are more than 64 chunk records, or one says something impossible.
    """
    _check_records(records)
    parts = [_VERSION]
    for record in records:
        if isinstance(record, SegmentRef):
            parts.append(_SEGMENT_RECORD.pack(b"S", *record))
        else:
            parts.append(_CHUNK_RECORD.pack(b"C", *record))
    return b"".join(parts)


def decode_manifest(data: Bytes) -> list[Record]:
    """Return the records of a manifest. Raises `MalformedContentError`."""
    data = bytes(data)
    if data[:1] != _VERSION:
        raise MalformedContentError("A manifest has an unknown version.")
    records: list[Record] = []
    offset = 1
    try:
        while offset < len(data):
            kind = data[offset : offset + 1]
            if kind == b"C":
                records.append(ChunkRef._make(_CHUNK_RECORD.unpack_from(data, offset)[1:]))
                offset += _CHUNK_RECORD.size
            elif kind == b"S":
                records.append(SegmentRef._make(_SEGMENT_RECORD.unpack_from(data, offset)[1:]))
                offset += _SEGMENT_RECORD.size
            else:
                raise MalformedContentError("A manifest holds a record of an unknown kind.")
    except struct.error as exc:
        raise MalformedContentError("A manifest is cut.") from exc
    _check_records(records)
    return records


def _check_records(records: Sequence[Record]) -> None:
    chunks = [record for record in records if isinstance(record, ChunkRef)]
    if len(chunks) > MAX_CHUNK_RECORDS:
        raise MalformedContentError(
            f"A manifest has {len(chunks)} chunk records; {MAX_CHUNK_RECORDS} are allowed."
        )
    _check_lengths(chunks)
    for record in records:
        if isinstance(record, SegmentRef) and not (
            0 < record.chunks <= MAX_SEGMENT_REFS
            and record.chunks <= record.raw_bytes <= record.chunks * MAX_CHUNK_BYTES
        ):
            raise MalformedContentError("A manifest has a segment of an impossible size.")


def fold(
    domain_key: bytes,
    records: Iterable[Record],
    known: Mapping[bytes, Sequence[ChunkRef]] | None = None,
) -> tuple[list[Record], dict[bytes, bytes]]:
    """Fold records until they fit a manifest; see `ManifestBuilder` for the arguments and the meaning.

    Returns:
        The records, and the bodies of the segments that are new, by id: store them before the manifest.
    """
    builder = ManifestBuilder(domain_key, known=known)
    builder.extend(records)
    return builder.fold()


class ManifestBuilder:
    """Collect the chunks of a content, in order, and fold them into a manifest.

    The result depends only on what was added, not on how; a version that begins with all chunks of another is
    built from that one's records and the new chunks.

    Args:
        domain_key: The key of the dedup domain.
        known: The references of earlier segments, by segment id. Sixteen segments of 64 that are all known
            become one of 1,024; unknown ones stay as they are.
    """

    def __init__(self, domain_key: bytes, *, known: Mapping[bytes, Sequence[ChunkRef]] | None = None) -> None:
        self._key = domain_key
        self._known = known or {}
        self._segments: list[SegmentRef] = []
        self._tail: list[ChunkRef] = []
        self._bodies: dict[bytes, bytes] = {}

    def add(self, record: Record) -> None:
        """Append a chunk, or a whole segment of an earlier version."""
        if isinstance(record, SegmentRef):
            self._fold_tail(keep=0)
            self._segments.append(record)
            return
        self._tail.append(record)
        if len(self._tail) > MAX_SEGMENT_REFS + MAX_CHUNK_RECORDS:
            self._fold_tail(keep=MAX_CHUNK_RECORDS)

    def extend(self, records: Iterable[Record]) -> None:
        """Append records in order, for example those of the version that this one grows from."""
        for record in records:
            self.add(record)

    def fold(self) -> tuple[list[Record], dict[bytes, bytes]]:
        """Return the folded records, and the bodies of the new segments among them by id."""
        self._fold_tail(keep=MAX_CHUNK_RECORDS)
        wanted = {segment.id for segment in self._segments}
        return [*self._segments, *self._tail], {
            id_: body for id_, body in self._bodies.items() if id_ in wanted
        }

    def finish(self) -> tuple[bytes, dict[bytes, bytes]]:
        """Return the encoded manifest, and the bodies of the new segments by id: store these first."""
        records, bodies = self.fold()
        return encode_manifest(records), bodies

    def _fold_tail(self, keep: int) -> None:
        while len(self._tail) > keep:
            large = not self._small_run() and len(self._tail) >= MAX_SEGMENT_REFS + min(keep, 1)
            size = MAX_SEGMENT_REFS if large else _SMALL_SEGMENT_REFS
            self._append_segment(self._tail[:size])
            del self._tail[:size]
            self._merge_small()

    def _append_segment(self, refs: Sequence[ChunkRef]) -> None:
        body = encode_refs(refs)
        id_ = chunk_id(self._key, body)
        self._bodies[id_] = body
        self._segments.append(SegmentRef(id_, sum(ref.raw_len for ref in refs), len(refs)))

    def _small_run(self) -> int:
        """Return how many segments at the end are small ones."""
        run = 0
        for segment in reversed(self._segments):
            if segment.chunks != _SMALL_SEGMENT_REFS or run == _SMALL_SEGMENTS_A_LARGE_ONE:
                break
            run += 1
        return run

    def _merge_small(self) -> None:
        if self._small_run() < _SMALL_SEGMENTS_A_LARGE_ONE:
            return
        small = self._segments[-_SMALL_SEGMENTS_A_LARGE_ONE:]
        refs: list[ChunkRef] = []
        for segment in small:
            if segment.id in self._bodies:
                refs.extend(decode_refs(self._bodies[segment.id]))
            elif segment.id in self._known:
                refs.extend(self._known[segment.id])
            else:
                return
        del self._segments[-_SMALL_SEGMENTS_A_LARGE_ONE:]
        self._append_segment(refs)
