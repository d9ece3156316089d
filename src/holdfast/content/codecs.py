"""How the bytes of a chunk are stored: raw, compressed, or grouped by the bytes of its numbers first.

The floats of trained weights hardly repeat as whole numbers, but their sign-and-exponent bytes do. Grouping
puts the first bytes of all numbers first, then all second bytes, and so on; zstd then finds what there is to
find. A chunk that does not start at a number's edge groups just as well, since the grouping is only a
rotation then.
"""

from __future__ import annotations

import sys
from enum import IntEnum

from holdfast.content.hashing import Bytes
from holdfast.errors import MalformedContentError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_CHUNK_BYTES = 4 << 20

_PLAIN_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: 1}
# Matches of a few bytes cost more in grouped numbers than they save: a tiny hash table finds only the long ones,
# which makes weights both smaller (bf16 by 1 point) and two to three times as fast to compress.
_GROUPED_OPTIONS: dict[int, int] = {**_PLAIN_OPTIONS, zstd.CompressionParameter.hash_log: 6}
_SAMPLE_BYTES = 8 << 10
_WORTH = 0.9
_SMALLEST_WORTH_ENCODING = 64


class Codec(IntEnum):
    """How the stored bytes of a frame relate to its raw bytes; the values are part of the pack format."""

    RAW = 0
    ZSTD = 1
    GROUP2 = 2
    GROUP4 = 3
    GROUP8 = 4


_CODEC_OF_WORD = {1: Codec.ZSTD, 2: Codec.GROUP2, 4: Codec.GROUP4, 8: Codec.GROUP8}
_WORD_OF_CODEC = {int(codec): word for word, codec in _CODEC_OF_WORD.items()}
# A frame may not ask for a window larger than any chunk.
_DECODER_OPTIONS: dict[int, int] = {
    zstd.DecompressionParameter.window_log_max: MAX_CHUNK_BYTES.bit_length() - 1
}


class Encoder:
    """Encodes chunks one after the other; making a new one costs as much as a sample. For use from one thread."""

    def __init__(self) -> None:
        self._compressors: dict[int, zstd.ZstdCompressor] = {}

    def encode(self, data: Bytes, word: int = 1) -> tuple[Codec, Bytes]:
        """Return the codec that pays for these bytes, and the bytes to store.

        Args:
            data: The raw bytes of a chunk.
            word: The size of the numbers inside: 1, 2, 4 or 8.

        Returns:
            ``Codec.RAW`` and the very object given, unless two samples promise to shrink below nine tenths and
            the result is smaller than the raw bytes.
        """
        if len(data) < _SMALLEST_WORTH_ENCODING:
            return Codec.RAW, data
        sample = _sample(data, word)
        stored = self._compress(sample, word)
        if len(stored) >= _WORTH * len(sample):
            return Codec.RAW, data
        if sample is not data:
            stored = self._compress(data, word)
        if len(stored) >= len(data):
            return Codec.RAW, data
        return _CODEC_OF_WORD[word], stored

    def best_word(self, sample: Bytes) -> int:
        """Guess the size of the numbers in a sample of unknown type: 1, 2, 4 or 8, whichever compresses best."""
        return min(_CODEC_OF_WORD, key=lambda word: len(self._compress(sample, word)))

    def _compress(self, data: Bytes, word: int) -> bytes:
        """Group and compress into one frame, whose blocks end where a group does: each has its own statistics."""
        # One that fails half-way is not put back.
        compressor = self._compressors.pop(word, None) or zstd.ZstdCompressor(
            options=_PLAIN_OPTIONS if word == 1 else _GROUPED_OPTIONS
        )
        compressor.set_pledged_input_size(len(data))
        *groups, last = _groups(data, word)
        parts = [compressor.compress(group, zstd.ZstdCompressor.FLUSH_BLOCK) for group in groups]
        parts.append(compressor.compress(last, zstd.ZstdCompressor.FLUSH_FRAME))
        self._compressors[word] = compressor
        return b"".join(parts)


def decode(codec: int, stored: Bytes, raw_len: int) -> bytes:
    """Return the raw bytes of a chunk.

    Never makes more than ``raw_len`` bytes, whatever the stored bytes claim.

    Raises:
        MalformedContentError: These are not ``raw_len`` bytes in this codec.
    """
    if not 0 < raw_len <= MAX_CHUNK_BYTES:
        raise MalformedContentError(f"A chunk cannot have {raw_len} bytes.")
    if codec == Codec.RAW:
        if len(stored) != raw_len:
            raise MalformedContentError(f"A raw chunk of {raw_len} bytes is stored in {len(stored)}.")
        return bytes(stored)
    word = _WORD_OF_CODEC.get(codec)
    if word is None:
        raise MalformedContentError(f"There is no codec {codec}.")
    return _ungroup(_decompress(stored, raw_len), word)


def _decompress(stored: Bytes, raw_len: int) -> bytes:
    decoder = zstd.ZstdDecompressor(options=_DECODER_OPTIONS)
    try:
        data = decoder.decompress(stored, max_length=raw_len)
        if not decoder.eof and len(data) == raw_len:
            # A full output buffer can hide that the frame ends here.
            data += decoder.decompress(b"", max_length=1)
    except zstd.ZstdError as exc:
        raise MalformedContentError("A compressed chunk cannot be decompressed.") from exc
    if len(data) != raw_len or not decoder.eof or decoder.unused_data:
        raise MalformedContentError(f"A compressed chunk does not hold exactly {raw_len} bytes.")
    return data


def _sample(data: Bytes, word: int) -> Bytes:
    if len(data) <= 2 * _SAMPLE_BYTES:
        return data
    view = memoryview(data)
    second = len(data) // 2 // word * word
    return bytes(view[:_SAMPLE_BYTES]) + bytes(view[second : second + _SAMPLE_BYTES])


def _groups(data: Bytes, word: int) -> list[Bytes]:
    if word == 1:
        return [data]
    # Strided slices of bytes run at more than 1 GB/s; those of a memoryview do not.
    data = bytes(data)
    return [data[start::word] for start in range(word)]


def _ungroup(data: bytes, word: int) -> bytes:
    if word == 1:
        return data
    out = bytearray(len(data))
    begin = 0
    for start in range(word):
        end = begin + len(range(start, len(data), word))
        out[start::word] = data[begin:end]
        begin = end
    return bytes(out)
