from __future__ import annotations

import os
import random
import stat

import pytest

from holdfast.errors import (
    StoredFileNotFoundError,
    TargetExistsError,
    UsageError,
)

rng = random.Random(5)


def test_what_is_restored_has_the_bytes_mode_and_time_of_what_was_stored(place):
    data = rng.randbytes(3_000_000)
    place.put("a/b/model.pt", data, mode=0o640, mtime_ns=1_600_000_000_123_456_789)

    restored = place.read("a/b/model.pt")

    found = (place.root / "a/b/model.pt").stat()
    assert restored == data
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_mtime_ns == 1_600_000_000_123_456_789
    assert place.left() == []


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 5_000_000])
def test_files_of_any_size_are_restored(place, size):
    data = rng.randbytes(size)
    place.put("f", data)

    assert place.read("f") == data


@pytest.mark.parametrize("name", ["with space", "br[ack]ets*?", "ünïcode/ß", ".hidden", "n" * 255, "-dash"])
def test_files_of_any_name_are_restored(place, name):
    place.put(name, b"content")

    assert place.read(name) == b"content"


def test_the_handle_has_the_absolute_path_as_its_name(place, monkeypatch):
    place.put("f", b"x")
    monkeypatch.chdir(place.root.parent)

    with place.file("f", root=place.root.relative_to(place.root.parent)) as file:
        assert file.name == str(place.root / "f")


def test_mode_r_gives_text_in_utf_8(place):
    place.put("notes.txt", "grün\n".encode())

    assert place.read("notes.txt", mode="r") == "grün\n"


def test_a_mode_that_writes_is_refused(place):
    place.put("f", b"x")

    with pytest.raises(UsageError):
        place.file("f", mode="w")


def test_an_unknown_file_is_an_error_that_names_it(place):
    with pytest.raises(StoredFileNotFoundError, match=r"nothing\.pt"):
        place.file("nothing.pt")


def test_earlier_versions_can_be_had_back(place):
    place.put("f", b"first")
    place.put("f", b"second")

    assert place.read("f") == b"second"
    assert place.read("f", version=1, replace=True) == b"first"
    with pytest.raises(StoredFileNotFoundError):
        place.file("f", version=3, replace=True)


def test_a_target_with_the_right_content_is_left_alone_and_nothing_is_read(place):
    place.put("f", b"content")
    (place.root / "f").write_bytes(b"content")
    before = (place.root / "f").stat()

    assert place.read("f") == b"content"

    assert (place.root / "f").stat() == before
    assert place.vault.requests == 0


@pytest.mark.parametrize("impostor", [b"CONTENT", b"short", b""])
def test_an_impostor_of_any_size_is_never_returned_as_the_file(place, impostor):
    place.put("f", b"content", mtime_ns=10**18)
    target = place.root / "f"
    target.write_bytes(impostor)
    os.utime(target, ns=(10**18, 10**18))

    with pytest.raises(TargetExistsError):
        place.file("f")

    assert target.read_bytes() == impostor
    assert place.read("f", replace=True) == b"content"


def test_replacing_gives_a_new_inode_so_that_who_reads_the_old_file_is_not_disturbed(place):
    place.put("f", b"new content")
    (place.root / "f").write_bytes(b"old")

    with (place.root / "f").open("rb") as reader:
        assert place.read("f", replace=True) == b"new content"
        assert reader.read() == b"old"


def test_a_file_that_appears_during_the_restore_is_not_overwritten(place):
    place.put("f", rng.randbytes(100_000))
    place.vault.before_piece = lambda: (place.root / "f").write_bytes(b"the user's")

    with pytest.raises(TargetExistsError):
        place.file("f")

    assert (place.root / "f").read_bytes() == b"the user's"
    assert place.left() == []


def test_the_same_file_appearing_during_the_restore_is_as_good(place):
    data = rng.randbytes(100_000)
    place.put("f", data)
    place.vault.before_piece = lambda: (place.root / "f").write_bytes(data)

    assert place.read("f") == data
    assert place.left() == []


def test_replacing_takes_what_is_unchanged_from_the_old_file(place):
    old = rng.randbytes(8_000_000)
    place.put("f", old)
    place.file("f").close()
    new = old[:4_000_000] + b"a few bytes more" + old[4_000_000:]
    place.put("f", new)
    before = place.vault.bytes_read

    assert place.read("f", replace=True) == new

    assert place.vault.bytes_read - before < 2_500_000


def test_a_root_that_is_not_there_is_made(place):
    place.put("f", b"x")

    assert place.read("f", root=place.root / "new" / "folder") == b"x"
