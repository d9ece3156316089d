from __future__ import annotations

import random
import struct
import tracemalloc
import zlib

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.content.codecs import MAX_CHUNK_BYTES, Codec
from holdfast.content.hashing import chunk_id, content_digest
from holdfast.content.manifests import ChunkRef, encode_refs
from holdfast.content.packs import (
    HEADER_BYTES,
    MAX_PACK_BYTES,
    MAX_PACK_FRAMES,
    FrameReader,
    Kind,
    PackBuilder,
    PackParser,
    check_frame,
    iter_frames,
    open_frame,
)
from holdfast.errors import CorruptContentError, MalformedContentError, UsageError

KEY = bytes(range(32))
NOISE = random.Random(5).randbytes(300_000)
TEXT = b"step 1 loss 0.5\n" * 5000
SEGMENT = encode_refs([ChunkRef(bytes([i]) * 32, i + 1) for i in range(64)])


def build(chunks: list[bytes], segments: list[bytes] = ()) -> tuple[list, bytes]:
    builder = PackBuilder(KEY)
    for data in chunks:
        builder.add(chunk_id(KEY, data), memoryview(data), word=2)
    for body in segments:
        builder.add(chunk_id(KEY, body), body, kind=Kind.SEGMENT)
    pieces = builder.finish()
    pack = b"".join(pieces)
    assert len(pack) == builder.size
    return pieces, pack


def parse(pack: bytes, feed: int = 1 << 30) -> PackParser:
    parser = PackParser(KEY)
    for start in range(0, len(pack), feed):
        parser.feed(memoryview(pack)[start : start + feed])
    parser.finish()
    return parser


def frames_of(pack: bytes) -> bytes:
    entries = parse(pack).finish()
    return pack[entries[0].offset : entries[-1].offset + entries[-1].frame_len]


SAMPLE = [NOISE, TEXT, b"x", TEXT[:50], NOISE[:70_000]]
_, PACK = build(SAMPLE, [SEGMENT])


@given(
    st.lists(
        st.binary(min_size=1, max_size=200) | st.sampled_from(SAMPLE), min_size=1, max_size=12, unique=True
    ),
    st.integers(100, 100_000),
)
@settings(max_examples=30, deadline=None)
def test_a_pack_survives_the_round_trip_whatever_the_pieces(chunks, feed):
    _, pack = build(chunks)

    entries = parse(pack, feed).finish()

    assert [entry.id for entry in entries] == [chunk_id(KEY, data) for data in chunks]
    for entry, data in zip(entries, chunks, strict=True):
        frame = memoryview(pack)[entry.offset : entry.offset + entry.frame_len]
        assert check_frame(KEY, frame).id == entry.id
        assert open_frame(KEY, entry, frame[HEADER_BYTES:]) == data


@pytest.mark.parametrize("feed", [67, 68, 4096])
def test_the_parser_returns_kinds_and_segments(feed):
    parser = parse(PACK, feed)

    assert [entry.kind for entry in parser.finish()] == [Kind.CHUNK] * 5 + [Kind.SEGMENT]
    assert parser.segments == {chunk_id(KEY, SEGMENT): SEGMENT}
    assert [entry.codec for entry in parser.finish()][:3] == [Codec.RAW, Codec.GROUP2, Codec.RAW]


def test_a_pack_that_comes_byte_by_byte_is_parsed():
    _, pack = build([b"first", TEXT], [SEGMENT])

    assert len(parse(pack, 1).finish()) == 3


def test_the_builder_does_not_copy_raw_data():
    view = memoryview(NOISE)
    builder = PackBuilder(KEY)
    builder.add(chunk_id(KEY, view), view)

    assert any(piece is view for piece in builder.finish())


def test_the_parser_does_not_hold_raw_chunks():
    data = random.Random(1).randbytes(MAX_CHUNK_BYTES)
    _, pack = build([data])

    tracemalloc.start()
    parse(pack, 65_536)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 100_000


def test_an_id_is_added_once_per_kind():
    builder = PackBuilder(KEY)
    id_ = chunk_id(KEY, SEGMENT)

    assert builder.add(id_, SEGMENT) > 0
    assert builder.add(id_, SEGMENT) == 0
    assert builder.add(id_, SEGMENT, kind=Kind.SEGMENT) > 0
    assert len(parse(b"".join(builder.finish())).finish()) == builder.count == 2


