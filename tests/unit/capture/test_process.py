"""The capture process: what it makes, what it leaves alone, and what is said of what it could not do."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from holdfast.capture import STEPS, __main__
from holdfast.capture.metadata import describe
from holdfast.capture.requirements import requirement_lines
from holdfast.capture.scene import Scene
from holdfast.capture.shelf import Shelf
from holdfast.errors import LocalFileError
from holdfast.rundir.capturing import CaptureState, read_capture, write_capture
from holdfast.rundir.layout import RunDirectory
from holdfast.settings import CAPTURES, load_settings
from tests.unit.sync.trainer import Trainer


@pytest.fixture
def trainer(tmp_path):
    return Trainer(tmp_path)


def scene(folder, **settings):
    return Scene.here(load_settings(dir=folder, **settings))


def start(directory, told, *, steps=tuple(STEPS)):
    write_capture(directory, CaptureState.begun(steps))
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast.capture", str(directory.path)],
        stdin=told,
        stderr=subprocess.DEVNULL,
    )


def test_the_steps_are_those_that_can_be_chosen_and_that_the_process_knows():
    assert tuple(STEPS) == CAPTURES == tuple(__main__.STEPS)


def test_a_scene_survives_the_way_to_the_process_but_for_keys(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1", "\udcff"])
    given = scene(tmp_path, api_key="hf_" + "k" * 34, tags=("a", "b"), quiet=0.5)

    text = given.to_json()
    back = Scene.from_json(text)

    assert b"kkkk" not in text
    assert (back.arguments, back.cwd, back.pid) == (("--lr", "0.1", "\udcff"), os.getcwd(), os.getpid())
    assert (back.settings.tags, back.settings.quiet, back.settings.home) == (
        ("a", "b"),
        0.5,
        given.settings.home,
    )


def test_a_file_of_the_users_is_not_replaced_and_a_broken_one_leaves_nothing(trainer):
    files = trainer.directory.files
    shelf = Shelf(trainer.directory, trainer.opened)
    (files / "metadata.json").write_text("mine")

    shelf.put("metadata.json", "captured")
    shelf.put("code/a/b.py", "x = 1\n")
    with contextlib.suppress(ValueError), shelf.open("diff.patch") as file:
        file.write(b"half")
        raise ValueError
    with pytest.raises(LocalFileError, match=r"metadata.json/x"):
        shelf.put("metadata.json/x", "no folder")

    found = sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())
    assert found == ["code/a/b.py", "metadata.json"]
    assert (files / "metadata.json").read_text() == "mine"
    assert not list(trainer.directory.path.glob("*.part*"))


def test_another_rank_has_its_own_names(tmp_path):
    trainer = Trainer(tmp_path, rank=3)

    Shelf(trainer.directory, trainer.opened).put("metadata.json", "{}")

    assert (trainer.directory.files / "ranks/3/metadata.json").exists()


def test_a_step_that_fails_spoils_no_other(trainer, tmp_path, monkeypatch):
    def fail(_scene, _shelf):
        raise RuntimeError("no idea")

    monkeypatch.setitem(__main__.STEPS, "metadata", fail)
    write_capture(trainer.directory, CaptureState.begun(tuple(STEPS)))

    state = __main__.capture(trainer.directory, scene(tmp_path))

    assert read_capture(trainer.directory) == state
    assert all(RunDirectory.is_own_entry(path.name) for path in trainer.directory.path.iterdir())
    assert state.failures == {"metadata": "no idea"}
    assert not state.is_under_way
    assert "pytest==" in (trainer.directory.files / "requirements.txt").read_text()


def test_of_a_process_that_was_killed_it_is_said_what_it_did_not_do(trainer):
    reading, writing = os.pipe()
    process = start(trainer.directory, reading)
    assert read_capture(trainer.directory).is_under_way  # for as long as a process may take to begin

    process.kill()
    process.wait()
    os.close(reading)
    os.close(writing)
    state = read_capture(trainer.directory)
    write_capture(trainer.directory, replace(state, at=state.at - 60))

    left = read_capture(trainer.directory)
    assert not left.is_under_way
    assert set(left.failures) == set(STEPS)


def test_the_process_survives_a_run_directory_that_is_removed(trainer, tmp_path):
    told = tmp_path / "scene.json"
    told.write_bytes(scene(tmp_path).to_json())
    with told.open("rb") as file:
        process = start(trainer.directory, file)
    trainer.directory.path.rename(tmp_path / "moved")

    assert process.wait(60) in (0, 1)


def test_metadata_tells_how_the_run_was_started_without_secrets(tmp_path, monkeypatch):
    key = "hf_" + "q" * 34
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1", "--api-key", "abc", "--note", f"x{key}"])
    monkeypatch.setenv("HOLDFAST_API_KEY", key)
    monkeypatch.setenv("NEVER_CAPTURED", "never-captured")

    found = describe(Scene.from_json(scene(tmp_path, api_key=key).to_json()))
    text = json.dumps(found)

    assert found["args"] == ["--lr", "0.1", "--api-key", "***", "--note", "x***"]
    assert (found["cwd"], found["pid"]) == (os.getcwd(), os.getpid())
    assert found["memory_bytes"] > 1e6
    assert key not in text
    assert "never-captured" not in text


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_metadata_names_commit_branch_and_remote_without_credentials(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "-b", "trunk")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    git(tmp_path, "remote", "add", "origin", "https://me:pa55w0rd@host/me/repo.git")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")

    found = describe(scene(tmp_path))["git"]

    assert found == {
        "root": str(tmp_path),
        "commit": git(tmp_path, "rev-parse", "HEAD"),
        "branch": "trunk",
        "remote": "https://host/me/repo.git",
    }


class Installed:
    def __init__(self, name, version, direct=None):
        self.metadata = {"Name": name}
        self.version = version
        self._direct = direct

    def read_text(self, _name):
        return (
            self._direct
            if self._direct is None or isinstance(self._direct, str)
            else json.dumps(self._direct)
        )


@pytest.mark.parametrize(
    ("direct", "line"),
    [
        (None, "Some.Thing==1.0"),
        ("not json", "Some.Thing==1.0"),
        ({}, "Some.Thing==1.0"),
        (
            {
                "url": "https://t0ken@host/x.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
                "subdirectory": "a",
            },
            "Some.Thing @ git+https://host/x.git@abc#subdirectory=a",
        ),
        (
            {"url": "https://me:pw@host/x-1.0.whl", "archive_info": {"hash": "sha256=12"}},
            "Some.Thing @ https://host/x-1.0.whl#sha256=12",
        ),
        (
            {"url": "file:///home/a%20b", "dir_info": {"editable": True}},
            "# Editable install (Some.Thing==1.0)\n-e /home/a b",
        ),
        ({"url": "file:///home/a", "dir_info": {}}, "Some.Thing @ file:///home/a"),
    ],
)
def test_a_distribution_is_listed_as_pip_freeze_lists_it(direct, line):
    found = [Installed("zlib", "2"), Installed("Some.Thing", "1.0", direct), Installed("some-thing", "0.9")]

    assert requirement_lines([*found, Installed(None, "1")]) == [line, "zlib==2"]
