"""What every `Blobs` does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.errors import NotFoundError, VaultUnavailableError
from holdfast.vault.blobs import Blobs, open_blobs

SERVICE = pytest.mark.services
NAME = "0123abcd/00-pack"


@pytest.fixture(
    params=[
        "memory",
        "local",
        pytest.param("moto", marks=SERVICE),
        pytest.param("radosgw", marks=SERVICE),
    ]
)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "memory":
        made = open_blobs("memory:")
    elif request.param == "local":
        made = open_blobs((tmp_path / "blobs with space").as_uri())
    else:
        s3 = request.getfixturevalue(request.param)
        made = open_blobs(s3.new_bucket(), s3.options)
    yield made
    made.close()


def write(blobs: Blobs, name: str, *pieces: bytes) -> None:
    writer = blobs.create(name)
    writer.write(pieces)
    writer.commit()


def test_a_blob_is_read_in_ranges(blobs):
    write(blobs, NAME, b"hello ", bytearray(b"wor"), memoryview(b"ld"))

    assert blobs.read(NAME, 0, 11) == b"hello world"
    assert blobs.read(NAME, 6, 5) == b"world"
    assert blobs.read(NAME, 6, 500) == b"world"
    assert blobs.read(NAME, 11, 5) == b""
    assert blobs.read(NAME, 500, 5) == b""
    assert blobs.size(NAME) == 11


def test_thousands_of_pieces_are_written_in_order(blobs):
    pieces = [b"%d," % n for n in range(5000)]
    writer = blobs.create(NAME)
    writer.write(pieces[:3000])
    writer.write(pieces[3000:])
    writer.commit()

    assert blobs.read(NAME, 0, 1 << 20) == b"".join(pieces)


def test_a_large_blob_is_whole(blobs):
    data = bytes(range(256)) * (40 << 12)
    write(blobs, NAME, data)

    assert blobs.size(NAME) == len(data)
    assert blobs.read(NAME, len(data) - 1000, 5000) == data[-1000:]


def test_a_blob_appears_only_when_it_is_committed(blobs):
    writer = blobs.create(NAME)
    writer.write([b"x"])

    assert blobs.size(NAME) is None
    assert list(blobs.list()) == []
    writer.commit()
    assert blobs.size(NAME) == 1


def test_an_aborted_blob_leaves_nothing(blobs):
    writer = blobs.create(NAME)
    writer.write([b"x"])
    writer.abort()
    writer.abort()

    assert blobs.size(NAME) is None
    assert list(blobs.list()) == []


def test_an_abort_after_the_commit_does_nothing(blobs):
    writer = blobs.create(NAME)
    writer.write([b"x"])
    writer.commit()
    writer.abort()

    assert blobs.read(NAME, 0, 9) == b"x"


def test_an_absent_blob_is_not_found(blobs):
    with pytest.raises(NotFoundError):
        blobs.read(NAME, 0, 1)
    assert blobs.size(NAME) is None


def test_a_deleted_blob_is_gone_and_deleting_again_is_fine(blobs):
    write(blobs, NAME, b"x")
    blobs.delete(NAME)
    blobs.delete(NAME)

    assert blobs.size(NAME) is None


def test_blobs_are_listed_by_prefix(blobs):
    for name in ("d1/aa-x", "d1/ab-y", "d2/aa-z"):
        write(blobs, name, name.encode())

    assert sorted((blob.name, blob.size_bytes) for blob in blobs.list()) == [
        ("d1/aa-x", 7),
        ("d1/ab-y", 7),
        ("d2/aa-z", 7),
    ]
    assert [blob.name for blob in blobs.list("d2/")] == ["d2/aa-z"]
    assert [blob.name for blob in blobs.list("d1/ab")] == ["d1/ab-y"]
    assert all(blob.modified_at > 1_700_000_000 for blob in blobs.list())


def test_several_threads_write_and_read(blobs):
    def work(n):
        write(blobs, f"d/{n:02}-x", b"%d" % n)
        return blobs.read(f"d/{n:02}-x", 0, 9)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(32))) == [b"%d" % n for n in range(32)]


@pytest.mark.services
def test_an_object_store_that_refuses_is_unavailable(radosgw):
    blobs = open_blobs(radosgw.new_bucket(), {**radosgw.options, "secret_access_key": "wrong"})

    with pytest.raises(VaultUnavailableError):
        write(blobs, NAME, b"x")
