"""runs, versions, diff, pin, put, rm, and versions by time in pull and cat."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

RUN = "me/mnist/a1b2c3d4"


@pytest.fixture
def three(shell):
    """A file of three versions; yields the times between them."""
    times = []
    for text in (b"one\n", b"one\ntwo\n", b"one\ntwo\nthree\n"):
        shell.store({"a.txt": text})
        time.sleep(0.02)
        times.append(datetime.now().isoformat())
    return times


def test_runs_are_listed_by_filter_and_order(shell):
    for run_id in ("aaa", "bbb", "ccc"):
        shell.store({"a": run_id.encode()}, run_id)

    assert [run["run_id"] for run in shell.json("runs", "me/mnist", "--order", "+id", "--limit", "2")] == [
        "aaa",
        "bbb",
    ]
    found = shell("runs", "me/mnist", "--filter", '{"id": {"$regex": "^b"}}').stdout
    assert found.startswith("me/mnist/bbb  ")
    assert "$wrong" in shell("runs", "me/mnist", "--filter", '{"id": {"$wrong": 1}}', code=2).stderr
    assert "not JSON" in shell("runs", "me/mnist", "--filter", "state=1", code=2).stderr


def test_versions_and_pins_are_listed(shell, three):
    shell("pin", RUN, "a.txt", "1")

    listed = shell("versions", RUN, "a.txt").stdout.splitlines()
    assert [line.endswith("(pinned)") for line in listed] == [False, False, True]
    shell("pin", "--remove", RUN, "a.txt", "1")
    assert [info["pinned"] for info in shell.json("versions", RUN, "a.txt")] == [False, False, False]
    shell("pin", RUN, "a.txt", "9", code=4)


def test_diff_of_two_versions(shell, three):
    newest = shell("diff", RUN, "a.txt", code=1).stdout
    assert newest.splitlines() == [
        f"--- {RUN}/a.txt v2", f"+++ {RUN}/a.txt v3", "@@ -1,2 +1,3 @@", " one", " two", "+three",
    ]  # fmt: skip
    assert "+two\n+three" in shell("diff", RUN, "a.txt", "1", code=1).stdout
    assert shell("diff", RUN, "a.txt", "1", three[1], code=1).stdout.endswith(" one\n+two\n")
    assert shell("diff", RUN, "a.txt", "2", "2").stdout == ""


def test_diff_of_two_runs(shell):
    shell.store({"a.txt": b"x\n", "b.bin": b"\0"})
    other = str(shell.store({"a.txt": b"y\n", "b.bin": b"\0\1"}, "other"))

    assert shell("diff", RUN, other, "a.txt", code=1).stdout.endswith("-x\n+y\n")
    assert "differ (binary)" in shell("diff", RUN, other, "b.bin", code=1).stdout
    assert "one version" in shell("diff", RUN, "a.txt", code=2).stderr


def test_put_adds_a_file_to_a_run_that_has_ended(shell):
    shell.store({"a.txt": b"a"})
    (shell.cwd / "reports").mkdir()
    (shell.cwd / "reports" / "r.pdf").write_bytes(b"pdf")

    assert shell("put", RUN, "reports/r.pdf").stdout == "reports/r.pdf  v1  3 B\n"
    assert shell("cat", RUN, "reports/r.pdf").stdout == "pdf"
    [record] = shell.json("put", RUN, "reports/r.pdf", "--name", "x.pdf")
    assert (record["name"], record["version"]) == ("x.pdf", 1)
    shell("put", RUN, "nope", code=4)


def test_rm_asks_and_then_deletes(shell):
    shell.store({"a": b"1", "d/b": b"2", "d/c": b"3"})

    assert "Delete 2 files" in shell("rm", RUN, "d", stdin="n\n", code=130).stderr
    assert len(shell.json("ls", RUN)) == 3
    shell("rm", RUN, "d", "--yes")
    assert [file["name"] for file in shell.json("ls", RUN)] == ["a"]
    shell("rm", RUN, "d", "--yes", code=4)


def test_files_are_restored_by_version_and_as_of_a_time(shell, three):
    shell.store({"later.txt": b"later"})
    assert shell("cat", RUN, "a.txt", "--version", "1").stdout == "one\n"
    assert shell("cat", RUN, "a.txt", "--version", three[1]).stdout == "one\ntwo\n"

    shell("pull", RUN, "a.txt", "--version", "v2", "--root", "two")
    shell("pull", RUN, "--at", three[0], "--root", "then")

    assert (shell.cwd / "two" / "a.txt").read_bytes() == b"one\ntwo\n"
    assert (shell.cwd / "then" / "a.txt").read_bytes() == b"one\n"
    assert not (shell.cwd / "then" / "later.txt").exists()
    shell("pull", RUN, "--at", "2001-01-01", code=4)
    shell("pull", RUN, "--at", "noon", code=2)


def test_an_id_alone_is_looked_for_in_every_project(shell):
    shell.store({"a.txt": b"one\n"})

    assert shell("cat", "a1b2c3d4", "a.txt").stdout == "one\n"
    missing = shell("cat", "nobody", "a.txt", code=4).stderr
    assert "No project of me has a run nobody" in missing
    assert "holdfast ls me" in missing


def test_where_nothing_is_listed_it_says_so(shell):
    shell.store({"a.txt": b"one\n"})

    assert "holdfast ls" in shell("ls", "mnist").stderr
    assert "holdfast ls" in shell("runs", "me/other").stderr
    assert shell.json("ls", "mnist") == []
