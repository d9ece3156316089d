"""Packs: immutable objects that hold many frames, each a chunk or a segment with a header of its own.

**How it works.** `PackBuilder` collects frames without copying raw data. `PackParser` verifies a pack while
it streams in. `FrameReader`, `iter_frames`, `open_frame` and `check_frame` serve whoever reads single frames
back.

**Invariants**

- A pack that `PackParser.finish` accepted holds exactly the bytes that its ids promise, each id once a kind,
  and a table that matches its frames.
- A pack starts with at least one frame; the table is recognised by repeating that frame's entry, which no
  frame header can be mistaken for.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from holdfast.content.codecs import MAX_CHUNK_BYTES, Codec, Encoder, decode
from holdfast.content.hashing import Bytes, ChunkHasher, chunk_id, content_digest
from holdfast.content.manifests import MAX_SEGMENT_REFS, REF_BYTES, decode_refs
from holdfast.errors import CorruptContentError, MalformedContentError, UsageError

MAX_PACK_BYTES = 64 << 20
MAX_PACK_FRAMES = 8192

_PACK_MAGIC = b"HOLDPAK1"
_PACK_END = b"HOLDEND1"
_FRAME_MAGIC = b"HFF1"
_HEADER = struct.Struct("<4sBBHII32s16s")
_CRC = struct.Struct("<I")
_ENTRY = struct.Struct("<32sIIIBBH")
_TRAILER = struct.Struct("<I32s8s")
_CHECK_BYTES = 16
_NO_CHECK = bytes(_CHECK_BYTES)

HEADER_BYTES = _HEADER.size + _CRC.size


class Kind(IntEnum):
    """What a frame holds; the values are part of the pack format."""

    CHUNK = 0
    SEGMENT = 1


# An enum is called for each frame of a pack, and costs as much as hashing some KiB.
_KINDS = {int(kind): kind for kind in Kind}
_CODECS = {int(codec): codec for codec in Codec}


class FrameEntry(NamedTuple):
    """What a frame's header says, and where the frame begins in what was read."""

    id: bytes
    kind: Kind
    codec: Codec
    offset: int
    stored_len: int
    raw_len: int

    @property
    def frame_len(self) -> int:
        """The length of the frame with its header."""
        return HEADER_BYTES + self.stored_len


class PackBuilder:
    """Collect frames into a pack.

    Raw data is kept by reference: it must not change until the pack's bytes have been used.

    Args:
        domain_key: The key of the dedup domain.
    """

    def __init__(self, domain_key: bytes) -> None:
        self._key = domain_key
        self._encoder = Encoder()
        self._pieces: list[Bytes] = [_PACK_MAGIC]
        self._entries: list[FrameEntry] = []
        self._ids: set[tuple[bytes, Kind]] = set()
        self._offset = len(_PACK_MAGIC)

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """The length of the pack if it were finished now."""
        return self._offset + len(self._entries) * _ENTRY.size + _TRAILER.size

    def fits(self, raw_len: int) -> bool:
        """Tell whether data of this length can still be added, however badly it compresses."""
        more = HEADER_BYTES + raw_len + _ENTRY.size
        return self.count < MAX_PACK_FRAMES and self.size + more <= MAX_PACK_BYTES

    def add(self, id: bytes, data: Bytes, *, word: int = 1, kind: Kind = Kind.CHUNK) -> int:  # noqa: A002
        """Encode data and append its frame, unless the pack holds the id already.

        Args:
            id: The data's `chunk_id`; not checked here.
            data: 1 byte to 4 MiB.
            word: The size of the numbers inside, for the codec.
            kind: A segment is always stored raw.

        Returns:
            The length of the frame with its header, or 0 if the pack held the id already.

        Raises:
            UsageError: The data has an impossible length, or does not fit (see `fits`).
        """
        if not 0 < len(data) <= MAX_CHUNK_BYTES:
            raise UsageError(f"A chunk cannot have {len(data)} bytes.")
        if not self.fits(len(data)):
            raise UsageError("The pack is full.")
        if (id, kind) in self._ids:
            return 0
        codec, stored = (Codec.RAW, data) if kind is Kind.SEGMENT else self._encoder.encode(data, word)
        self._ids.add((id, kind))
        entry = FrameEntry(id, kind, codec, self._offset, len(stored), len(data))
        self._entries.append(entry)
        self._pieces += (_pack_header(entry, stored), stored)
        self._offset += entry.frame_len
        return entry.frame_len

    def finish(self) -> list[Bytes]:
        """Return the pack's bytes in pieces. Raises `UsageError` for a pack without frames."""
        if not self._entries:
            raise UsageError("A pack needs at least one frame.")
        return [*self._pieces, _pack_table(self._entries)]


def _pack_table(entries: Sequence[FrameEntry]) -> bytes:
    """Return the table and the trailer."""
    table = b"".join([_pack_entry(entry) for entry in entries])
    return table + _TRAILER.pack(len(entries), content_digest(table), _PACK_END)


