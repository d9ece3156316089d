"""The code of a run, with a real server: a run here, a clone elsewhere, `holdfast restore`, and the same status and bytes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.harness import Machine, wait_until
from tests.unit.code.repositories import (
    IDENTITY,
    commit_all,
    contents,
    git,
    head,
    make_repository,
    publish,
    status,
    write,
)

PROGRAM = b"""\
import sys
import holdfast

run = holdfast.init(project="mnist", id=sys.argv[1])
run.log({"loss": 1.0})
run.finish()
"""


@pytest.fixture
def machine(tmp_path):
    machine = Machine(
        tmp_path / "machine", **IDENTITY, HOLDFAST_DIR=str(tmp_path / "runs"), HOLDFAST_CAPTURE="code"
    )
    server = machine.server()
    machine.use(server.url, machine.vault_key(server.url))
    yield machine
    machine.close()


@pytest.fixture
def repository(tmp_path):
    """A repository whose HEAD is ahead of its remote, with every kind of change in its work tree."""
    files = {
        "train.py": PROGRAM,
        "deleted.py": b"1\n",
        "renamed.py": b"line\n" * 20,
        "mode.sh": b"#!/bin/sh\n",
    }
    repository = make_repository(
        tmp_path / "repository", {**files, "data.bin": bytes(range(256)), "staged.py": b"1\n"}
    )
    publish(repository, tmp_path / "remote.git")
    write(
        repository,
        {"unpushed.py": b"1\n", "odd [x] \n\xc3\xbc.txt".encode("latin-1").decode(): b"a\r\nb\r\n"},
    )
    commit_all(repository, "not pushed")
    write(repository, {"unpushed.py": b"2\n", "data.bin": bytes(range(255, -1, -1)), "staged.py": b"2\n"})
    git(repository, "add", "staged.py")
    write(
        repository,
        {"staged.py": b"3\n", "untracked/new.py": b"new\n", 'odd "y"\t\\.txt': b"odd\n", ".env": b"KEY=1\n"},
    )
    git(repository, "mv", "renamed.py", "new name.py")
    (repository / "deleted.py").unlink()
    (repository / "mode.sh").chmod(0o755)
    (repository / "link").symlink_to("nowhere")
    return repository


def train(machine, repository, run_id="r1"):
    assert machine.run(repository / "train.py", run_id, cwd=repository) == 0, machine.output
    return kept_contents(repository)


def kept_contents(place):
    """What a run keeps of a work tree: neither secrets nor run directories."""
    return {
        path: found
        for path, found in contents(place).items()
        if path != ".env" and not path.startswith("holdfast/")
    }


def kept_status(place):
    return [line for line in status(place) if line not in (b"?? .env", b"?? holdfast/")]


def test_a_clone_elsewhere_gets_the_code_of_a_run_back(machine, tmp_path, repository):
    wanted = train(machine, repository)
    git(tmp_path, "clone", "-q", "remote.git", "clone")

    done = machine.cli("restore", "me/mnist/r1", cwd=tmp_path / "clone")

    assert done.returncode == 0, done.stderr
    assert "'.env': its name looks like that of a secret" in done.stderr
    assert "on branch holdfast/r1" in done.stderr
    assert contents(tmp_path / "clone") == wanted
    assert status(tmp_path / "clone") == kept_status(repository)
    assert head(tmp_path / "clone") == head(repository)
    again = machine.cli("restore", "me/mnist/r1", cwd=tmp_path / "clone")
    assert again.returncode == 5


def test_an_empty_folder_gets_the_code_of_a_run_from_its_url(machine, tmp_path, repository):
    del machine.env["HOLDFAST_DIR"]  # run directories within the repository are no part of its code
    wanted = train(machine, repository)
    url = f"{machine.env['HOLDFAST_BASE_URL']}/me/mnist/runs/r1"

    done = machine.cli("restore", url, "--into", str(tmp_path / "new"), "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["commit"] == head(repository)
    assert contents(tmp_path / "new") == wanted
    assert status(tmp_path / "new") == kept_status(repository)


def test_what_cannot_be_restored_is_said_with_a_code_and_nothing_is_touched(machine, tmp_path, repository):
    train(machine, repository)
    git(tmp_path, "clone", "-q", "remote.git", "clone")
    clone = tmp_path / "clone"
    write(clone, {"train.py": b"mine\n"})
    before = contents(clone), status(clone)

    dirty = machine.cli("restore", "me/mnist/r1", "--into", str(clone))
    assert (dirty.returncode, "not empty" in dirty.stderr) == (5, True)
    dirty = machine.cli("restore", "me/mnist/r1", cwd=clone)
    assert (dirty.returncode, "--stash" in dirty.stderr) == (5, True)
    assert (contents(clone), status(clone)) == before
    assert machine.cli("restore", "me/mnist/nope", cwd=clone).returncode == 4
    nowhere = machine.cli("restore", "me/mnist/r1")
    assert (nowhere.returncode, "--into" in nowhere.stderr) == (2, True)
    (tmp_path / "remote.git").rename(tmp_path / "gone.git")
    gone = machine.cli("restore", "me/mnist/r1", "--into", str(tmp_path / "new"))
    assert (gone.returncode, "remote.git" in gone.stderr) == (11, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("is_captured", [False, True])
def test_a_killed_capture_leaves_a_state_that_can_be_restored_or_none(
    machine, tmp_path, repository, is_captured
):
    write(repository, {"train.py": PROGRAM.replace(b"run.finish()", b"import time; time.sleep(60)")})
    wanted = kept_contents(repository)
    git(tmp_path, "clone", "-q", "remote.git", "clone")
    training = machine.start(repository / "train.py", "k1", cwd=repository)
    runs = tmp_path / "runs" / "holdfast"
    wait_until("the run was opened", lambda: list(runs.glob("run-*/journal.jsonl")))
    [directory] = runs.glob("run-*")
    if is_captured:
        wait_until("the state was there", (directory / "files/code/state.json").exists)

    kill_capture(directory)
    training.send_signal(signal.SIGKILL)
    training.wait()
    wait_until("all was stored", lambda: not machine.syncers(), 60)
    done = machine.cli("restore", "me/mnist/k1", cwd=tmp_path / "clone")

    assert done.returncode in ({0} if is_captured else {0, 4}), done.stderr
    if done.returncode == 0:
        assert contents(tmp_path / "clone") == wanted


def kill_capture(directory):
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"holdfast.capture" in command and os.fsencode(directory) in command:
                os.kill(int(process.name), signal.SIGKILL)
