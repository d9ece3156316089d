from __future__ import annotations

from holdfast.server.auth import hash_of, is_well_formed, new_api_key


def test_keys_are_long_random_and_well_formed():
    keys = {new_api_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(is_well_formed(key) for key in keys)
    assert all(len(key) == 37 and key.startswith("hf_") and key[3:].isalnum() for key in keys)


def test_a_mistyped_key_is_seen_to_be_one_without_asking_anybody():
    key = new_api_key()
    other = "a" if key[10] != "a" else "b"

    assert not is_well_formed(key[:10] + other + key[11:])
    assert not is_well_formed(key[:-1])
    assert not is_well_formed("")
    assert not is_well_formed("hf_")


def test_the_hash_does_not_hold_the_key():
    key = new_api_key()

    assert len(hash_of(key)) == 32
    assert key.encode() not in hash_of(key)
