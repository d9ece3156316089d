from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from holdfast.errors import DirectoryBusyError
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.lease import Holder, acquire_lease, lease_is_live

HOLD = """
import sys, time
from pathlib import Path
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.lease import acquire_lease
lease = acquire_lease(RunDirectory(Path(sys.argv[1])))
print("held", flush=True)
while True:
    lease.keep()
    time.sleep(0.05)
"""


@pytest.fixture
def directory(tmp_path):
    return RunDirectory.create(tmp_path, "abc")


@pytest.fixture
def holder_process(directory):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory.path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def far(**changes):
    return dataclasses.replace(Holder.here(), host="elsewhere", **changes)


def lease_files(directory):
    return sorted(name for name in os.listdir(directory.path) if name.startswith("syncer.lease"))


def test_a_directory_that_nobody_held_is_taken_at_once(directory):
    assert not lease_is_live(directory)

    with acquire_lease(directory) as lease:
        assert lease.is_held()
        assert lease_is_live(directory)


def test_a_second_syncer_of_the_same_machine_is_refused_at_once(directory, holder_process):
    start = time.monotonic()

    with pytest.raises(DirectoryBusyError):
        acquire_lease(directory)

    assert time.monotonic() - start < 1


def test_a_released_lease_is_taken_at_once_and_leaves_one_file(directory):
    for _ in range(5):
        acquire_lease(directory).release()

    assert not lease_is_live(directory)
    assert len(lease_files(directory)) == 1


def test_the_lease_of_a_killed_process_is_taken_at_once_even_if_nobody_reaped_it(directory, holder_process):
    holder_process.kill()
    os.waitid(os.P_PID, holder_process.pid, os.WEXITED | os.WNOWAIT)

    assert not lease_is_live(directory)
    with acquire_lease(directory) as lease:
        assert lease.is_held()


def test_a_pid_that_was_given_to_another_process_does_not_hold(directory):
    acquire_lease(directory, me=dataclasses.replace(Holder.here(), pid_started=1.0))

    assert not lease_is_live(directory)
    acquire_lease(directory)


def test_a_far_holder_that_beats_is_respected(directory, holder_process):
    with pytest.raises(DirectoryBusyError):
        acquire_lease(directory, me=far(), stale_s=10)


def test_a_far_holder_whose_beat_stands_still_is_passed_over(directory):
    dead = acquire_lease(directory, me=far())
    start = time.monotonic()

    lease = acquire_lease(directory, stale_s=0.5)

    assert 0.5 <= time.monotonic() - start < 3
    assert lease.is_held()
    assert not dead.is_held()


def test_a_holder_paused_for_long_stops_as_soon_as_it_wakes_and_does_not_disturb_the_next(
    directory, holder_process
):
    os.kill(holder_process.pid, signal.SIGSTOP)
    lease = acquire_lease(directory, me=far(), stale_s=0.5)
    os.kill(holder_process.pid, signal.SIGCONT)

    holder_process.wait(10)

    assert holder_process.returncode == 1
    lease.keep()
    assert lease.is_held()


def test_a_process_that_is_only_paused_keeps_its_lease_on_its_own_machine(directory, holder_process):
    os.kill(holder_process.pid, signal.SIGSTOP)

    assert lease_is_live(directory)
    with pytest.raises(DirectoryBusyError):
        acquire_lease(directory)


def test_a_holder_that_was_passed_over_is_told_by_check_and_by_keep(directory):
    lost = acquire_lease(directory, me=far())
    acquire_lease(directory, stale_s=0.1)

    with pytest.raises(DirectoryBusyError):
        lost.check()
    with pytest.raises(DirectoryBusyError):
        lost.keep()


def test_the_release_of_a_passed_over_holder_does_not_free_the_directory(directory):
    lost = acquire_lease(directory, me=far())
    acquire_lease(directory, stale_s=0.1)

    lost.release()

    with pytest.raises(DirectoryBusyError):
        acquire_lease(directory)


def test_an_empty_lease_file_of_a_process_that_died_while_making_it_is_passed_over_in_time(directory):
    (directory.path / "syncer.lease.7").touch()

    lease = acquire_lease(directory, stale_s=0.3)

    assert lease_files(directory) == ["syncer.lease.8"]
    assert lease.is_held()


def test_a_removed_run_directory_is_no_longer_held(directory, tmp_path):
    lease = acquire_lease(directory)
    directory.path.rename(tmp_path / "elsewhere")

    with pytest.raises(DirectoryBusyError):
        lease.check()


def _race(path, gate, wins, rounds):
    directory = RunDirectory(path)
    gate.wait()
    for _ in range(rounds):
        try:
            lease = acquire_lease(directory)
        except DirectoryBusyError:
            continue
        alone = path / "alone"
        fd = os.open(alone, os.O_CREAT | os.O_EXCL)  # fails, and so does the test, if there are two at once
        os.close(fd)
        lease.check()
        alone.unlink()
        wins.append(os.getpid())
        lease.release()


def test_of_many_processes_that_race_never_two_hold_the_directory(directory):
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        gate, wins = context.Barrier(8), manager.list()
        racers = [context.Process(target=_race, args=(directory.path, gate, wins, 15)) for _ in range(8)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(60)

        assert [racer.exitcode for racer in racers] == [0] * 8
        assert len(wins) > 3


def test_of_many_that_find_a_dead_far_holder_exactly_one_takes_its_place(directory):
    acquire_lease(directory, me=far())
    results = []

    def take():
        try:
            results.append(acquire_lease(directory, stale_s=0.3))
        except DirectoryBusyError:
            results.append(None)

    threads = [threading.Thread(target=take) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 12
    assert sum(lease is not None and lease.is_held() for lease in results) == 1