def test_the_builder_refuses_what_a_pack_cannot_hold():
    builder = PackBuilder(KEY)
    with pytest.raises(UsageError):
        builder.finish()
    for data in (b"", bytes(MAX_CHUNK_BYTES + 1)):
        with pytest.raises(UsageError):
            builder.add(bytes(32), data)


def test_a_full_pack_is_parsed_and_takes_no_more():
    data = memoryview(random.Random(2).randbytes(MAX_CHUNK_BYTES + 64))
    builder = PackBuilder(KEY)
    count = 0
    while builder.fits(MAX_CHUNK_BYTES):
        chunk = data[count : count + MAX_CHUNK_BYTES]
        builder.add(chunk_id(KEY, chunk), chunk)
        count += 1
    parser = PackParser(KEY)
    for piece in builder.finish():
        parser.feed(piece)

    assert len(parser.finish()) == count == 15
    assert builder.size <= MAX_PACK_BYTES
    with pytest.raises(UsageError):
        builder.add(bytes(32), data[:MAX_CHUNK_BYTES])


def test_a_pack_of_most_frames_is_parsed():
    _, pack = build([number.to_bytes(4, "big") for number in range(MAX_PACK_FRAMES)])

    assert len(parse(pack).finish()) == MAX_PACK_FRAMES


def test_a_chunk_whose_id_looks_like_a_frame_is_no_table(monkeypatch):
    data = b"unlucky"
    twin = b"HFF1" + bytes(28)
    monkeypatch.setattr("holdfast.content.packs.ChunkHasher", lambda _: _Fixed(twin))
    builder = PackBuilder(KEY)
    builder.add(twin, data)

    assert parse(b"".join(builder.finish())).finish()[0].id == twin


class _Fixed:
    def __init__(self, id_: bytes) -> None:
        self._id = id_

    def update(self, data: bytes) -> None:
        pass

    def digest(self) -> bytes:
        return self._id


@given(st.integers(0, len(PACK) - 1))
@settings(max_examples=100, deadline=None)
def test_a_cut_pack_is_malformed(length):
    with pytest.raises(MalformedContentError):
        parse(PACK[:length])


