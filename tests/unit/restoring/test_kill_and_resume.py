"""A restore that dies leaves old files or new files, and the next one goes on where it stopped."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError, VaultUnavailableError

RESTORER = Path(__file__).with_name("restorer.py")
rng = random.Random(7)


def start(place, pause_s=0.0, limit=0):
    process = subprocess.Popen(
        [
            sys.executable,
            str(RESTORER),
            str(place.data),
            str(place.run),
            str(place.root),
            str(pause_s),
            str(limit),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process):
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_at_random_moments_each_file_is_the_old_or_the_new_one(place, kills):
    old = {f"d{i % 3}/f{i}": rng.randbytes(rng.choice([0, 10, 70_000, 2_000_000])) for i in range(12)}
    new = {name: rng.randbytes(len(data) + 1) for name, data in old.items()}
    for name, data in old.items():
        place.put(name, data)
    place.files()
    for name, data in new.items():
        place.put(name, data)

    for _ in range(kills):
        process = start(place, pause_s=0.003)
        time.sleep(rng.uniform(0, 0.12))
        kill(process)
        for name, data in old.items():
            assert (place.root / name).read_bytes() in (data, new[name])

    assert not place.files(replace=True).failed
    assert {name: (place.root / name).read_bytes() for name in new} == new
    assert place.left() == []


def test_a_killed_restore_is_gone_on_with_and_not_begun_anew(place):
    data = rng.randbytes(24_000_000)
    place.put("big", data)
    process = start(place, pause_s=0.05)
    # what is written, not how far: four readers begin at four places
    while not place.left() or (place.root / place.left()[0]).stat().st_blocks * 512 < 8_000_000:
        assert process.poll() is None
        time.sleep(0.01)
    kill(process)

    report = place.files()

    assert (place.root / "big").read_bytes() == data
    assert report.bytes_reused > 1_000_000
    assert report.bytes_fetched < len(data) - report.bytes_reused + 100_000
    assert place.left() == []


def test_a_part_that_somebody_changed_is_not_trusted(place):
    data = rng.randbytes(6_000_000)
    place.put("big", data)
    cut_after(place, 3_000_000)
    [part] = place.left()
    with (place.root / part).open("r+b") as file:
        file.write(b"garbage")

    assert place.read("big") == data


def test_a_part_that_has_become_the_users_file_is_never_written(place):
    data = rng.randbytes(6_000_000)
    place.put("big", data)
    cut_after(place, 3_000_000)
    [part] = place.left()
    (place.root / "other name").hardlink_to(place.root / part)
    before = (place.root / "other name").read_bytes()

    assert place.read("big") == data

    assert (place.root / "other name").read_bytes() == before


def test_parts_of_another_content_are_removed(place):
    place.put("big", rng.randbytes(6_000_000))
    cut_after(place, 3_000_000)
    place.put("big", b"small now")

    assert place.read("big") == b"small now"

    assert place.left() == []


def test_the_part_of_a_living_process_is_left_alone(place):
    data = rng.randbytes(12_000_000)
    place.put("big", data)
    process = start(place, pause_s=0.1)
    while not place.left():
        assert process.poll() is None
        time.sleep(0.01)

    assert place.read("big") == data
    assert len(place.left()) == 1

    assert process.wait(timeout=30) == 0
    process.stdout.close()
    assert (place.root / "big").read_bytes() == data
    assert place.left() == []


def test_a_vault_that_goes_away_leaves_what_was_fetched_to_the_next_call(place, monkeypatch):
    monkeypatch.setattr("holdfast.restoring.fetch.FIRST_PAUSE_S", 0.001)
    data = rng.randbytes(6_000_000)
    place.put("big", data)

    cut_after(place, 3_000_000)
    before = place.vault.bytes_read

    assert place.read("big") == data
    assert place.vault.bytes_read - before < 4_500_000


def test_a_cut_in_the_middle_is_gone_on_with_in_the_same_call(place):
    data = rng.randbytes(6_000_000)
    place.put("big", data)
    pieces = iter(range(1_000_000))

    def cut_now_and_then():
        if next(pieces) % 3 == 2:
            raise VaultUnavailableError("cut")

    place.vault.before_piece = cut_now_and_then

    assert place.read("big") == data


def test_two_restores_of_the_same_files_at_once_both_succeed(place):
    data = {f"f{i}": rng.randbytes(300_000) for i in range(10)}
    for name, content in data.items():
        place.put(name, content)
    reports = []

    threads = [threading.Thread(target=lambda: reports.append(place.files())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [report.failed for report in reports] == [[], [], []]
    assert {name: (place.root / name).read_bytes() for name in data} == data
    assert place.left() == []


def test_a_disk_that_refuses_is_a_clear_error_and_leaves_nothing(place):
    place.put("big", rng.randbytes(6_000_000))
    place.put("small", b"small")

    process = start(place, limit=1_000_000)
    output = process.stdout.read()
    process.stdout.close()

    assert process.wait() == 0
    assert output.startswith("big local_file")
    assert "File too large" in output
    assert sorted(os.listdir(place.root)) == ["small"]


def cut_after(place, size):
    """Restore until so many bytes have come, then let the vault go away for good."""

    def cut():
        if place.vault.bytes_read > size:
            raise VaultUnavailableError("gone")

    place.vault.before_piece = cut
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.restoring.fetch.FIRST_PAUSE_S", 0.001)
        with pytest.raises(HoldfastError):
            place.file("big")
    place.vault.before_piece = lambda: None
