"""What belongs to a run is on the server early, whatever happens to the training, and has no secret in it."""

from __future__ import annotations

import json
import signal
import time

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, all_files, read_file, wait_until

TRAINING = "import holdfast, time\nholdfast.init(project='p', id='r')\nprint('begun', flush=True)\n"
CAPTURED = {"metadata.json", "requirements.txt", "code/state.json"}
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
    files = [path for path in directory.files.rglob("*") if path.is_file()]
    assert {path.relative_to(directory.files).as_posix() for path in files} == CAPTURED


def test_a_file_of_the_users_by_the_name_of_a_captured_one_is_the_one_that_is_kept(capturing):
    (capturing.cwd / "requirements.txt").write_text("mine\n")
    save = "holdfast.save('requirements.txt')\n"
    assert capturing.run(TRAINING + save + "time.sleep(2)\n" + save) == 0
    assert capturing.run(TRAINING.replace("'r'", "'late'") + "time.sleep(2)\n" + save) == 0

    vault = capturing.vault()
    for run_id in ("r", "late"):
        assert read_file(vault, RunPath(ENTITY, "p", run_id), "requirements.txt") == b"mine\n"
    vault.close()


@pytest.fixture
def printing(machine):
    del machine.env["HOLDFAST_CONSOLE"]
    machine.use(machine.server().url)
    return machine


def printed(vault, version=None):
    return [
        line
        for line in read_file(vault, RUN, "output.log", version).decode().splitlines()
        if not line.startswith("holdfast: ")
    ]


def test_what_was_printed_right_before_a_kill_is_stored(printing):
    printing.run(TRAINING + "import os\nprint('last words')\nos.kill(os.getpid(), 9)")

    [directory] = printing.directories()
    assert printing.wait_until_ended(directory).missing == {}
    vault = printing.vault()
    assert printed(vault) == ["begun", "last words"]
    vault.close()


def test_the_log_of_a_resumed_run_has_all_attempts(printing):
    for attempt in (1, 2, 3):
        resumed = TRAINING.replace("id='r'", "id='r', resume='allow'")
        assert printing.run(f"{resumed}print('attempt {attempt}')\nraise SystemExit(3)") == 3

    vault = printing.vault()
    lines = printed(vault)
    assert [line for line in lines if not line.startswith("----")] == [
        line for attempt in (1, 2, 3) for line in ("begun", f"attempt {attempt}")
    ]
    assert sum(line.startswith("---- resumed ") for line in lines) == 2
    vault.close()


def test_an_earlier_log_that_cannot_be_had_stays_as_an_older_version(printing):
    assert printing.run(TRAINING) == 0
    assert printing.run(TRAINING.replace("begun", "begun anew")) == 0  # without resume nothing is fetched

    vault = printing.vault()
    assert printed(vault) == ["begun anew"]
    versions = [info.version for info in vault.list_versions(RUN, "output.log")]
    assert ["begun"] in [printed(vault, version) for version in versions]
    vault.close()


def test_a_log_that_grows_is_on_the_server_while_the_run_goes_on(printing):
    training = printing.start(TRAINING + "for n in range(600): print('step', n); time.sleep(0.1)")
    directory = printing.wait_for_directory()
    wait_until(
        "the log was stored twice",
        lambda: sum(fact.name == "output.log" for fact in printing.stored(directory)) >= 2,
    )
    training.kill()
