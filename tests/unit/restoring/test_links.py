"""Symbolic links never lead a restore out of its root, nor to write through them."""

from __future__ import annotations

import os

import pytest

from holdfast.errors import LocalFileError, TargetExistsError


@pytest.fixture
def outside(place):
    folder = place.root.parent / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    return folder


def test_a_link_at_the_target_is_replaced_and_not_written_through(place, outside):
    place.put("f", b"content")
    (place.root / "f").symlink_to(outside / "precious")

    assert place.read("f", replace=True) == b"content"

    assert not (place.root / "f").is_symlink()
    assert (outside / "precious").read_bytes() == b"precious"


def test_a_link_at_the_target_is_other_content_without_replace(place, outside):
    place.put("f", b"content")
    (place.root / "f").symlink_to(outside / "precious")

    with pytest.raises(TargetExistsError):
        place.file("f")


def test_a_link_to_nowhere_at_the_target_creates_nothing_there(place, outside):
    place.put("f", b"content")
    (place.root / "f").symlink_to(outside / "new")

    with pytest.raises(TargetExistsError):
        place.file("f")
    assert place.read("f", replace=True) == b"content"

    assert not (outside / "new").exists()


def test_a_link_to_the_very_content_is_good_as_it_is(place, outside):
    place.put("f", b"precious")
    (place.root / "f").symlink_to(outside / "precious")

    assert place.read("f") == b"precious"

    assert (place.root / "f").is_symlink()


@pytest.mark.parametrize("replace", [True, False])
def test_a_link_among_the_parent_folders_is_refused(place, outside, replace):
    place.put("a/b/f", b"content")
    (place.root / "a").mkdir()
    (place.root / "a" / "b").symlink_to(outside)

    with pytest.raises(TargetExistsError, match="symbolic link"):
        place.file("a/b/f", replace=replace)

    assert sorted(os.listdir(outside)) == ["precious"]


def test_a_folder_swapped_for_a_link_during_the_restore_leads_nowhere(place, outside):
    place.put("a/f", bytes(3_000_000) + os.urandom(3_000_000))
    folder = place.root / "a"

    def swap():
        if not folder.is_symlink():
            folder.rename(place.root / "moved")
            folder.symlink_to(outside)

    place.vault.before_piece = swap
    report = place.files()

    assert sorted(os.listdir(outside)) == ["precious"]
    assert not report.failed or isinstance(report.failed[0].error, TargetExistsError)


def test_the_root_itself_may_be_a_link(place, outside):
    place.put("f", b"content")
    link = place.root.parent / "link"
    link.symlink_to(outside)

    assert place.read("f", root=link) == b"content"

    assert (outside / "f").read_bytes() == b"content"


@pytest.mark.parametrize("replace", [True, False])
def test_a_folder_at_the_target_is_a_clear_error(place, replace):
    place.put("f", b"content")
    (place.root / "f").mkdir()

    with pytest.raises(TargetExistsError, match="is a folder"):
        place.file("f", replace=replace)


def test_a_file_where_a_folder_is_needed_is_a_clear_error(place):
    place.put("a/f", b"content")
    (place.root / "a").write_bytes(b"file")

    with pytest.raises(TargetExistsError, match="not a folder"):
        place.file("a/f", replace=True)


def test_a_pipe_at_the_target_does_not_hang_the_restore(place):
    place.put("f", b"content")
    os.mkfifo(place.root / "f")

    with pytest.raises(TargetExistsError):
        place.file("f")
    assert place.read("f", replace=True) == b"content"


def test_a_root_that_is_a_file_is_a_clear_error(place):
    place.put("f", b"content")
    (place.root / "file").write_bytes(b"")

    with pytest.raises(LocalFileError):
        place.file("f", root=place.root / "file")
