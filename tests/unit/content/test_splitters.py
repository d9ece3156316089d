from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.content.codecs import MAX_CHUNK_BYTES
from holdfast.content.hashing import chunk_id
from holdfast.content.manifests import ChunkRef
from holdfast.content.splitters import (
    SPLITTERS,
    CdcSplitter,
    Piece,
    Splitter,
    TailSplitter,
    WholeSplitter,
    choose_splitter,
)
from holdfast.errors import MalformedContentError

from .samples import NOISE, archive, read_from, safetensors

KEY = bytes(range(32))
MIB = 1 << 20
SAFETENSORS = safetensors([("F32", 2 * MIB + 5), ("BF16", 100), ("BF16", 300_000), ("U8", 7), ("F64", MIB)])
ARCHIVE = archive([("a/data.pkl", 500), ("a/data/0", 2 * MIB), ("a/data/1", 40), ("a/data/2", 300_000)])
SMALL_SAFETENSORS = safetensors([("F32", 40_000), ("BF16", 40_000)])
SMALL_ARCHIVE = archive([("data.pkl", 500), ("data/0", 70_000), ("data/1", 20)])


def chosen(data: bytes) -> Splitter:
    return choose_splitter(len(data), read_from(data))


def cut(splitter: Splitter, data: bytes, windows: int = 1 << 30) -> list[Piece]:
    """Cut a whole file as a caller would, checking what the Protocol promises."""
    pieces: list[Piece] = []
    begin = end = 0
    while begin < len(data):
        end = min(len(data), end + windows)
        final = end == len(data)
        found = splitter.cut(memoryview(data)[begin:end], offset=begin, final=final)
        assert found or end - begin < MAX_CHUNK_BYTES
        assert all(0 < piece.length <= MAX_CHUNK_BYTES and piece.word in (1, 2, 4, 8) for piece in found)
        pieces += found
        begin += sum(piece.length for piece in found)
        assert begin == end if final else begin <= end
    return pieces


def refs_of(pieces: list[Piece], data: bytes) -> list[ChunkRef]:
    refs, begin = [], 0
    for piece in pieces:
        refs.append(ChunkRef(chunk_id(KEY, data[begin : begin + piece.length]), piece.length))
        begin += piece.length
    return refs


def ends_of(pieces: list[Piece]) -> list[int]:
    ends = [0]
    for piece in pieces:
        ends.append(ends[-1] + piece.length)
    return ends[1:]


TEXT = b"".join(b"step %d loss 0.%d\n" % (i, i * 7919 % 1000) for i in range(150_000))
FILES = {
    "empty": b"",
    "small": NOISE[:1000],
    "noise": NOISE,
    "zeros": bytes(2_500_000),
    "text": TEXT,
    "safetensors": SAFETENSORS,
    "zip": ARCHIVE,
}


@given(st.sampled_from(sorted(FILES)), st.integers(20_000, 6_000_000))
@settings(max_examples=80, deadline=None)
def test_the_cuts_do_not_depend_on_the_windows(name, windows):
    data = FILES[name]

    assert cut(chosen(data), data, windows) == cut(chosen(data), data)


@given(st.sampled_from(sorted(FILES)), st.sampled_from(sorted(FILES)), st.integers(20_000, 6_000_000))
@settings(max_examples=60, deadline=None)
def test_a_tail_does_not_depend_on_the_windows(before, after, windows):
    refs = refs_of(cut(chosen(FILES[before]), FILES[before]), FILES[before])
    data = FILES[before][:2_000_000] + FILES[after]

    pieces = cut(TailSplitter(refs, KEY), data, windows)

    assert pieces == cut(TailSplitter(refs, KEY), data)
    for piece, ref in zip(pieces, refs_of(pieces, data), strict=True):
        assert piece.id in (None, ref.id)


@given(st.binary(max_size=500), st.sampled_from(sorted(SPLITTERS)), st.integers(1, 64))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_cut_into_themselves(data, name, windows):
    try:
        splitter = SPLITTERS[name](len(data), read_from(data))
    except MalformedContentError:
        splitter = chosen(data)

    assert ends_of(cut(splitter, data, windows))[-1:] == [len(data)][: len(data)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("empty", "whole1"),
        ("small", "whole1"),
        ("noise", "cdc1"),
        ("text", "cdc1"),
        ("safetensors", "st1"),
        ("zip", "ptz1"),
    ],
)
def test_the_splitter_is_chosen_by_content(name, expected):
    assert chosen(FILES[name]).name == expected


def test_a_file_that_grew_after_it_was_called_small_is_still_cut_into_chunks():
    assert [piece.length for piece in cut(WholeSplitter(), bytes(9 * MIB), MIB)] == [4 * MIB, 4 * MIB, MIB]


# -- cdc1


def test_content_cuts_are_deterministic_and_within_bounds():
    lengths = [piece.length for piece in cut(CdcSplitter(), NOISE)]

    assert lengths[:3] == [262454, 440626, 309024]
    assert all(64 << 10 <= length <= MIB for length in lengths[:-1])


