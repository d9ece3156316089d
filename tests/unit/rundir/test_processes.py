"""What names a process for ever."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

from holdfast.rundir.processes import process_is_alive, process_start


def test_a_process_started_when_psutil_says_so():
    assert abs(process_start(os.getpid()) - psutil.Process().create_time()) < 1.5


def test_a_process_lives_until_it_has_ended_reaped_or_not():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = process_start(process.pid)
    assert start is not None
    assert process_is_alive(process.pid, start)
    assert not process_is_alive(process.pid, start - 60)

    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(process.pid) is None
    process.wait()
    assert process_start(process.pid) is None


def test_a_name_with_brackets_and_spaces_is_no_trap(tmp_path):
    script = tmp_path / "a) R (b 1"
    script.symlink_to("/bin/sleep")
    with subprocess.Popen([script, "60"]) as process:
        assert abs(process_start(process.pid) - psutil.Process(process.pid).create_time()) < 1.5
        process.kill()
