"""Blobs in a folder: what is left by whom, and what the disk does."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from holdfast.errors import VaultUnavailableError
from holdfast.vault.blobs.local import LocalBlobs


def parts(root):
    return sorted(path.name for path in (root / "incoming").iterdir())


def test_a_living_writer_keeps_its_part_file(tmp_path):
    writer = LocalBlobs(tmp_path).create("d/aa-x")
    writer.write([b"x"])

    LocalBlobs(tmp_path)

    assert len(parts(tmp_path)) == 1
    writer.commit()
    assert LocalBlobs(tmp_path).read("d/aa-x", 0, 9) == b"x"
    assert parts(tmp_path) == []


def test_what_a_killed_writer_left_is_removed_at_the_next_opening(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from holdfast.vault.blobs.local import LocalBlobs\n"
        "LocalBlobs(Path(sys.argv[1])).create('d/aa-x').write([b'x']); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(parts(tmp_path)) == 1

    LocalBlobs(tmp_path)

    assert parts(tmp_path) == []


def test_a_part_file_of_another_host_goes_after_a_day(tmp_path):
    LocalBlobs(tmp_path)
    for name, age_h in (("new", 1), ("old", 25)):
        part = tmp_path / "incoming" / f"{name}.elsewhere.1.1.part"
        part.write_bytes(b"x")
        os.utime(part, (time.time() - age_h * 3600,) * 2)

    LocalBlobs(tmp_path)

    assert parts(tmp_path) == ["new.elsewhere.1.1.part"]


def test_a_part_file_of_an_earlier_process_with_this_pid_is_removed(tmp_path):
    LocalBlobs(tmp_path).create("d/aa-x").write([b"x"])
    [mine] = parts(tmp_path)
    fields = mine.split(".")
    (tmp_path / "incoming" / ".".join([*fields[:3], "12345", "part"])).write_bytes(b"x")

    LocalBlobs(tmp_path)

    assert parts(tmp_path) == [mine]


def test_after_a_failed_fsync_the_blob_is_discarded_and_never_synced_again(tmp_path, monkeypatch):
    blobs = LocalBlobs(tmp_path)
    writer = blobs.create("d/aa-x")
    writer.write([b"x"])
    calls = []

    def fail(fd):
        calls.append(fd)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(VaultUnavailableError):
        writer.commit()
    writer.abort()

    assert len(calls) == 1
    assert parts(tmp_path) == []
    assert blobs.size("d/aa-x") is None


def test_files_and_folders_are_for_this_user_only(tmp_path):
    root = tmp_path / "blobs"
    writer = LocalBlobs(root).create("d/aa-x")
    writer.write([b"x"])
    writer.commit()

    modes = {path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert modes == {0o700, 0o600}


def test_data_and_folders_are_synced_before_the_commit_returns(tmp_path, monkeypatch):
    blobs = LocalBlobs(tmp_path)
    writer = blobs.create("d/aa-x")
    writer.write([b"x"])
    synced, sync = [], os.fsync

    def note(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        sync(fd)

    monkeypatch.setattr(os, "fsync", note)
    writer.commit()

    assert synced[0].endswith(".part")
    assert synced[1:] == [str(tmp_path), str(tmp_path / "d"), str(tmp_path / "d" / "aa")]
