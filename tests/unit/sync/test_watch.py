from __future__ import annotations

import os

from holdfast.sync.watch import Growth, Signature, Track, find_files, look

LINE = b"a line of a log\n"


class Disk:
    """A file in memory and a clock."""

    def __init__(self, data=b"", ino=1):
        self.data, self.ino, self.now = data, ino, 0.0
        self.growth = Growth()

    def look(self, after=0.5, name="train.log"):
        self.now += after
        seen = Signature(len(self.data), int(self.now * 1e9), self.ino)
        self.growth.observe(name, seen, self.now, lambda offset, length: self.data[offset : offset + length])
        return self.growth.is_trusted

    def grow(self, after=0.5, by=LINE):
        self.data += by
        return self.look(after)


def test_a_log_is_trusted_after_it_was_seen_to_grow_three_times():
    disk = Disk(LINE)

    assert [disk.look(), disk.grow(), disk.grow(), disk.grow(), disk.grow()] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_looks_that_follow_each_other_too_fast_are_no_evidence():
    disk = Disk(LINE)
    disk.look()

    assert not any(disk.grow(after=0.05) for _ in range(7))
    assert [disk.grow(after=0.3) for _ in range(6)].index(True) >= 4


def test_a_file_that_shrank_is_never_trusted_again():
    disk = Disk(LINE)
    for _ in range(4):
        disk.grow()
    disk.data = LINE

    assert not disk.look()
    assert not any(disk.grow() for _ in range(9))
    assert disk.growth.is_rewriter


def test_a_file_that_was_rewritten_while_it_grew_is_never_trusted_again():
    disk = Disk(LINE * 3)
    disk.look()
    disk.data = b"X" + disk.data[1:]

    assert not any(disk.grow() for _ in range(9))


def test_a_change_without_growth_is_a_rewriting():
    disk = Disk(LINE)
    disk.look()
    disk.look()

    assert disk.growth.is_rewriter


def test_looking_at_an_unchanged_file_is_no_evidence_either_way():
    disk = Disk(LINE)
    seen = Signature(len(LINE), 5, 1)
    for at in range(5):
        disk.growth.observe("a.log", seen, float(at), lambda offset, length: LINE[offset : offset + length])

    assert not disk.growth.is_trusted
    assert not disk.growth.is_rewriter


def test_another_inode_must_show_anew_that_it_only_grows():
    disk = Disk(LINE)
    for _ in range(4):
        disk.grow()
    disk.ino, disk.data = 2, LINE

    assert not disk.look()
    assert [disk.grow(), disk.grow(), disk.grow()] == [False, False, True]


def test_binary_files_are_not_trusted_however_they_grow():
    disk = Disk(b"\x00\x01\x02")

    assert not any(disk.grow(by=b"\x00\x03") for _ in range(9))


def test_event_files_of_tensorflow_may_be_trusted():
    disk = Disk(b"\x00\x01\x02")
    name = "events.out.tfevents.1234.host"
    disk.look(name=name)
    for _ in range(3):
        disk.data += b"\x00\x05"
        disk.look(name=name)

    assert disk.growth.is_trusted


def test_an_empty_file_may_become_a_log():
    disk = Disk()
    disk.look()

    assert [disk.grow() for _ in range(4)] == [False, False, False, True]


def test_the_time_of_a_change_is_what_the_file_says():
    track = Track()
    track.observe(Signature(1, int(1000.0 * 1e9), 1), now=50.0, wall_now=1003.0)
    assert track.changed_at == 47.0

    track.observe(Signature(2, int(1009.5 * 1e9), 1), now=60.0, wall_now=1010.0)
    assert track.changed_at == 59.5


def test_a_changed_file_with_an_old_time_changed_after_the_look_before():
    track = Track()
    track.observe(Signature(1, int(1000.0 * 1e9), 1), now=50.0, wall_now=1003.0)
    track.observe(Signature(1, 5, 2), now=60.0, wall_now=1013.0)

    assert track.changed_at == 50.0


def test_a_time_in_the_future_is_taken_for_now():
    track = Track()
    track.observe(Signature(1, int(9e9 * 1e9), 1), now=50.0, wall_now=1003.0)

    assert track.changed_at == 50.0


def test_files_are_found_in_all_folders_with_hidden_ones_and_links_but_without_parts(tmp_path):
    root = tmp_path / "files"
    (root / "a/.b").mkdir(parents=True)
    for name in ("x", ".hidden", "a/y", "a/.b/z", ".model.pt.1-2-3-4.holdfast-part"):
        (root / name).touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (root / "link").symlink_to(tmp_path / "outside/file")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(root / "pipe")

    assert {found.name: found.is_link for found in find_files(root)} == {
        "x": False,
        ".hidden": False,
        "a/y": False,
        "a/.b/z": False,
        "link": True,
    }


def test_only_regular_files_have_a_signature(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")

    assert look(tmp_path / "file").size == 3
    assert look(tmp_path) is None
    assert look(tmp_path / "pipe") is None
    assert look(tmp_path / "nothing") is None
    assert look(tmp_path / "file" / "below") is None
