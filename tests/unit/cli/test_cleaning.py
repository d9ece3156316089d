"""``holdfast sync --clean`` as a user meets it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from holdfast.rundir.facts import Finished, Opened, from_records, to_record
from holdfast.rundir.records import RecordReader, RecordWriter

pytestmark = pytest.mark.e2e


def offline_run(shell, run_id="off1off1"):
    directory = shell.offline_run({f"{run_id}.pt": b"content" * 1000}, run_id)
    (directory.files / "notes.txt").write_text("notes\n")
    return directory


def crash(directory):
    """Make it a run that did not say its end."""
    facts = list(from_records(RecordReader(directory.journal).read()))
    directory.journal.unlink()
    with RecordWriter(directory.journal) as journal:
        journal.append(*(to_record(fact) for fact in facts if not isinstance(fact, Finished)))


def test_clean_stores_what_is_missing_and_then_removes_the_directory(shell):
    directory = offline_run(shell)

    done = shell("sync", "--clean", "--yes").stdout

    assert "me/mnist/off1off1: finished, 2 files stored" in done
    assert f"removed {directory.path}: me/mnist/off1off1, 1 file" in done
    assert "freed" in done
    assert list(directory.path.parent.iterdir()) == []
    assert (shell.cwd / "off1off1.pt").exists()
    assert shell("cat", "me/mnist/off1off1", "notes.txt").stdout == "notes\n"


def test_clean_without_a_terminal_and_without_yes_does_nothing(shell):
    directory = offline_run(shell)

    refused = shell("sync", "--clean", code=2).stderr

    assert "--yes" in refused
    assert "--dry-run" in refused
    assert not directory.sync_log.exists()


def test_a_dry_run_stores_and_removes_nothing(shell):
    directory = offline_run(shell)

    assert "its state is offline" in shell("sync", "--clean", "--dry-run", code=9).stdout
    assert not directory.sync_log.exists()

    shell("sync")

    assert "would remove" in shell("sync", "--clean", "--dry-run").stdout
    assert (directory.files / "notes.txt").exists()


def test_what_changed_is_kept_with_code_9_and_its_reason_in_json(shell):
    directory = offline_run(shell)
    shell("sync")
    (directory.files / "notes.txt").write_text("other\n")

    found = shell.json("sync", "--clean", "--yes", code=9)

    [record] = found["cleaned"]["directories"]
    assert record["kept_because"] == "'notes.txt' is not stored as it is now"
    assert (record["removed"], record["freed_bytes"]) == (False, 0)
    assert shell.json("sync", "--clean", "--yes", str(directory.path))["cleaned"]["directories"][0]["removed"]


def test_a_run_that_auto_would_go_on_with_goes_only_by_name(shell):
    directory = offline_run(shell)
    crash(directory)
    shell("sync")

    assert 'resume="auto" would go on with it' in shell("sync", "--clean", "--yes").stdout
    assert "removed" in shell("sync", "--clean", "--yes", str(directory.path)).stdout


def test_only_runs_that_ended_long_ago_go_if_that_is_asked(shell):
    directory = offline_run(shell)

    assert "too short a time ago" in shell("sync", "--clean", "--yes", "--older-than", "24h").stdout
    assert "not an age" in shell("sync", "--clean", "--yes", "--older-than", "soon", code=2).stderr
    assert directory.path.exists()


@pytest.mark.parametrize(("answer", "is_there"), [(b"y\n", False), (b"n\n", True)])
def test_on_a_terminal_it_asks(shell, answer, is_there):
    directory = offline_run(shell)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "holdfast", "sync", "--clean"],
        cwd=shell.cwd,
        env=shell.env,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        os.write(ours, answer)
        output = process.communicate(timeout=60)[0].decode()
    os.close(ours)
    os.close(theirs)

    assert process.returncode == 0, output
    assert "Remove 1 run directory (" in output
    assert directory.path.exists() == is_there


def test_two_cleanings_at_once_do_no_harm(shell):
    directories = [offline_run(shell, f"off{number}") for number in range(6)]
    shell("sync")

    both = [
        subprocess.Popen(
            [sys.executable, "-m", "holdfast", "sync", "--clean", "--yes"],
            cwd=shell.cwd,
            env=shell.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], outputs
    assert list(directories[0].path.parent.iterdir()) == []


def test_a_live_run_is_kept(shell):
    directory = offline_run(shell)
    shell("sync")
    facts = list(from_records(RecordReader(directory.journal).read()))
    directory.journal.unlink()
    from dataclasses import replace

    from holdfast.rundir.processes import process_start

    with RecordWriter(directory.journal) as journal:
        for fact in facts:
            if isinstance(fact, Opened):
                journal.append(
                    to_record(replace(fact, pid=os.getpid(), pid_started=process_start(os.getpid())))
                )

    assert "its training goes on" in shell("sync", "--clean", "--yes", str(directory.path)).stdout
