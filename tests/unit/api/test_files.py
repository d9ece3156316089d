"""Files and versions through the Run API."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.content.hashing import content_digest
from holdfast.errors import (
    LocalFileError,
    StoredFileNotFoundError,
    TargetExistsError,
    UsageError,
)
from tests.helpers import put_file, put_files


@pytest.fixture
def tree(vault, path):
    put_files(vault, path, {"a.txt": b"a", "d/b.txt": b"bb", "d/c.bin": b"\0", "d/e/f.txt": b"f"})


def test_files_are_listed_by_pattern_and_by_names(run, tree):
    assert [file.name for file in run.files()] == ["a.txt", "d/b.txt", "d/c.bin", "d/e/f.txt"]
    assert [file.name for file in run.files("d/*.txt")] == ["d/b.txt"]
    assert [file.name for file in run.files(pattern="**/*.txt", per_page=1)] == [
        "a.txt",
        "d/b.txt",
        "d/e/f.txt",
    ]
    assert [file.size for file in run.files(["d/b.txt", "a.txt"])] == [2, 1]
    assert len(run.files()) == 4


def test_names_and_a_pattern_together_are_refused(run):
    with pytest.raises(UsageError):
        run.files(["a"], "b")


def test_a_file_says_what_it_is(run, tree):
    file = run.file("d/b.txt")

    assert (file.name, file.size, file.version, file.mimetype) == ("d/b.txt", 2, 1, "text/plain")
    assert file.digest == content_digest(b"bb").hex()
    assert (file.url, file.policy, file.fidelity, file.attempt, file.pinned) == (
        None,
        "live",
        "exact",
        1,
        False,
    )
    assert datetime.now(UTC) - file.updated_at < timedelta(minutes=5)
    assert datetime.now(UTC) - file.modified_at < timedelta(minutes=5)


def test_a_file_that_is_not_there_is_an_error_at_once(run):
    with pytest.raises(StoredFileNotFoundError, match="nope"):
        run.file("nope")
    with pytest.raises(StoredFileNotFoundError, match="nope"):
        list(run.files(["nope"]))


def test_download_gives_an_open_file_and_never_another_content(run, tree):
    with run.file("d/b.txt").download(root="out") as file:
        assert file.read() == b"bb"
        assert file.name == str(Path("out/d/b.txt").absolute())
    Path("out/d/b.txt").write_bytes(b"xx")

    with pytest.raises(TargetExistsError):
        run.file("d/b.txt").download(root="out", exist_ok=True)

    with run.file("d/b.txt").download(root="out", replace=True, mode="r") as file:
        assert file.read() == "bb"


def test_a_whole_run_is_downloaded_and_what_fails_is_named(run, tree):
    assert len(run.download("out").files) == 4
    Path("out/a.txt").write_bytes(b"other")

    with pytest.raises(TargetExistsError, match="1 of 4 files") as caught:
        run.files().download("out")

    assert list(caught.value.details["failed"]) == ["a.txt"]
    assert Path("out/d/e/f.txt").read_bytes() == b"f"


def test_versions_are_had_by_number_and_by_time(vault, path, run):
    times = []
    for data in (b"1", b"22", b"333"):
        put_file(vault, path, "a", data)
        times.append(datetime.now(UTC))
        time.sleep(0.01)

    newest = run.file("a")
    assert [file.size for file in newest.versions] == [3, 2, 1]
    assert run.file("a", 1).read() == run.file("a", "v1").read() == b"1"
    assert newest.at_version(times[1]).read() == b"22"
    naive = times[1].astimezone().replace(tzinfo=None)
    assert run.file("a", naive.isoformat()).read() == b"22"


@pytest.mark.parametrize("version", [0, -1, "yesterday", 1.5, True])
def test_what_is_no_version_is_refused(run, tree, version):
    with pytest.raises(UsageError):
        run.file("a.txt", version)


def test_versions_are_compared(vault, path, run):
    put_file(vault, path, "a", b"one\ntwo\n")
    put_file(vault, path, "a", b"one\nthree\n")
    old, new = run.file("a", 1), run.file("a")

    found = old.diff(new)
    assert not found.is_same
    assert found.text.splitlines()[2:] == ["@@ -1,2 +1,2 @@", " one", "-two", "+three"]
    assert new.diff(new).is_same


def test_a_version_is_pinned_and_unpinned(run, tree):
    file = run.file("a.txt")
    file.pin()
    assert (file.pinned, run.file("a.txt").pinned) == (True, True)
    file.unpin()
    assert not run.file("a.txt").pinned


def test_delete_takes_a_file_and_leaves_the_local_one(run, tree):
    run.file("a.txt").download(root="out").close()

    run.file("a.txt").delete()

    assert [file.name for file in run.files()] == ["d/b.txt", "d/c.bin", "d/e/f.txt"]
    assert Path("out/a.txt").exists()


def test_an_upload_is_there_when_it_returns(api, run, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "report.txt").write_bytes(b"report")

    file = run.upload_file("d/report.txt")
    named = run.upload_file(tmp_path / "d" / "report.txt", name="other/name.txt")

    assert (file.name, file.version, file.policy) == ("d/report.txt", 1, "now")
    assert run.upload_file("d/report.txt", root="d").name == "report.txt"
    assert api.run("run1").file("other/name.txt").read() == named.read() == b"report"


def test_an_upload_of_the_same_content_makes_no_new_version(run, tmp_path):
    (tmp_path / "a").write_bytes(b"a")

    assert [run.upload_file("a").version, run.upload_file("a").version] == [1, 1]


def test_an_upload_cannot_walk_above_its_root(run, tmp_path):
    (tmp_path / "a").write_bytes(b"a")

    with pytest.raises(UsageError, match="below"):
        run.upload_file("a", root="home")
    with pytest.raises(UsageError, match="below"):
        run.upload_file(tmp_path)


def test_an_upload_of_what_cannot_be_read_says_why_and_makes_nothing(run, tmp_path):
    (tmp_path / "folder").mkdir()

    with pytest.raises(StoredFileNotFoundError):
        run.upload_file("nope")
    with pytest.raises(LocalFileError):
        run.upload_file("folder")
    assert not run.files()
