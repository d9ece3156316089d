"""Damaged bytes are reported and never handed out, and they spoil nothing but their own file."""

from __future__ import annotations

import os
import random

import pytest

from holdfast.errors import CorruptContentError
from holdfast.restoring.report import Outcome

rng = random.Random(11)


def damage(place, data: bytes) -> None:
    """Flip a bit of these bytes wherever they lie on the vault's disk."""
    found = 0
    for path in (place.data / "blobs").rglob("*"):
        if path.is_file() and data in (content := path.read_bytes()):
            at = content.index(data) + len(data) // 2
            path.chmod(0o600)
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            found += 1
    assert found == 1


def test_a_damaged_chunk_fails_the_file_loudly_and_leaves_nothing(place):
    data = rng.randbytes(3_000_000)
    place.put("f", data)
    damage(place, data[1_000_000:1_000_016])

    with pytest.raises(CorruptContentError, match="'f' are damaged: pack"):
        place.file("f")

    assert os.listdir(place.root) == []


def test_a_damaged_chunk_leaves_the_old_file_in_place(place):
    place.put("f", b"old")
    place.file("f").close()
    data = rng.randbytes(3_000_000)
    place.put("f", data)
    damage(place, data[1_000_000:1_000_016])

    with pytest.raises(CorruptContentError):
        place.file("f", replace=True)

    assert (place.root / "f").read_bytes() == b"old"
    assert place.left() == []


def test_other_files_are_restored_beside_a_damaged_one(place):
    files = {f"f{i}": rng.randbytes(50_000) for i in range(20)}
    for name, data in files.items():
        place.put(name, data)
    damage(place, files["f7"][100:116])

    report = place.files()

    assert [result.info.name for result in report.failed] == ["f7"]
    assert sum(result.outcome is Outcome.RESTORED for result in report.files) == 19
    assert not (place.root / "f7").exists()


def test_a_bit_that_flips_on_the_way_is_asked_for_again(place):
    data = rng.randbytes(3_000_000)
    place.put("f", data)
    flips = iter([True])
    read = place.vault.read

    def flipping(run, query):
        for piece in read(run, query):
            copy = bytearray(piece)
            if len(copy) > 1000 and next(flips, False):
                copy[len(copy) // 2] ^= 1
            yield bytes(copy)

    place.vault.read = flipping

    assert place.read("f") == data


def test_a_vault_that_always_sends_other_bytes_is_found_out(place):
    place.put("f", rng.randbytes(100_000))
    read = place.vault.read

    def lying(run, query):
        for piece in read(run, query):
            yield bytes(piece[:-1]) + bytes([piece[-1] ^ 1])

    place.vault.read = lying

    with pytest.raises(CorruptContentError):
        place.file("f")
    assert os.listdir(place.root) == []