def test_an_insertion_changes_few_content_chunks():
    changed = NOISE[:1_000_000] + b"inserted" + NOISE[1_000_000:]

    before = set(refs_of(cut(CdcSplitter(), NOISE), NOISE))
    after = refs_of(cut(CdcSplitter(), changed), changed)

    assert sum(ref not in before for ref in after) <= 2


# -- st1


def test_safetensors_are_cut_at_tensors_with_their_word():
    header = len(SAFETENSORS) - (3 * MIB + 300_112)

    assert [tuple(piece[:2]) for piece in cut(chosen(SAFETENSORS), SAFETENSORS)] == [
        (header, 1),
        (MIB, 4),
        (MIB, 4),
        (5, 4),
        (100, 2),
        (300_000, 2),
        (7, 1),
        (MIB, 8),
    ]


def test_small_tensors_share_pieces_of_at_most_a_mebibyte_and_keep_the_commonest_word():
    data = safetensors([("BF16", 100_000)] * 12 + [("F32", 8)])

    pieces = cut(chosen(data), data)[1:]

    assert [tuple(piece[:2]) for piece in pieces] == [(1_000_000, 2), (200_008, 2)]


def test_tensors_keep_their_chunks_when_another_header_shifts_them():
    shifted = safetensors([("F32", 2 * MIB)], header={"__metadata__": {"step": "1000000"}})
    plain = safetensors([("F32", 2 * MIB)])

    assert (
        refs_of(cut(chosen(plain), plain), plain)[1:] == refs_of(cut(chosen(shifted), shifted), shifted)[1:]
    )


def test_gaps_between_tensors_are_kept():
    data = safetensors([("F32", 400_000), ("F32", 400_000)], gap=10)

    assert [piece.length for piece in cut(chosen(data), data)][1:] == [10, 400_000, 10, 400_000]


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 10]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [80_001, 80_000]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [-5, 0]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [80_000, 10**30]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [80_000.0, 80_000.0]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [80_000]}},
        {"x": {"dtype": "F32"}},
        {"x": [1, 2]},
        {"x": None},
    ],
)
def test_an_insane_safetensors_header_means_content_cuts(header):
    data = safetensors([("F32", 40_000), ("BF16", 40_000)], header=header)

    assert chosen(data).name == "cdc1"


def test_a_deeply_nested_header_means_content_cuts():
    text = b'{"x":' + b"[" * 100_000

    data = len(text).to_bytes(8, "little") + text

    assert chosen(data).name == "cdc1"


# -- ptz1


def test_an_archive_is_cut_at_its_records():
    pieces = cut(chosen(ARCHIVE), ARCHIVE)
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as zipped:
        large = [info for info in zipped.infolist() if info.file_size >= 256 << 10]

    begins = [0, *ends_of(pieces)]
    for info in large:
        begin = info.header_offset + 30 + len(info.filename)
        assert begin in begins
        assert begin + info.file_size in begins
    assert max(piece.length for piece in pieces) == MIB


def test_records_keep_their_chunks_under_another_name():
    one = archive([("step-9/data.pkl", 500), ("step-9/data/0", 2 * MIB)])
    other = archive([("step-1000/data.pkl", 500), ("step-1000/data/0", 2 * MIB)])

    shared = set(refs_of(cut(chosen(one), one), one)) & set(refs_of(cut(chosen(other), other), other))

    assert sum(ref.raw_len for ref in shared) == 2 * MIB


def test_a_file_of_torch_is_cut_at_its_tensors_with_their_word():
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(MIB, generator=generator) * 0.02
    file = io.BytesIO()
    torch.save({"single": weights, "half": weights.to(torch.bfloat16), "step": torch.tensor(5)}, file)
    data = file.getvalue()

    pieces = cut(chosen(data), data)

    assert [piece.word for piece in pieces if piece.length == MIB] == [4, 4, 4, 4, 2, 2]


def test_a_zip64_archive_is_cut_at_its_records():
    data = with_zip64_end(archive([("a", 500_000), ("b", 500_000)], zip64=True))

    assert chosen(data).name == "ptz1"
    assert [piece.length for piece in cut(chosen(data), data)].count(500_000) == 2


def with_zip64_end(data: bytes) -> bytes:
    """The archive with its end moved to the 64-bit records and each directory entry's numbers to extra fields."""
    (directory_at,) = struct.unpack_from("<I", data, len(data) - 6)
    directory = b""
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        for info in zipped.infolist():
            extra = struct.pack("<HH", 0x5455, 1) + b"\0"
            extra += struct.pack("<HHQQQ", 1, 24, info.file_size, info.compress_size, info.header_offset)
            head = struct.pack("<4s6H3I", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, info.CRC, 0xFFFFFFFF, 0xFFFFFFFF)
            head += struct.pack("<5H2I", len(info.filename), len(extra), 0, 0, 0, 0, 0xFFFFFFFF)
            directory += head + info.filename.encode() + extra
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, len(directory), directory_at)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, directory_at + len(directory), 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:directory_at] + directory + end64 + locator + end


