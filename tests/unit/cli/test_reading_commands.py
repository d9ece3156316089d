from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e

DATA = os.urandom(200_000)


def test_ls_lists_projects_runs_files_and_versions(shell):
    shell.store({"model.pt": DATA, "eval/a.csv": b"1,2"})
    shell.store({"model.pt": DATA + b"more"})

    assert shell("ls").stdout.startswith("me/mnist  1 run")
    assert shell("ls", "me").stdout.startswith("me/mnist")
    assert shell("ls", "me/mnist").stdout.startswith("me/mnist/a1b2c3d4")
    files = shell("ls", "me/mnist/a1b2c3d4").stdout.splitlines()
    assert [line.split()[-1] for line in files] == ["eval/a.csv", "model.pt"]
    versions = shell.json("ls", "-v", "me/mnist/a1b2c3d4/model.pt")
    assert [(item["version"], item["size"]) for item in versions] == [(2, 200_004), (1, 200_000)]


def test_ls_of_an_unknown_run_is_one_clear_line(shell):
    done = shell("ls", "me/mnist/nothing", code=4)

    assert done.stderr == "error: There is no run me/mnist/nothing.\n"
    assert done.stdout == ""


def test_ls_shows_what_is_not_an_exact_state_of_the_file(shell):
    shell.store({"late.pt": b"x"}, fidelity="later")

    assert "(later)" in shell("ls", "me/mnist/a1b2c3d4").stdout


def test_cat_writes_the_very_bytes_of_any_version(shell):
    run = shell.store({"model.pt": DATA})
    shell.store({"model.pt": b"new"})

    def cat(*arguments):
        command = [sys.executable, "-m", "holdfast", "cat", str(run), "model.pt", *arguments]
        return subprocess.run(command, cwd=shell.cwd, env=shell.env, capture_output=True, check=True).stdout

    assert cat() == b"new"
    assert cat("--version", "1") == DATA


def test_a_short_run_path_is_filled_from_the_settings(shell):
    shell.store({"f": b"content"})
    shell.env["HOLDFAST_PROJECT"] = "mnist"

    assert shell("cat", "a1b2c3d4", "f").stdout == "content"
    assert shell("cat", "mnist/a1b2c3d4", "f").stdout == "content"
    assert shell("cat", "http://host:1/me/mnist/runs/a1b2c3d4/files", "f").stdout == "content"


def test_pull_restores_a_run_into_the_working_directory(shell):
    files = {"model.pt": DATA, "eval/confusion matrix.csv": b"0,1"}
    run = shell.store(files)

    done = shell("pull", str(run))

    assert {name: (shell.cwd / name).read_bytes() for name in files} == files
    assert done.stdout == ""
    assert "2 files restored" in done.stderr
    assert "2 unchanged" in shell("pull", str(run)).stderr


def test_pull_takes_patterns_folders_roots_and_versions(shell):
    run = shell.store({"model.pt": b"1", "eval/a.csv": b"a", "eval/b.txt": b"b"})
    shell.store({"model.pt": b"2"})

    shell("pull", str(run), "eval/*.csv", "--root", "out")
    shell("pull", str(run), "model.pt", "--version", "1", "--root", "out")

    assert sorted(path.name for path in (shell.cwd / "out").rglob("*")) == ["a.csv", "eval", "model.pt"]
    assert (shell.cwd / "out/model.pt").read_bytes() == b"1"
    shell("pull", str(run), "--version", "1", code=2)
    shell("pull", str(run), "no*", code=4)


def test_pull_skips_other_content_says_so_and_replaces_only_when_told(shell):
    run = shell.store({"a": b"stored", "b": b"stored too"})
    (shell.cwd / "a").write_bytes(b"mine")

    done = shell("pull", str(run), code=5)

    assert "skipped  a: " in done.stderr
    assert "--replace" in done.stderr
    assert (shell.cwd / "a").read_bytes() == b"mine"
    assert (shell.cwd / "b").read_bytes() == b"stored too"
    outcomes = {item["name"]: item["outcome"] for item in shell.json("pull", str(run), "--replace")}
    assert outcomes == {"a": "restored", "b": "unchanged"}
    assert (shell.cwd / "a").read_bytes() == b"stored"


def test_verify_tells_same_older_differs_and_missing_apart(shell):
    run = shell.store({"same": b"1", "older": b"old", "differs": b"1", "missing": b"1"})
    shell.store({"older": b"new"})
    for name, data in {"same": b"1", "older": b"old", "differs": b"2"}.items():
        (shell.cwd / name).write_bytes(data)

    found = {item["name"]: item["verdict"] for item in shell.json("verify", str(run), code=6)}

    assert found == {name: name for name in ("same", "older", "differs", "missing")}
    shell("pull", str(run), "--replace")
    assert "4 files the same" in shell("verify", str(run)).stderr


def test_a_reader_that_goes_away_is_no_error_worth_a_traceback(shell):
    run = shell.store({"big": os.urandom(3_000_000)})
    command = f"{sys.executable} -m holdfast cat {run} big | head -c 10 >/dev/null"

    done = subprocess.run(command, shell=True, cwd=shell.cwd, env=shell.env, capture_output=True, check=False)

    assert done.stderr == b""
