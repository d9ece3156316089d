from __future__ import annotations

import contextlib
import random

import pytest
from backports import zstd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.content.codecs import MAX_CHUNK_BYTES, Codec, Encoder, decode
from holdfast.errors import MalformedContentError

numpy = pytest.importorskip("numpy")

WORDS = st.sampled_from([1, 2, 4, 8])
NOISE = random.Random(7).randbytes(1 << 20)


def weights(dtype: str, count: int = 1 << 18) -> bytes:
    """Numbers as a trained layer has them: near normal, a scale for each row."""
    generator = numpy.random.default_rng(3)
    rows = generator.normal(size=(64, count // 64)) * generator.uniform(0.005, 0.05, size=(64, 1))
    single = rows.astype("<f4")
    if dtype == "bf16":
        return ((single.view("<u4") + 0x8000) >> 16).astype("<u2").tobytes()
    return single.tobytes() if dtype == "fp32" else rows.astype("<f8").tobytes()


def compressible(size: int, seed: int) -> bytes:
    return bytes(random.Random(seed).choices(b"abcd", k=size))


@given(
    st.binary(min_size=1, max_size=300) | st.builds(compressible, st.integers(1, 70_000), st.integers(0, 9)),
    WORDS,
)
@example(bytes(MAX_CHUNK_BYTES), 8)
@example(compressible(16385, 1), 4)
@settings(max_examples=60, deadline=None)
def test_what_is_encoded_decodes_to_the_same_bytes(data, word):
    codec, stored = Encoder().encode(data, word)

    assert decode(codec, stored, len(data)) == data
    assert len(stored) < len(data) or stored is data


def test_incompressible_data_is_returned_as_the_very_object():
    view = memoryview(NOISE)

    assert Encoder().encode(view, 4) == (Codec.RAW, view)
    assert Encoder().encode(view, 4)[1] is view


def test_data_that_betrays_its_samples_is_stored_raw():
    data = bytearray(random.Random(1).randbytes(MAX_CHUNK_BYTES))
    half = MAX_CHUNK_BYTES // 2
    data[half : half + 8192] = data[:8192]

    assert Encoder().encode(data) == (Codec.RAW, data)


@pytest.mark.parametrize(
    ("dtype", "word", "limit"), [("bf16", 2, 0.70), ("fp32", 4, 0.86), ("fp64", 8, 0.95)]
)
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [70_001, 600_000, 1 << 20])
def test_weights_of_any_size_and_alignment_reach_the_ratio(dtype, word, limit, shift, size):
    data = weights(dtype)[shift:][:size]

    codec, stored = Encoder().encode(data, word)

    assert codec == {2: Codec.GROUP2, 4: Codec.GROUP4, 8: Codec.GROUP8}[word]
    assert len(stored) <= limit * len(data)
    assert decode(codec, stored, len(data)) == data


@pytest.mark.parametrize(("dtype", "word"), [("bf16", 2), ("fp32", 4), ("fp64", 8)])
def test_the_word_of_weights_is_guessed_from_a_sample(dtype, word):
    assert Encoder().best_word(weights(dtype)[: 8 << 10]) == word


def test_the_word_of_text_is_one():
    assert (
        Encoder().best_word(b"".join(b"step %d loss 0.%d\n" % (i, i * 7919 % 1000) for i in range(500))) == 1
    )


def test_a_decompression_bomb_stops_at_the_promised_length():
    bomb = zstd.compress(bytes(200 << 20), 1)

    with pytest.raises(MalformedContentError):
        decode(Codec.ZSTD, bomb, 1000)


def test_a_frame_that_wants_a_huge_window_is_refused():
    data = NOISE[:1000] * 3
    stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    frame = stream.compress(data, stream.FLUSH_BLOCK) + stream.flush()

    with pytest.raises(MalformedContentError):
        decode(Codec.ZSTD, frame, len(data))


@pytest.mark.parametrize("length", [0, -1, MAX_CHUNK_BYTES + 1])
def test_an_impossible_length_is_refused(length):
    with pytest.raises(MalformedContentError):
        decode(Codec.RAW, bytes(max(length, 0)), length)


@pytest.mark.parametrize("difference", [-1, 1])
@pytest.mark.parametrize("word", [1, 2, 4, 8])
def test_a_wrong_length_is_refused(difference, word):
    data = compressible(5000, 2)
    codec, stored = Encoder().encode(data, word)

    with pytest.raises(MalformedContentError):
        decode(codec, stored, len(data) + difference)


def test_bytes_after_the_frame_are_refused():
    data = compressible(5000, 2)
    codec, stored = Encoder().encode(data)

    with pytest.raises(MalformedContentError):
        decode(codec, bytes(stored) + b"\0", len(data))
    with pytest.raises(MalformedContentError):
        decode(codec, bytes(stored) + zstd.compress(b""), len(data))


def test_an_unknown_codec_is_refused():
    with pytest.raises(MalformedContentError):
        decode(5, b"abc", 3)


@given(st.integers(0, 5), st.binary(max_size=200), st.integers(0, 1 << 33))
@settings(max_examples=100, deadline=None)
def test_any_bytes_decode_or_are_malformed(codec, stored, raw_len):
    with contextlib.suppress(MalformedContentError):
        assert len(decode(codec, stored, raw_len)) == raw_len


def test_an_encoder_encodes_each_chunk_as_a_new_one_would():
    chunks = [compressible(40_000, seed) for seed in range(3)] + [
        NOISE,
        weights("fp32"),
        b"short",
        NOISE[:100],
    ]
    used = Encoder()

    for word in (1, 4, 1, 2, 4):
        for chunk in chunks:
            assert used.encode(chunk, word) == Encoder().encode(chunk, word)
