from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from holdfast.rundir.capturing import CaptureState, write_capture
from holdfast.rundir.facts import Ended, Opened, Refused, Stored, to_record
from holdfast.rundir.records import RecordWriter

pytestmark = pytest.mark.e2e


def test_an_offline_run_is_shown_synced_and_then_shown_as_stored(shell):
    data = os.urandom(300_000)
    directory = shell.offline_run({"model.pt": data})

    before = shell("status").stdout
    synced = shell("sync").stdout
    after = shell.json("status")

    assert "me/mnist/off1off1: offline, 0 of 1 file stored" in before
    assert "model.pt: not stored yet" in before
    assert f"holdfast sync {directory.path}" in before
    assert synced == "me/mnist/off1off1: finished, 1 file stored\n"
    assert [(item["state"], item["not_stored"]) for item in after] == [("stored", {})]
    assert (shell.cwd / "model.pt").unlink() is None
    shell("pull", "me/mnist/off1off1")
    assert (shell.cwd / "model.pt").read_bytes() == data


def test_syncing_twice_makes_no_second_version(shell):
    directory = shell.offline_run({"model.pt": b"content"})
    shell("sync", str(directory.path))

    shell("sync", str(directory.path))
    shell("sync")

    assert len(shell.json("ls", "-v", "me/mnist/off1off1/model.pt")) == 1


def test_sync_ends_with_the_truth_and_code_9_when_a_file_is_gone(shell):
    directory = shell.offline_run({"model.pt": b"content", "gone.pt": b"gone"})
    (shell.cwd / "gone.pt").unlink()

    [record] = shell.json("sync", str(directory.path), code=9)

    assert list(record["not_stored"]) == ["gone.pt"]
    assert record["files_stored"] == 1
    [shown] = shell.json("status")
    assert shown["state"] == "incomplete"
    assert list(shown["not_stored"]) == ["gone.pt"]


def test_sync_of_a_folder_without_run_directories_says_so(shell):
    (shell.cwd / "empty").mkdir()

    assert "not a run directory" in shell("sync", "empty", code=4).stderr
    assert "nothing to sync" in shell("sync").stderr


def test_verify_of_a_run_directory_finds_what_is_only_local(shell):
    directory = shell.offline_run({"model.pt": b"content"})
    shell("sync")
    assert "1 file the same" in shell("verify", str(directory.path)).stderr

    (directory.files / "new.txt").write_bytes(b"new")
    (shell.cwd / "model.pt").write_bytes(b"changed")

    found = {item["name"]: item["verdict"] for item in shell.json("verify", str(directory.path), code=6)}
    assert found == {"model.pt": "differs", "new.txt": "local"}


def test_status_finds_runs_elsewhere_that_are_not_done(shell):
    directory = shell.offline_run({"model.pt": b"content"})
    (shell.home / "pending").mkdir(parents=True)
    (shell.home / "pending" / "attempt-off1off1").write_text(f"{directory.path}\n")
    shell.cwd = shell.cwd.parent

    assert "me/mnist/off1off1: offline" in shell("status").stdout


def test_status_says_why_a_run_was_refused(shell):
    directory = shell.offline_run({"model.pt": b"content"})
    with RecordWriter(directory.sync_log) as log:
        log.append(to_record(Refused("run_exists", "The run exists already.")))

    shown = shell("status").stdout

    assert "refused" in shown
    assert "trouble: The run exists already." in shown


@pytest.mark.parametrize("state", ["stored", "running"])
def test_status_tells_a_run_that_goes_on_from_one_that_is_stored(shell, state):
    directory = shell.offline_run({"model.pt": b"content"})
    if state == "running":
        os.remove(directory.journal)
        rewrite_as_running(directory, shell.home)
    else:
        stored = Stored("model.pt", 1, "00" * 32, 7, 1, 1, "exact", created=True, saves=["save-1"])
        with RecordWriter(directory.sync_log) as log:
            log.append(to_record(stored), to_record(Ended("finished", 0, 1, {}, time.time())))

    [record] = shell.json("status")

    assert record["state"] == state


def rewrite_as_running(directory, home):
    from holdfast.rundir.processes import host_name, process_start

    me = {"host": host_name(), "pid": os.getpid(), "pid_started": process_start(os.getpid())}
    run = {"entity": "me", "project": "mnist", "run_id": "off1off1", "attempt": "attempt-off1off1"}
    opened = Opened(**run, **me, mode="offline", base_url=None, home=str(home), started_at=time.time())
    with RecordWriter(directory.journal) as journal:
        journal.append(to_record(opened))


def test_a_command_starts_the_syncer_of_an_online_run_that_was_left_behind(shell):
    directory = shell.offline_run({"model.pt": b"content"})
    line = directory.journal.read_bytes()
    os.remove(directory.journal)
    rewrite_as_online(directory, line)

    shell("status")

    deadline = time.monotonic() + 30
    while shell.json("status")[0]["state"] != "stored":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert shell("cat", "me/mnist/off1off1", "model.pt").stdout == "content"


def rewrite_as_online(directory, lines):
    from holdfast.rundir.records import decode_line

    with RecordWriter(directory.journal) as journal:
        for line in lines.splitlines():
            record = decode_line(line)
            journal.append({**record, "mode": "online"} if record["fact"] == "opened" else record)


def test_status_says_what_was_not_captured(shell):
    directory = shell.offline_run({"model.pt": b"content"})
    state = CaptureState.begun(("metadata", "requirements")).with_step("metadata", "no idea")
    write_capture(directory, replace(state, at=state.at - 60))

    shown = shell("status").stdout

    assert "metadata not captured: no idea" in shown
    assert "requirements not captured: the process that captures was ended" in shown