def _pack_entry(entry: FrameEntry) -> bytes:
    return _ENTRY.pack(entry.id, entry.offset, entry.stored_len, entry.raw_len, entry.codec, entry.kind, 0)


def _pack_header(entry: FrameEntry, stored: Bytes) -> bytes:
    check = _NO_CHECK if entry.codec is Codec.RAW else _check_of(stored)
    head = _HEADER.pack(_FRAME_MAGIC, entry.codec, entry.kind, 0, entry.raw_len, len(stored), entry.id, check)
    return head + _CRC.pack(zlib.crc32(head))


def _check_of(stored: Bytes) -> bytes:
    return content_digest(stored)[:_CHECK_BYTES]


def _parse_header(header: Bytes, offset: int) -> tuple[FrameEntry, bytes]:
    """Return the entry and the check field of a header of `HEADER_BYTES`."""
    magic, codec, kind, zero, raw_len, stored_len, id_, check = _HEADER.unpack_from(header)
    (crc,) = _CRC.unpack_from(header, _HEADER.size)
    if magic != _FRAME_MAGIC or crc != zlib.crc32(header[: _HEADER.size]):
        raise MalformedContentError(f"There is no frame at byte {offset}.")
    raw = codec == Codec.RAW
    sane = (
        codec in _CODECS
        and kind in _KINDS
        and zero == 0
        and 0 < raw_len <= MAX_CHUNK_BYTES
        and (stored_len == raw_len and check == _NO_CHECK if raw else 0 < stored_len < raw_len)
        and (kind != Kind.SEGMENT or (raw and raw_len <= MAX_SEGMENT_REFS * REF_BYTES))
    )
    if not sane:
        raise MalformedContentError(f"The frame at byte {offset} has an impossible header.")
    return FrameEntry(id_, _KINDS[kind], _CODECS[codec], offset, stored_len, raw_len), check


class PackParser:
    """Verify a pack that streams in, in pieces of any size.

    Holds at most one encoded frame, the table and the segments; raw chunks are hashed as they pass.

    Args:
        domain_key: The key of the dedup domain.

    Attributes:
        segments: The bodies of the segments so far, by id.
    """

    def __init__(self, domain_key: bytes) -> None:
        self.segments: dict[bytes, bytes] = {}
        self._key = domain_key
        self._entries: list[FrameEntry] = []
        self._ids: set[tuple[bytes, Kind]] = set()
        self._size = 0
        self._intake = _Intake(self._parse())

    def feed(self, data: Bytes) -> None:
        """Take the next bytes. Raises `MalformedContentError`; the parser is of no use afterwards."""
        self._size += len(data)
        if self._size > MAX_PACK_BYTES:
            raise MalformedContentError(f"A pack is larger than {MAX_PACK_BYTES} bytes.")
        self._intake.feed(data)

    def finish(self) -> list[FrameEntry]:
        """Return the frames in order, once all bytes were fed. Raises `MalformedContentError`."""
        if not self._intake.ended:
            raise MalformedContentError("A pack is cut.")
        return self._entries

    def _parse(self) -> _Steps:
        if (yield _Ask(len(_PACK_MAGIC))) != _PACK_MAGIC:
            raise MalformedContentError("These bytes are not a pack.")
        offset = len(_PACK_MAGIC)
        start = bytes((yield _Ask(_ENTRY.size)))
        while not (self._entries and start == _pack_entry(self._entries[0])):
            rest = yield _Ask(HEADER_BYTES - _ENTRY.size)
            entry, check = _parse_header(start + rest, offset)
            self._admit(entry)
            yield from self._take_stored(entry, check)
            offset += entry.frame_len
            start = bytes((yield _Ask(_ENTRY.size)))
        table = _pack_table(self._entries)
        if (yield _Ask(len(table) - _ENTRY.size)) != table[_ENTRY.size :]:
            raise MalformedContentError("The table of a pack does not match its frames.")

    def _admit(self, entry: FrameEntry) -> None:
        if (entry.id, entry.kind) in self._ids:
            raise MalformedContentError("A pack holds an id twice.")
        if len(self._entries) == MAX_PACK_FRAMES:
            raise MalformedContentError(f"A pack has more than {MAX_PACK_FRAMES} frames.")
        self._ids.add((entry.id, entry.kind))
        self._entries.append(entry)

    def _take_stored(self, entry: FrameEntry, check: bytes) -> _Steps:
        if entry.kind is Kind.SEGMENT:
            body = bytes((yield _Ask(entry.stored_len)))
            decode_refs(body)
            id_ = chunk_id(self._key, body)
            self.segments[id_] = body
        elif entry.codec is Codec.RAW:
            id_ = yield from self._hash_passing(entry.stored_len)
        else:
            stored = yield _Ask(entry.stored_len)
            if _check_of(stored) != check:
                raise MalformedContentError("A frame does not match its check.")
            id_ = chunk_id(self._key, decode(entry.codec, stored, entry.raw_len))
        if id_ != entry.id:
            raise MalformedContentError("A frame does not match its id.")

    def _hash_passing(self, left: int) -> Generator[_Ask, Bytes, bytes]:
        hasher = ChunkHasher(self._key)
        while left:
            data = yield _Ask(left, whole=False)
            hasher.update(data)
            left -= len(data)
        return hasher.digest()