def test_the_word_of_compressed_records_is_one():
    data = archive([("a", 500_000)], method=zipfile.ZIP_DEFLATED)

    assert {piece.word for piece in cut(chosen(data), data)} == {1}


def damaged(data: bytes, near: bytes, field: int, value: bytes) -> bytes:
    """The file with a field after the last occurrence of a signature replaced."""
    at = data.rindex(near) + field
    return data[:at] + value + data[at + len(value) :]


ENTRY, END, LOCATOR64, END64 = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
SMALL_ZIP64 = with_zip64_end(SMALL_ARCHIVE)


@pytest.mark.parametrize(
    "data",
    [
        damaged(SMALL_ARCHIVE, ENTRY, 0, b"QQ"),
        damaged(SMALL_ARCHIVE, ENTRY, 20, (2**31).to_bytes(4, "little")),
        damaged(SMALL_ARCHIVE, ENTRY, 42, (2**31).to_bytes(4, "little")),
        damaged(SMALL_ARCHIVE, ENTRY, 42, (7).to_bytes(4, "little")),
        damaged(SMALL_ARCHIVE, ENTRY, 42, (0).to_bytes(4, "little")),
        damaged(SMALL_ARCHIVE, END, 12, (20).to_bytes(4, "little")),
        damaged(SMALL_ARCHIVE, END, 16, (2**31).to_bytes(4, "little")),
        damaged(SMALL_ARCHIVE, END, 16, bytes([255] * 4)),
        damaged(SMALL_ARCHIVE, END, 20, b"\1\0"),
        damaged(SMALL_ZIP64, LOCATOR64, 8, bytes([255] * 8)),
        damaged(SMALL_ZIP64, LOCATOR64, 8, bytes(8)),
        damaged(SMALL_ZIP64, LOCATOR64, 0, b"QQ"),
        damaged(SMALL_ZIP64, END64, 48, bytes([255] * 8)),
    ],
)
def test_a_damaged_archive_is_cut_by_content(data):
    assert chosen(data).name == "cdc1"


def test_a_small_archive_is_whole_before_it_is_damaged():
    assert chosen(SMALL_ARCHIVE).name == chosen(SMALL_ZIP64).name == "ptz1"


def test_a_directory_too_large_to_parse_means_content_cuts():
    data = b"PK\x03\x04" + bytes(17 << 20)
    end = struct.pack("<4s4H2IH", END, 0, 0, 1, 1, len(data) - 4, 4, 0)

    assert chosen(data + end).name == "cdc1"


def test_an_archive_that_shrinks_while_it_is_read_means_content_cuts():
    def read_at(offset: int, length: int) -> bytes:
        is_local_header = length == 30
        return b"" if is_local_header else SMALL_ARCHIVE[offset : offset + length]

    assert choose_splitter(len(SMALL_ARCHIVE), read_at).name == "cdc1"


@given(st.sampled_from([SMALL_SAFETENSORS, SMALL_ARCHIVE, SMALL_ZIP64]), st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_of_a_known_format_is_cut_into_itself(original, data):
    mutated = bytearray(original)
    structure = [*range(400), *range(len(original) - 400, len(original))]
    for _ in range(data.draw(st.integers(0, 4))):
        mutated[data.draw(st.sampled_from(structure))] = data.draw(st.sampled_from([0, 1, 0x7F, 0xFF, 0x30]))
    mutated = bytes(mutated[: data.draw(st.integers(1, len(mutated)) | st.just(len(mutated)))])

    assert ends_of(cut(chosen(mutated), mutated, 30_000))[-1] == len(mutated)


# -- tail1


def test_a_growing_file_keeps_its_chunks_and_adds_only_what_is_new():
    data, refs = b"", []
    for index in range(20):
        data += TEXT[index * 10_000 :][:10_000]
        pieces = cut(TailSplitter(refs, KEY), data)
        assert [piece.id for piece in pieces[:-1]] == [ref.id for ref in refs]
        assert pieces[-1] == Piece(10_000)
        refs = refs_of(pieces, data)


def test_new_bytes_come_in_pieces_of_a_mebibyte():
    refs = refs_of([Piece(1000)], NOISE)

    assert [piece.length for piece in cut(TailSplitter(refs, KEY), NOISE)] == [1000, MIB, MIB, MIB - 1000]


def test_after_a_mismatch_the_rest_is_cut_by_content():
    refs = refs_of([Piece(100_000)] * 5, NOISE)
    changed = NOISE[:250_000] + b"!" + NOISE[250_001:]

    pieces = cut(TailSplitter(refs, KEY), changed)

    assert [piece.id for piece in pieces[:3]] == [refs[0].id, refs[1].id, None]
    assert pieces[2:] == cut(CdcSplitter(), changed[200_000:])


def test_a_file_that_became_shorter_is_cut_anew_from_there():
    refs = refs_of([Piece(100_000)] * 5, NOISE)

    pieces = cut(TailSplitter(refs, KEY), NOISE[:250_000])

    assert [piece.length for piece in pieces] == [100_000, 100_000, 50_000]
    assert cut(TailSplitter(refs, KEY), b"") == []
