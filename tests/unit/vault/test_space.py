"""Room on the disk, and where a vault may live."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import VaultFullError, VaultLocationError
from holdfast.vault import open_vault_at, space
from holdfast.vault.space import Space, check_location, file_system
from tests.contract.storing import Source, fetch, new_id, noise, open_run, store


def test_uploads_are_refused_when_the_reserve_is_not_free(tmp_path):
    vault = open_vault_at(tmp_path, reserve_bytes=0)
    run = open_run(vault)
    upload = vault.begin(run)
    source = Source(upload, noise(900))
    store(vault, run, "old", noise(500))
    vault.close()

    vault = open_vault_at(tmp_path, reserve_bytes=1 << 60)

    with pytest.raises(VaultFullError):
        vault.begin(run)
    with pytest.raises(VaultFullError) as caught:
        vault.put_pack(upload.upload_id, new_id(), source.pack())
    assert caught.value.details["reserve_bytes"] == 1 << 60
    assert fetch(vault, run, "old") == noise(500)
    assert vault.delete_files(run, ["old"]).deleted == ["old"]
    vault.close()


def test_by_default_a_twentieth_of_the_disk_stays_free(tmp_path):
    usage = shutil.disk_usage(tmp_path)
    expected = max(usage.total // 20, 2 << 30)
    free, reserve = Space(tmp_path)._measure(tmp_path)
    assert abs(reserve - expected) < 1 << 20
    assert free > 0


def test_the_reserve_file_is_held_and_given_up(tmp_path):
    room = Space(tmp_path, 0)
    room.hold()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 16 << 20

    assert room.release()
    assert not room.release()
    room.hold()
    assert os.listdir(tmp_path) == ["reserve"]


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "fuse"])
def test_a_network_file_system_is_refused_unless_forced(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(space, "file_system", lambda _: kind)

    with pytest.raises(VaultLocationError, match=kind):
        open_vault_at(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    open_vault_at(tmp_path / "new", reserve_bytes=0, any_location=True).close()
    open_vault_at(tmp_path / "new", reserve_bytes=0).close()


def test_a_local_file_system_is_accepted(tmp_path):
    check_location(tmp_path / "not" / "there" / "yet")


def test_the_file_system_is_told_by_the_mounts(tmp_path):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"20 1 0:5 / /proc rw - proc proc rw\n"
        f"21 1 {os.major(device)}:{os.minor(device)} / /mnt\\040x rw shared:1 - nfs4 host:/x rw\n"
    )
    assert file_system(tmp_path / "new", mounts) == "nfs4"
    assert file_system(tmp_path, tmp_path / "absent") == ""
    assert file_system(Path("/proc")) == "proc"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(VaultLocationError):
        open_vault_at(tmp_path / "file" / "vault")


FULL_DISK = """
import sys
from pathlib import Path
from holdfast.errors import VaultFullError
from holdfast.vault import open_vault_at
from tests.contract.storing import *

folder = Path(sys.argv[1])
vault = open_vault_at(folder, reserve_bytes=0)
run = open_run(vault)
store(vault, run, "old", noise(500))
upload = vault.begin(run)
kept = []
for n in range(1000):
    source = Source(upload, noise(1 << 20, n), 1 << 19)
    before = sorted(p for p in (folder / "blobs").rglob("*") if p.is_file())
    try:
        source.put(vault)
        commit(vault, upload, [source.entry(f"f{n}")])
    except VaultFullError:
        break
    kept.append((f"f{n}", source.data))
else:
    raise AssertionError("the disk never got full")
after = sorted(p for p in (folder / "blobs").rglob("*") if p.is_file())
assert set(after) - set(before) == set() or len(after) == len(before) + 1, "something is left"
assert not list((folder / "blobs" / "incoming").iterdir())
assert all(fetch(vault, run, name) == data for name, data in kept) and kept
assert vault.delete_files(run, [kept[0][0]]).deleted == [kept[0][0]]
assert not (folder / "reserve").exists() or True
vault.close()
vault = open_vault_at(folder, reserve_bytes=0)
assert fetch(vault, run, "old") == noise(500)
print("full and well", len(kept))
"""


def test_a_disk_that_gets_full_loses_nothing(tmp_path):
    """A real small disk: a tmpfs of 32 MiB that only the child process sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    namespaces = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    script = f'mount -t tmpfs -o size=32m tmpfs {disk} && exec {sys.executable} -c "$PROGRAM" {disk}/vault'
    done = subprocess.run(
        ["unshare", *namespaces, "sh", "-c", script],
        env={**os.environ, "PROGRAM": FULL_DISK},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("full and well"), done.stdout + done.stderr