@given(st.integers(0, len(PACK) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_pack_with_any_changed_byte_is_malformed(position, flip):
    damaged = bytearray(PACK)
    damaged[position] ^= flip

    with pytest.raises(MalformedContentError):
        parse(bytes(damaged))


def test_every_changed_byte_of_header_table_and_trailer_is_malformed():
    _, pack = build([b"first", b"second"])
    for position in range(len(pack)):
        damaged = bytearray(pack)
        damaged[position] ^= 1
        with pytest.raises(MalformedContentError):
            parse(bytes(damaged))


def test_bytes_after_the_end_are_malformed():
    with pytest.raises(MalformedContentError):
        parse(PACK + b"\0")


def test_a_parser_stays_useless_after_a_fault():
    parser = PackParser(KEY)
    with pytest.raises(MalformedContentError):
        parser.feed(b"NOTAPACK")
    with pytest.raises(MalformedContentError):
        parser.finish()


def test_a_pack_of_another_domain_is_malformed():
    parser = PackParser(bytes(32))
    with pytest.raises(MalformedContentError):
        parser.feed(PACK)


def test_an_endless_pack_is_cut_off():
    parser = PackParser(KEY)
    parser.feed(PACK[: 8 + HEADER_BYTES])
    with pytest.raises(MalformedContentError, match="larger"):
        parser.feed(memoryview(bytes(MAX_PACK_BYTES)))


def forged_frame(stored: bytes = b"abc", raw: bytes = b"abc", **changes: int | bytes) -> bytes:
    """A raw frame that is right but for the fields given; its CRC is right."""
    fields = {"codec": 0, "kind": 0, "zero": 0, "raw_len": len(raw), "stored_len": len(stored)}
    fields |= {"id": chunk_id(KEY, raw), "check": bytes(16)} | changes
    head = struct.pack("<4sBBHII32s16s", b"HFF1", *fields.values())
    return head + struct.pack("<I", zlib.crc32(head)) + stored


@pytest.mark.parametrize(
    "changes",
    [
        {"codec": 5},
        {"kind": 2},
        {"zero": 1},
        {"raw_len": 0, "stored_len": 0},
        {"raw_len": MAX_CHUNK_BYTES + 1, "stored_len": MAX_CHUNK_BYTES + 1},
        {"raw_len": 4},
        {"codec": 1},
        {"codec": 1, "stored_len": 0},
        {"check": b"x" * 16},
        {"kind": 1, "codec": 1, "raw_len": 36},
        {"kind": 1, "raw_len": 36 * 1025, "stored_len": 36 * 1025},
    ],
)
def test_an_impossible_header_is_refused_though_its_crc_is_right(changes):
    frame = forged_frame(**changes)

    with pytest.raises(MalformedContentError):
        list(iter_frames(frame))
    with pytest.raises(CorruptContentError):
        check_frame(KEY, frame)
    assert check_frame(KEY, forged_frame()).raw_len == 3


def test_a_pack_that_holds_an_id_twice_is_malformed():
    with pytest.raises(MalformedContentError):
        PackParser(KEY).feed(b"HOLDPAK1" + forged_frame() * 2)


def test_a_pack_of_too_many_frames_is_malformed():
    chunks = [number.to_bytes(4, "big") for number in range(MAX_PACK_FRAMES + 1)]

    with pytest.raises(MalformedContentError, match="frames"):
        PackParser(KEY).feed(b"HOLDPAK1" + b"".join(forged_frame(data, data) for data in chunks))


def test_an_encoded_frame_without_the_right_check_is_malformed():
    with pytest.raises(MalformedContentError, match="check"):
        PackParser(KEY).feed(b"HOLDPAK1" + forged_frame(zstd.compress(TEXT), TEXT, codec=1))


def test_a_segment_that_holds_no_references_is_malformed():
    with pytest.raises(MalformedContentError):
        build_and_parse_segment(b"abc")
    with pytest.raises(MalformedContentError):
        build_and_parse_segment(bytes(36))


def build_and_parse_segment(body: bytes) -> None:
    parse(build([], [body])[1])


@given(st.integers(50, 100_000))
@settings(max_examples=20, deadline=None)
def test_frames_are_read_from_a_stream_in_any_pieces(feed):
    frames = frames_of(PACK)
    reader = FrameReader()
    found = []
    for start in range(0, len(frames), feed):
        found += reader.feed(frames[start : start + feed])
    reader.finish()

    assert [open_frame(KEY, entry, stored) for entry, stored in found] == [*SAMPLE, SEGMENT]
    assert [entry for entry, _ in found] == [entry for entry, _ in iter_frames(frames)]


@pytest.mark.parametrize("length", [1, HEADER_BYTES, HEADER_BYTES + 1, 300_000])
def test_a_cut_stream_of_frames_is_noticed(length):
    frames = frames_of(PACK)[:length]
    reader = FrameReader()
    reader.feed(frames)

    with pytest.raises(MalformedContentError):
        reader.finish()
    with pytest.raises(MalformedContentError):
        list(iter_frames(frames))


@given(st.integers(0, 200), st.integers(1, 255), st.sampled_from([NOISE[:100], TEXT]))
@settings(max_examples=100, deadline=None)
def test_a_damaged_frame_is_never_accepted(position, flip, data):
    frames = bytearray(frames_of(build([data])[1]))
    entry, _ = next(iter_frames(bytes(frames)))
    position %= len(frames)
    frames[position] ^= flip

    with pytest.raises(CorruptContentError):
        check_frame(KEY, frames)
    if position >= HEADER_BYTES:
        with pytest.raises(CorruptContentError):
            open_frame(KEY, entry, bytes(frames[HEADER_BYTES:]))


def test_a_frame_that_is_cut_or_followed_is_corrupt():
    frame = frames_of(build([TEXT])[1])
    for damaged in (frame[:-1], frame + b"\0", frame[:10], b""):
        with pytest.raises(CorruptContentError):
            check_frame(KEY, damaged)


def test_a_raw_frame_of_another_domain_is_corrupt():
    with pytest.raises(CorruptContentError):
        check_frame(bytes(32), frames_of(build([NOISE[:50]])[1]))


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_malformed(data):
    with pytest.raises(MalformedContentError):
        parse(data)
    with pytest.raises(MalformedContentError):
        parse(b"HOLDPAK1" + data)


def test_the_table_is_laid_out_as_the_format_says():
    _, pack = build([b"abc"])

    table = chunk_id(KEY, b"abc") + struct.pack("<IIIBBH", 8, 3, 3, 0, 0, 0)
    assert (
        pack
        == b"HOLDPAK1" + forged_frame() + table + struct.pack("<I", 1) + content_digest(table) + b"HOLDEND1"
    )