class FrameReader:
    """Split a stream of consecutive frames, such as `Vault.read` yields, in pieces of any size.

    Entries have their offset within the stream. The stored bytes are not verified: see `open_frame`.
    """

    def __init__(self) -> None:
        self._frames: list[tuple[FrameEntry, Bytes]] = []
        self._inside = False
        self._intake = _Intake(self._parse())

    def feed(self, data: Bytes) -> list[tuple[FrameEntry, Bytes]]:
        """Take the next bytes and return the frames that they complete.

        Stored bytes may be views of ``data``: leave it unchanged while they are used.

        Raises:
            MalformedContentError: There is no frame where one should begin.
        """
        self._intake.feed(data)
        frames, self._frames = self._frames, []
        return frames

    def finish(self) -> None:
        """Check that the stream ended at the end of a frame. Raises `MalformedContentError`."""
        if self._inside or self._intake.holds:
            raise MalformedContentError("A frame is cut.")

    def _parse(self) -> _Steps:
        offset = 0
        while True:
            entry, _ = _parse_header((yield _Ask(HEADER_BYTES)), offset)
            self._inside = True
            stored = yield _Ask(entry.stored_len)
            self._frames.append((entry, stored))
            self._inside = False
            offset += entry.frame_len


def iter_frames(buffer: Bytes) -> Iterator[tuple[FrameEntry, memoryview]]:
    """Yield the consecutive whole frames in a buffer, with offsets within it and views of their stored bytes.

    Raises:
        MalformedContentError: There is anything but whole frames.
    """
    view = memoryview(buffer)
    offset = 0
    while offset < len(view):
        body = offset + HEADER_BYTES
        if body > len(view):
            raise MalformedContentError("A frame is cut.")
        entry, _ = _parse_header(view[offset:body], offset)
        offset += entry.frame_len
        if offset > len(view):
            raise MalformedContentError("A frame is cut.")
        yield entry, view[body:offset]


def open_frame(domain_key: bytes, entry: FrameEntry, stored: Bytes) -> Bytes:
    """Return the raw bytes of a frame after verifying them against its id.

    Returns:
        For the raw codec the very object given.

    Raises:
        CorruptContentError: They do not match.
    """
    try:
        data = stored if entry.codec is Codec.RAW else decode(entry.codec, stored, entry.raw_len)
    except MalformedContentError as exc:
        raise _corrupt(entry) from exc
    if chunk_id(domain_key, data) != entry.id:
        raise _corrupt(entry)
    return data


def check_frame(domain_key: bytes, frame: Bytes) -> FrameEntry:
    """Verify one whole stored frame before it is served, without decoding it.

    Raises:
        CorruptContentError: It is not exactly one frame, or its bytes are not those that were stored.
    """
    view = memoryview(frame)
    try:
        entry, check = _parse_header(view[:HEADER_BYTES], 0)
    except (MalformedContentError, struct.error) as exc:
        raise CorruptContentError("A stored frame has a damaged header.") from exc
    if entry.frame_len != len(view):
        raise _corrupt(entry)
    stored = view[HEADER_BYTES:]
    raw = entry.codec is Codec.RAW
    if not (chunk_id(domain_key, stored) == entry.id if raw else _check_of(stored) == check):
        raise _corrupt(entry)
    return entry


def _corrupt(entry: FrameEntry) -> CorruptContentError:
    return CorruptContentError(f"The stored {entry.kind.name.lower()} {entry.id.hex()} is damaged.")


class _Ask(NamedTuple):
    """How many bytes a parser wants next; when not ``whole``, fewer will do."""

    length: int
    whole: bool = True


_Steps: TypeAlias = Generator[_Ask, Bytes, None]


class _Intake:
    """Hand a parser the bytes it asks for, out of pieces of any size; what lies in one piece is not copied."""

    def __init__(self, steps: _Steps) -> None:
        self._steps = steps
        self._held = bytearray()
        self._ask = next(steps)
        self.ended = False

    @property
    def holds(self) -> int:
        """How many bytes wait for the rest of what was asked for."""
        return len(self._held)

    def feed(self, data: Bytes) -> None:
        view = memoryview(data)
        while view.nbytes:
            if self.ended:
                raise MalformedContentError("Bytes follow the end of a pack.")
            taken = view[: self._ask.length - len(self._held)]
            view = view[len(taken) :]
            self._take(taken)

    def _take(self, taken: memoryview) -> None:
        piece: Bytes = taken
        if self._ask.whole and len(taken) < self._ask.length:
            self._held += taken
            if len(self._held) < self._ask.length:
                return
            piece, self._held = self._held, bytearray()
        try:
            self._ask = self._steps.send(piece)
        except StopIteration:
            self.ended = True
