"""`save`: links, pins, the journal; what it refuses, and that a call that fails leaves nothing behind."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path

import pytest

from holdfast.errors import CloudUrlError, LocalFileError, UsageError
from holdfast.rundir.facts import Ignored, Saved, Watched
from holdfast.training.pins import SMALL_BYTES, Pins


def write(name, data=b"data"):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_saved_file_is_linked_pinned_and_in_the_journal(ours):
    source = write("m/model.pt").absolute()

    [handle] = ours.run.save("m/model.pt")

    [fact] = ours.journal(Saved)
    [file] = fact.files
    assert (handle.name, handle.path) == ("m/model.pt", source)
    assert (file.name, file.path, fact.policy) == ("m/model.pt", str(source), "live")
    assert (file.size, file.mtime_ns, file.ino) == (4, source.stat().st_mtime_ns, source.stat().st_ino)
    assert Path(ours.run.dir, "m/model.pt").readlink() == source
    assert (ours.directory.pins / file.pin).stat().st_ino == source.stat().st_ino
    assert str(ours.run.save("m/model.pt")) == f"{source} -> m/model.pt"


def test_both_keywords_name_the_path_and_only_one_may_be_given(run):
    write("x.txt")

    assert [saved.name for saved in run.save(path="x.txt")] == ["x.txt"]
    assert [saved.name for saved in run.save(glob_str="x.txt")] == ["x.txt"]
    with pytest.raises(UsageError, match="not both"):
        run.save("x.txt", path="x.txt")
    with pytest.raises(UsageError, match="no path"):
        run.save(base_path=".")


@pytest.mark.parametrize("policy", ["later", "", None, "LIVE"])
def test_an_unknown_policy_is_refused_and_nothing_is_recorded(ours, policy):
    write("x.txt")

    with pytest.raises(UsageError, match="policy"):
        ours.run.save("x.txt", policy=policy)
    assert ours.journal(Saved) == []


def test_no_match_returns_nothing_and_says_what_was_looked_for(ours, capsys):
    assert ours.run.save("nothing*.pt") == []

    said = capsys.readouterr().err
    assert repr(str(Path("nothing*.pt").absolute())) in said
    assert ours.journal(Saved) == []
    assert [fact.pattern for fact in ours.journal(Watched)] == ["nothing*.pt"]


def test_a_pattern_is_watched_once_for_each_policy(ours):
    for policy in ("live", "live", "now"):
        ours.run.save("*.pt", policy=policy)

    assert [(fact.pattern, fact.policy) for fact in ours.journal(Watched)] == [
        ("*.pt", "live"),
        ("*.pt", "now"),
    ]


def test_a_file_of_the_run_directory_needs_no_link(ours):
    path = Path(ours.run.dir, "checkpoint-1")
    path.write_bytes(b"x")

    [handle] = ours.run.save(os.path.join(ours.run.dir, "checkpoint*"))

    assert (handle.name, handle.path) == ("checkpoint-1", path)
    assert not path.is_symlink()
    assert sorted(os.listdir(ours.run.dir)) == ["checkpoint-1"]


# ---------------------------------------------------------------- links


def test_another_source_takes_the_place_of_the_first_with_a_warning_that_names_both(ours, capsys):
    first, second = write("r1/ck/m.pt").absolute(), write("r2/ck/m.pt").absolute()
    ours.run.save(first, base_path="r1")

    ours.run.save(second, base_path="r2")

    said = capsys.readouterr().err
    assert str(first) in said
    assert str(second) in said
    assert Path(ours.run.dir, "ck/m.pt").readlink() == second


@pytest.mark.parametrize("kind", ["file", "link", "folder", "link to a folder", "file as a folder"])
def test_what_the_user_put_into_the_run_directory_is_never_replaced_or_written_through(ours, kind):
    write("sub/m.pt", b"new")
    place = Path(ours.run.dir, "sub/m.pt")
    other = write("other/m.pt", b"theirs").absolute()
    if kind in ("file", "link", "folder"):
        place.parent.mkdir()
    if kind == "file":
        place.write_bytes(b"theirs")
    elif kind == "link":
        place.symlink_to(other)
    elif kind == "folder":
        place.mkdir()
    elif kind == "link to a folder":
        place.parent.symlink_to(other.parent)
    else:
        place.parent.write_bytes(b"theirs")

    with pytest.raises(UsageError, match="in the way") as caught:
        ours.run.save("sub/m.pt")

    assert str(Path("sub/m.pt").absolute()) in str(caught.value)
    assert str(place) in str(caught.value)
    assert other.read_bytes() == b"theirs"
    assert ours.pins == []
    assert ours.journal(Saved) == []


def test_a_users_own_link_to_the_source_itself_is_fine(ours):
    source = write("m.pt").absolute()
    os.link(source, Path(ours.run.dir, "m.pt"))

    assert [saved.name for saved in ours.run.save(source)] == ["m.pt"]


def test_a_folder_of_the_users_that_leads_to_the_source_is_fine(ours):
    write("data/ck/m.pt")
    Path(ours.run.dir, "data").symlink_to(Path("data").absolute())

    assert [saved.name for saved in ours.run.save("data/ck/m.pt")] == ["data/ck/m.pt"]


def test_a_link_that_the_user_removed_is_made_again(ours):
    source = write("a/m.pt").absolute()
    ours.run.save("a/m.pt")
    Path(ours.run.dir, "a/m.pt").unlink()
    Path(ours.run.dir, "a").rmdir()

    ours.run.save("a/m.pt")

    assert Path(ours.run.dir, "a/m.pt").readlink() == source


@pytest.mark.parametrize(("refused", "links"), [(["symlink"], 3), (["symlink", "link"], 1)])
def test_where_no_symbolic_link_can_be_a_hard_link_is_made_else_a_copy(ours, monkeypatch, refused, links):
    def refuse(*_arguments, **_named):
        raise OSError(errno.EPERM, "not here")

    for call in refused:
        monkeypatch.setattr(os, call, refuse)
    write("m.pt", b"one")
    ours.run.save("m.pt")
    place = Path(ours.run.dir, "m.pt")
    assert not place.is_symlink()
    assert (place.read_bytes(), place.stat().st_nlink) == (b"one", links)

    os.replace(write("m2.pt", b"two"), "m.pt")
    ours.run.save("m.pt")

    assert place.read_bytes() == b"two"


def test_the_name_of_the_runs_own_record_is_refused_with_a_way_out(ours):
    write("config.yaml")

    with pytest.raises(UsageError, match=r"own record.*base_path"):
        ours.run.save("config.yaml")
    assert [saved.name for saved in ours.run.save("config.yaml", base_path="..")] == ["work/config.yaml"]


# ---------------------------------------------------------------- pins


def pin_of(ours, name, policy):
    ours.run.save(name, policy=policy)
    file = ours.journal(Saved)[-1].files[0]
    return (None if file.pin is None else ours.directory.pins / file.pin), file.pin_is_copy


def test_a_small_now_file_is_copied_so_that_rewriting_it_in_place_changes_nothing(ours):
    write("x.txt", b"before")

    pin, is_copy = pin_of(ours, "x.txt", "now")
    write("x.txt", b"after!")

    assert is_copy
    assert pin.read_bytes() == b"before"


def test_a_large_now_file_keeps_its_bytes_through_delete_and_rename_over(ours):
    data = os.urandom(SMALL_BYTES + 1)
    write("x.bin", data)

    pin, _ = pin_of(ours, "x.bin", "now")
    os.replace(write("y.bin", b"other"), "x.bin")

    assert pin.read_bytes() == data


@pytest.mark.parametrize("policy", ["live", "end"])
def test_live_and_end_files_are_pinned_by_a_hard_link_whatever_their_size(ours, policy):
    write("x.txt")

    pin, is_copy = pin_of(ours, "x.txt", policy)
    ino = Path("x.txt").stat().st_ino
    Path("x.txt").unlink()

    assert (pin.stat().st_ino, is_copy) == (ino, False)


def test_a_pin_of_a_link_holds_what_the_link_leads_to(ours):
    write("real.pt", b"bytes" * SMALL_BYTES)
    Path("latest.pt").symlink_to("real.pt")

    pin, _ = pin_of(ours, "latest.pt", "live")

    assert not pin.is_symlink()
    assert pin.stat().st_size == 5 * SMALL_BYTES


def refuse_links(monkeypatch):
    def refuse(*_arguments, **_named):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)


def test_where_no_link_is_possible_now_files_are_copied_and_others_not_pinned(ours, monkeypatch):
    refuse_links(monkeypatch)
    write("x.bin", b"x" * (SMALL_BYTES + 1))

    assert pin_of(ours, "x.bin", "now")[1] is True
    assert pin_of(ours, "x.bin", "live") == (None, False)


def test_copies_stay_within_their_budget_and_what_was_stored_gives_room_again(make, monkeypatch):
    ours = make(pin_copy_limit=2 * SMALL_BYTES + 2)
    refuse_links(monkeypatch)
    write("x.bin", b"x" * (SMALL_BYTES + 1))

    first, _ = pin_of(ours, "x.bin", "now")
    assert pin_of(ours, "x.bin", "now")[1]
    assert pin_of(ours, "x.bin", "now") == (None, False)
    first.unlink()
    assert pin_of(ours, "x.bin", "now")[1]


def test_a_file_that_changes_while_it_is_copied_is_not_passed_off_as_a_copy(tmp_path):
    source = write(tmp_path / "x", b"12345")
    stale = source.stat()
    source.write_bytes(b"123456")
    (tmp_path / "pins").mkdir()
    pins = Pins(str(tmp_path / "pins"), copy_limit=1 << 20)

    name, is_copy = pins.pin(str(source), stale, "now", "p-0")
    pins.close()

    assert (name, is_copy) == ("p-0", False)


# ---------------------------------------------------------------- failing, and many at once


def test_when_the_journal_cannot_be_written_nothing_of_the_call_remains_and_that_is_said(
    ours, monkeypatch, capsys
):
    old = write("a/kept.pt").absolute()
    ours.run.save("a/kept.pt")
    before = ours.pins
    write("b/a/kept.pt")
    write("b/a/new.pt")

    def full(*_records):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ours.run._journal, "append", full)
        saved = ours.run.save("b/a/*", base_path="b")
    assert "could not record a/kept.pt, a/new.pt" in capsys.readouterr().err
    for handle in saved:
        with pytest.raises(LocalFileError, match="No space left"):
            handle.wait()

    assert ours.pins == before
    assert Path(ours.run.dir, "a/kept.pt").readlink() == old
    assert not os.path.lexists(Path(ours.run.dir, "a/new.pt"))
    assert len(ours.run.save("b/a/*", base_path="b")) == 2


def test_one_refused_file_of_a_call_takes_the_others_back(ours):
    write("a/1.pt")
    write("a/2.pt")
    Path(ours.run.dir, "a").mkdir()
    Path(ours.run.dir, "a/2.pt").write_bytes(b"the user's")

    with pytest.raises(UsageError):
        ours.run.save("a/*")

    assert os.listdir(Path(ours.run.dir, "a")) == ["2.pt"]
    assert ours.pins == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_recorded_with_a_warning(ours, capsys):
    write("x.txt").chmod(0)

    assert [saved.name for saved in ours.run.save("x.txt")] == ["x.txt"]
    assert "cannot be read" in capsys.readouterr().err


def test_threads_save_at_once(ours):
    for number in range(200):
        write(f"f{number}.txt")

    threads = [
        threading.Thread(target=lambda at=at: [ours.run.save(f"f{n}.txt") for n in range(at, 200, 4)])
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {fact.files[0].name for fact in ours.journal(Saved)} == {f"f{n}.txt" for n in range(200)}


def test_a_process_forked_off_saves_to_the_same_run(ours):
    write("child.txt")
    ours.run._saver._lock.acquire()  # as if another thread were saving at the moment of the fork
    child = os.fork()
    if child == 0:
        try:
            ours.run.save("child.txt")
            os._exit(0)
        finally:
            os._exit(1)
    ours.run._saver._lock.release()

    assert os.waitpid(child, 0)[1] == 0
    assert [fact.files[0].name for fact in ours.journal(Saved)] == ["child.txt"]


def test_an_ignored_file_is_told_of_listed_and_neither_linked_nor_recorded_as_saved(make, capsys):
    ours = make(ignore_globs=["*.tmp"])
    write("x.tmp")

    saved = ours.run.save("x.tmp", policy="now")

    assert (saved, saved.ignored) == ([], {"x.tmp": "*.tmp"})
    assert (
        "WARNING: save('x.tmp') left out what ignore_globs (init) ignores: 'x.tmp' by '*.tmp'"
        in capsys.readouterr().err
    )
    assert ours.journal(Ignored) == [
        Ignored("x.tmp", "now", {"x.tmp": "*.tmp"}, {"x.tmp": str(Path("x.tmp").absolute())})
    ]
    assert ours.journal(Saved) == []
    assert os.listdir(ours.run.dir) == []
    assert ours.pins == []


def test_a_pattern_saves_what_is_not_ignored_and_tells_of_each_ignored_file_once(make, capsys):
    ours = make(ignore_globs="*.tmp, cache/")
    for name in ("out/a.pt", "out/a.tmp", "out/cache/x"):
        write(name)

    first, second = ours.run.save("out"), ours.run.save("out")

    assert [file.name for file in first] == ["out/a.pt"]
    assert first.ignored == second.ignored == {"out/a.tmp": "*.tmp", "out/cache/x": "cache/"}
    assert len(ours.journal(Ignored)) == 1
    told = capsys.readouterr().err
    assert told.count("out/a.tmp") == 1
    assert "WARNING" not in told


def test_the_end_of_a_run_does_not_miss_ignored_files(make):
    ours = make(ignore_globs="*.tmp", mode="offline")
    for name in ("a.pt", "b.tmp"):
        Path(ours.run.dir, name).write_bytes(b"data")

    assert set(ours.run.finish().missing) == {"a.pt"}


@pytest.mark.parametrize(
    ("argument", "base_path"),
    [
        ("gs://bucket/x", None),
        (Path("s3://bucket/x"), None),
        ("x.txt", "gs://bucket"),
        (["x.txt", "gs://bucket/x"], None),
    ],
)
def test_a_refused_call_leaves_nothing_in_the_journal_the_run_dir_or_the_pins(ours, argument, base_path):
    write("x.txt")
    before = ours.directory.journal.read_bytes()

    with pytest.raises((CloudUrlError, TypeError)):
        ours.run.save(argument, base_path=base_path)

    assert ours.directory.journal.read_bytes() == before
    assert (os.listdir(ours.run.dir), ours.pins) == ([], [])


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_offline_a_file_of_another_disk_is_copied_and_one_too_big_for_that_is_told(make, capsys):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as away:
        for name, size in (("small.bin", 10), ("big.bin", 2000)):
            Path(away, name).write_bytes(b"x" * size)
        ours = make(mode="offline", pin_copy_limit=1000)

        ours.run.save(f"{away}/*", base_path=away)

    assert [ours.directory.pins.joinpath(pin).read_bytes() for pin in ours.pins] == [b"x" * 10]
    told = capsys.readouterr().err
    assert "big.bin' is too big to be copied" in told
    assert "small.bin" not in told


@pytest.mark.parametrize("argument", [".", "*", "**", "home"])
def test_the_home_folder_with_the_keys_is_never_content_of_a_folder_that_is_saved(make, argument):
    ours = make(home=Path("home").absolute())
    for name in ("a.txt", "home/credentials", "home/vault/catalog.sqlite"):
        write(name)

    names = [file.name for file in ours.run.save(argument)]

    assert names == (["a.txt"] if argument != "home" else ["home/credentials", "home/vault/catalog.sqlite"])
