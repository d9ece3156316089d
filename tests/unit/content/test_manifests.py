from __future__ import annotations

import contextlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.content.hashing import chunk_id
from holdfast.content.manifests import (
    ChunkPlace,
    ChunkRef,
    ManifestBuilder,
    SegmentRef,
    decode_manifest,
    decode_places,
    decode_refs,
    encode_manifest,
    encode_places,
    encode_refs,
    fold,
)
from holdfast.errors import MalformedContentError

KEY = bytes(range(32))
RANDOM = random.Random(11)
REFS = [ChunkRef(RANDOM.randbytes(32), RANDOM.randrange(1, 1 << 20)) for _ in range(5000)]


def expand(records: list, bodies: dict[bytes, bytes]) -> list[ChunkRef]:
    refs = []
    for record in records:
        if isinstance(record, SegmentRef):
            covered = decode_refs(bodies[record.id])
            assert chunk_id(KEY, bodies[record.id]) == record.id
            assert record[1:] == (sum(ref.raw_len for ref in covered), len(covered))
            refs += covered
        else:
            refs.append(record)
    return refs


@given(st.integers(0, 5000))
@settings(max_examples=40, deadline=None)
def test_any_number_of_chunks_folds_into_a_small_manifest_and_back(count):
    builder = ManifestBuilder(KEY)
    builder.extend(REFS[:count])

    manifest, bodies = builder.finish()

    assert len(manifest) < 4000
    assert expand(decode_manifest(manifest), bodies) == REFS[:count]


def test_a_file_that_grows_chunk_by_chunk_keeps_a_small_manifest_and_sends_each_segment_once():
    records, stored, sent = [], {}, 0
    for count, ref in enumerate(REFS[:2500], start=1):
        known = {id_: decode_refs(body) for id_, body in stored.items()} if count % 64 == 1 else {}
        records, new = fold(KEY, [*records, ref], known)
        assert stored.keys().isdisjoint(new)
        stored |= new
        sent += sum(map(len, new.values()))
        manifest = encode_manifest(records)
        assert len(manifest) < 4000
        assert decode_manifest(manifest) == records

    assert expand(records, stored) == REFS[:2500]
    assert sent <= 2 * 36 * 2500
    assert records == fold(KEY, REFS[:2500])[0]


def test_a_longer_file_shares_the_segments_of_its_beginning():
    before = fold(KEY, REFS[:2100])[0]
    after = fold(KEY, REFS[:2200])[0]

    shared = {record for record in before if isinstance(record, SegmentRef)}
    assert sum(record.chunks for record in shared & set(after)) == 2048
    assert [record.chunks for record in after[:2]] == [1024, 1024]


def test_unknown_segments_stay_as_they_are():
    records, bodies = fold(KEY, REFS[:1000])

    more, new = fold(KEY, [*records, *REFS[1000:3000]])

    assert [record for record in records if isinstance(record, SegmentRef)] == more[:15]
    assert expand(more, bodies | new) == REFS[:3000]


def test_chunks_before_a_segment_keep_their_order():
    segment, bodies = fold(KEY, REFS[:65])
    records, new = fold(KEY, [*REFS[100:200], segment[0], *REFS[200:210]])

    assert expand(records, bodies | new) == REFS[100:200] + REFS[:64] + REFS[200:210]


def test_equal_chunks_make_one_segment_body():
    records, bodies = fold(KEY, [REFS[0]] * 3000)

    assert expand(records, bodies) == [REFS[0]] * 3000
    assert len(bodies) == 2


def test_the_formats_are_as_documented():
    id_ = bytes(range(32))

    assert encode_manifest([SegmentRef(id_, 99, 3), ChunkRef(id_, 7)]) == (
        b"\x01S" + id_ + struct.pack("<QI", 99, 3) + b"C" + id_ + struct.pack("<I", 7)
    )
    assert encode_refs([ChunkRef(id_, 7)]) == id_ + struct.pack("<I", 7)
    assert encode_places([ChunkPlace(id_, 7, 2, 1 << 40, 75)]) == id_ + struct.pack(
        "<IIQI", 7, 2, 1 << 40, 75
    )


def test_places_survive_the_round_trip():
    places = [ChunkPlace(ref.id, ref.raw_len, 3, 1 << 33, ref.raw_len + 68) for ref in REFS[:50]]

    assert decode_places(encode_places(places)) == places


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x01X" + bytes(40),
        b"\x01C" + bytes(31),
        b"\x01C" + bytes(32) + struct.pack("<I", 0),
        b"\x01C" + bytes(32) + struct.pack("<I", (4 << 20) + 1),
        b"\x01S" + bytes(32) + struct.pack("<QI", 0, 0),
        b"\x01S" + bytes(32) + struct.pack("<QI", 5, 6),
        b"\x01S" + bytes(32) + struct.pack("<QI", 5000, 1025),
        b"\x01S" + bytes(32) + struct.pack("<QI", 1 << 60, 1),
        b"\x01" + 65 * (b"C" + bytes(32) + struct.pack("<I", 1)),
    ],
)
def test_a_malformed_manifest_is_refused(data):
    with pytest.raises(MalformedContentError):
        decode_manifest(data)


def test_a_manifest_of_too_many_chunk_records_is_not_written():
    with pytest.raises(MalformedContentError):
        encode_manifest(REFS[:65])


@pytest.mark.parametrize("decoder", [decode_refs, decode_places])
@pytest.mark.parametrize("data", [b"x", bytes(36 * 52), b"\xff" * 36 * 52])
def test_malformed_lists_are_refused(decoder, data):
    with pytest.raises(MalformedContentError):
        decoder(data)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_mutated_manifest_decodes_to_what_it_says_or_is_malformed(data):
    manifest = bytearray(encode_manifest(fold(KEY, REFS[:1100])[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        manifest[data.draw(st.integers(0, len(manifest) - 1))] = data.draw(st.integers(0, 255))
    mutated = bytes(manifest[: data.draw(st.integers(0, len(manifest)))])

    with contextlib.suppress(MalformedContentError):
        assert encode_manifest(decode_manifest(mutated)) == mutated
