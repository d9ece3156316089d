"""What belongs to a run is on the server early, whatever happens to the training, and has no secret in it."""

from __future__ import annotations

import json
import signal
import time

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, all_files, read_file

TRAINING = "import holdfast, time\nholdfast.init(project='p', id='r')\nprint('begun', flush=True)\n"
CAPTURED = {"metadata.json", "requirements.txt"}
RUN = RunPath(ENTITY, "p", "r")


@pytest.fixture
def capturing(machine):
    del machine.env["HOLDFAST_CAPTURE"]
    return machine


def test_metadata_and_requirements_are_stored_though_the_run_is_killed(capturing):
    server = capturing.server()
    key = capturing.vault_key(server.url)
    capturing.use(server.url, key)
    arguments = ("--lr", "0.1", "--token", "t0psecret", f"--note=<{key}>")
    training = capturing.start(TRAINING + "time.sleep(60)", *arguments)
    directory = capturing.wait_for_directory()
    deadline = time.monotonic() + 30
    while not {fact.name for fact in capturing.stored(directory)} >= CAPTURED:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    training.send_signal(signal.SIGKILL)
    training.wait()
    capturing.wait_until_ended(directory)

    vault = capturing.vault()
    assert set(all_files(vault, RUN)) == CAPTURED
    metadata = json.loads(read_file(vault, RUN, "metadata.json"))
    assert metadata["args"] == ["--lr", "0.1", "--token", "***", "--note=<***>"]
    assert (metadata["cwd"], metadata["pid"]) == (str(capturing.cwd), training.pid)
    assert "pytest==" in read_file(vault, RUN, "requirements.txt").decode()
    for path in directory.path.rglob("*"):
        for secret in (key, "t0psecret"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    vault.close()


def test_a_run_that_is_over_at_once_is_captured_all_the_same(capturing):
    assert capturing.run(TRAINING) == 0

    [directory] = capturing.directories()
    assert {fact.name for fact in capturing.stored(directory)} == CAPTURED


def test_an_offline_run_has_all_that_is_captured_when_its_script_ends(capturing):
    capturing.env["HOLDFAST_MODE"] = "offline"
    assert capturing.run(TRAINING) == 0

    [directory] = capturing.directories()
    assert {path.name for path in directory.files.iterdir()} == CAPTURED


def test_a_file_of_the_users_by_the_name_of_a_captured_one_is_the_one_that_is_kept(capturing):
    (capturing.cwd / "requirements.txt").write_text("mine\n")
    save = "holdfast.save('requirements.txt')\n"
    assert capturing.run(TRAINING + save + "time.sleep(2)\n" + save) == 0
    assert capturing.run(TRAINING.replace("'r'", "'late'") + "time.sleep(2)\n" + save) == 0

    vault = capturing.vault()
    for run_id in ("r", "late"):
        assert read_file(vault, RunPath(ENTITY, "p", run_id), "requirements.txt") == b"mine\n"
    vault.close()
