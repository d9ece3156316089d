from __future__ import annotations

from blake3 import blake3

from holdfast.content.hashing import ID_BYTES, ChunkHasher, ContentHasher, chunk_id, content_digest

KEY = bytes(range(32))
DATA = b"the quick brown fox" * 1000


def test_an_id_is_the_keyed_hash_and_differs_between_domains():
    assert chunk_id(KEY, DATA) == blake3(DATA, key=KEY).digest()
    assert len(chunk_id(KEY, DATA)) == ID_BYTES
    assert chunk_id(bytes(32), DATA) != chunk_id(KEY, DATA) != content_digest(DATA)


def test_the_hashers_give_the_same_for_bytes_in_pieces():
    content, chunk = ContentHasher(), ChunkHasher(KEY)
    for start in range(0, len(DATA), 777):
        content.update(memoryview(DATA)[start : start + 777])
        chunk.update(bytearray(DATA[start : start + 777]))

    assert content.digest() == content_digest(DATA)
    assert chunk.digest() == chunk_id(KEY, DATA)


def test_a_copy_of_a_hasher_goes_its_own_way():
    first = ContentHasher()
    first.update(b"ab")
    second = first.copy()
    second.update(b"cd")

    assert first.digest() == content_digest(b"ab")
    assert second.digest() == content_digest(b"abcd")
