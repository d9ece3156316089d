"""The digest of a file whose bytes arrive in any order."""

from __future__ import annotations

import itertools
import os
import random

import pytest

from holdfast.content.hashing import content_digest
from holdfast.restoring.digest import ArrivingDigest


@pytest.mark.parametrize("seed", range(6))
def test_it_is_that_of_the_whole_whatever_the_order(tmp_path, seed):
    rng = random.Random(seed)
    data = rng.randbytes(rng.choice([1, 5_000, 3_000_000, 30_000_000]))
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(40)))})
    pieces = list(itertools.pairwise(cuts))
    rng.shuffle(pieces)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    arriving = ArrivingDigest(len(data))

    for begin, end in pieces:
        os.pwrite(fd, data[begin:end], begin)
        arriving.add(begin, end - begin)
        if rng.random() < 0.7:
            arriving.hash_some(fd)

    assert arriving.finish(fd) == content_digest(data)
    os.close(fd)


def test_what_has_not_arrived_is_not_hashed(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"too early", 0)
    arriving = ArrivingDigest(9)
    arriving.add(3, 6)
    arriving.hash_some(fd)
    os.pwrite(fd, b"now", 0)
    arriving.add(0, 3)

    assert arriving.finish(fd) == content_digest(b"now early")
    os.close(fd)
