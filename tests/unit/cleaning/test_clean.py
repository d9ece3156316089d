"""What may be removed, and what is kept and why: on real directories and a real vault, within this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.cleaning.clean import clean_directory
from holdfast.cleaning.survey import Survey
from holdfast.names import RunPath
from holdfast.rundir import trash
from holdfast.rundir.layout import find_run_directories
from holdfast.rundir.lease import acquire_lease
from holdfast.sync.follow import sync_directory
from holdfast.vault import open_vault
from tests.unit.sync.trainer import Trainer

RUN = RunPath("me", "mnist", "a1b2c3d4")


@pytest.fixture
def vault(tmp_path):
    vault = open_vault(f"sqlite:///{tmp_path / 'catalog.sqlite'}", (tmp_path / "blobs").as_uri(), user="me")
    yield vault
    vault.close()


@pytest.fixture
def trainer(tmp_path):
    trainer = Trainer(tmp_path)
    trainer.write("model.pt", os.urandom(300_000))
    trainer.save("model.pt")
    os.symlink(trainer.sources / "model.pt", trainer.directory.files / "model.pt")
    trainer.drop("sub/notes.txt", b"some notes\n")
    trainer.drop("empty", b"")
    return trainer


@pytest.fixture
def stored(trainer, vault):
    """A run that is over and stored."""
    trainer.finish()
    assert sync_directory(trainer.directory, vault, base_url=None).missing == {}
    return trainer


def clean(trainer, vault, **options):
    return clean_directory(trainer.directory, vault, base_url=None, **options)


def kept(trainer, vault, **options):
    before = tree(trainer.directory.path)
    found = clean(trainer, vault, **options)
    assert tree(trainer.directory.path) == before
    assert found.kept is not None
    return found.kept


def tree(path):
    return sorted(str(entry) for entry in path.rglob("*") if not entry.name.startswith("syncer.lease"))


def test_a_run_directory_whose_bytes_the_vault_has_goes_and_sources_elsewhere_stay(stored, vault):
    found = clean(stored, vault)

    assert found.kept is None
    assert found.files == 3
    assert list(stored.directory.path.parent.iterdir()) == []
    assert (stored.sources / "model.pt").stat().st_size == 300_000
    assert not stored.pending.exists()


def test_a_dry_run_removes_nothing(stored, vault):
    before = tree(stored.directory.path)

    assert clean(stored, vault, dry_run=True).kept is None
    assert tree(stored.directory.path) == before


def test_a_file_that_changed_after_it_was_stored_is_kept(stored, vault):
    (stored.directory.files / "sub" / "notes.txt").write_bytes(b"same notes\n")

    assert kept(stored, vault) == "'sub/notes.txt' is not stored as it is now"


def test_a_file_that_was_never_stored_is_kept(stored, vault):
    stored.drop("new.bin")

    assert kept(stored, vault) == "'new.bin' is not on the vault"


def test_a_file_that_holds_an_older_version_may_go(stored, vault):
    path = stored.directory.files / "sub" / "notes.txt"
    path.write_bytes(b"newer!\n")
    sync_directory(stored.directory, vault, base_url=None)
    path.write_bytes(b"some notes\n")

    assert clean(stored, vault).kept is None


def test_a_file_that_a_rule_ignores_is_kept_and_the_rule_named(tmp_path, vault):
    trainer = Trainer(tmp_path, ignore_globs=["*.tmp"])
    trainer.drop("scratch.tmp")
    trainer.finish()
    sync_directory(trainer.directory, vault, base_url=None)

    assert kept(trainer, vault) == "'scratch.tmp' is not stored, as ignore_globs (*.tmp) wants it"


@pytest.mark.parametrize("name", ["sub/notes.txt", "model.pt"])
def test_a_file_that_was_deleted_on_the_vault_is_kept(stored, vault, name):
    vault.delete_files(RUN, [name])

    assert kept(stored, vault) == f"'{name}' is not on the vault any more"


def test_a_run_whose_stored_bytes_are_damaged_is_kept(stored, vault, tmp_path):
    packs = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    for path in packs:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    assert "cannot read all of it" in kept(stored, vault)


def test_a_run_whose_packs_are_lost_is_kept(stored, vault, tmp_path):
    shutil.rmtree(tmp_path / "blobs")

    assert "cannot read all of it" in kept(stored, vault)


def test_a_run_that_goes_on_is_kept(trainer, vault):
    sync_directory(trainer.directory, vault, base_url=None)

    assert kept(trainer, vault) == "its training goes on"


def test_a_run_of_another_machine_that_did_not_say_its_end_is_kept(tmp_path, vault):
    trainer = Trainer(tmp_path, host="node7")
    trainer.drop("a.txt")
    sync_directory(trainer.directory, vault, base_url=None)

    assert "node7" in kept(trainer, vault)


def test_a_run_that_was_never_synced_is_kept(trainer, vault):
    trainer.finish()

    assert kept(trainer, vault) == "it is not stored yet"


def test_a_run_that_is_stored_at_another_vault_is_kept(stored, vault):
    found = clean_directory(stored.directory, vault, base_url="http://elsewhere")

    assert "the embedded vault, which is not asked now" in found.kept


def test_a_run_with_a_save_that_came_after_the_end_is_kept(stored, vault):
    stored.write("late.bin")
    stored.save("late.bin", "now", pin="copy")

    assert kept(stored, vault) == "'late.bin' is not stored"


def test_a_run_that_a_syncer_holds_is_kept(stored, vault):
    with acquire_lease(stored.directory):
        assert "a syncer or another cleaning" in kept(stored, vault)


def test_a_young_run_is_kept(stored, vault):
    assert "too short a time ago" in kept(stored, vault, older_than_s=3600)
    assert clean(stored, vault, older_than_s=0.001).kept is None


def test_what_holdfast_did_not_make_is_kept(stored, vault):
    (stored.directory.path / "thesis.tex").write_text("\\end{document}")

    assert kept(stored, vault) == "Holdfast has not made 'thesis.tex' in it"


def test_a_pin_that_nothing_names_is_kept_unless_its_bytes_are_stored(stored, vault):
    pin = stored.directory.pins / "orphan-0"
    pin.write_bytes(b"half a save")
    assert kept(stored, vault) == "pins/orphan-0 has bytes that no file of the run has"

    pin.write_bytes(b"some notes\n")

    assert clean(stored, vault).kept is None


def test_a_file_that_another_process_writes_is_kept(stored, vault):
    path = stored.directory.files / "sub" / "notes.txt"
    script = "import sys; f = open(sys.argv[1], 'ab'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        writer.stdout.readline()
        assert f"process {writer.pid} has files/sub/notes.txt open" in kept(stored, vault)
        writer.communicate(b"\n")

    assert clean(stored, vault).kept is None


def test_a_file_that_appears_in_the_last_moment_saves_the_directory(stored, vault, monkeypatch):
    from holdfast.cleaning import clean as module

    def slow(directory):
        (directory.files / "last.bin").write_bytes(b"just in time")
        return trash.set_aside(directory)

    monkeypatch.setattr(module, "set_aside", slow)

    assert clean(stored, vault).kept == "it changed while it was being cleaned"
    assert (stored.directory.files / "last.bin").read_bytes() == b"just in time"


def test_links_are_removed_and_never_followed(stored, vault, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("mine")
    os.symlink(precious, stored.directory.files / "precious")
    os.symlink(tmp_path / "nowhere", stored.directory.files / "dangling")

    assert clean(stored, vault).kept is None
    assert (precious / "thesis.tex").read_text() == "mine"


def test_a_run_directory_behind_a_link_is_kept(stored, vault, tmp_path):
    link = tmp_path / "holdfast" / "run-20200101_000000-link"
    os.symlink(stored.directory.path, link)

    assert "symbolic link" in clean_directory(type(stored.directory)(link), vault, base_url=None).kept


def test_freed_space_counts_what_is_allocated_once_and_only_what_really_goes(stored, tmp_path):
    files = stored.directory.files
    base = Survey(stored.directory).freed_bytes()
    data = os.urandom(1 << 20)
    (files / "twice").write_bytes(data)
    os.link(files / "twice", files / "again")
    (files / "held").write_bytes(data)
    os.link(files / "held", tmp_path / "outside")
    with (files / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    os.sync()

    grown = Survey(stored.directory).freed_bytes() - base

    assert 1 << 20 <= grown < 1.1 * (1 << 20)


def test_what_was_set_aside_by_a_process_that_is_gone_is_put_back(stored):
    root = stored.directory.path.parent
    trash.set_aside(stored.directory)
    assert list(find_run_directories(root)) == []

    trash.put_back_abandoned(root)

    assert list(find_run_directories(root)) == [stored.directory]


def test_what_another_process_has_set_aside_just_now_is_left_to_it(stored):
    root = stored.directory.path.parent
    with acquire_lease(stored.directory):
        trash.set_aside(stored.directory)
        trash.put_back_abandoned(root)

        assert list(find_run_directories(root)) == []


def test_trash_is_emptied_and_nothing_else(stored):
    root = stored.directory.path.parent
    other = root / ".trash-notes"
    other.mkdir()
    trash.condemn(trash.set_aside(stored.directory))

    trash.empty_trash(root)

    assert list(root.iterdir()) == [other]


def test_a_large_tree_is_proven_in_few_requests(trainer, vault):
    from tests.unit.sync.vaults import WatchedVault

    for number in range(1200):
        trainer.drop(f"many/{number:04}.txt", b"%d" % number)
    trainer.finish()
    sync_directory(trainer.directory, vault, base_url=None)
    watched = WatchedVault(vault)

    assert clean(trainer, watched).kept is None
    assert watched.requests < 20


def test_the_time_of_a_run_without_an_end_is_that_of_its_last_word(tmp_path, vault):
    trainer = Trainer(tmp_path)
    pid, started = trainer.dead_pid()
    dead = Trainer(tmp_path, "b1b2c3d4", pid=pid, pid_started=started)
    dead.drop("a.txt")
    assert sync_directory(dead.directory, vault, base_url=None).state == "crashed"
    assert "too short a time ago" in kept(dead, vault, older_than_s=60)
    os.utime(dead.directory.journal, (time.time() - 120,) * 2)

    assert clean(dead, vault, older_than_s=60).kept is None
    assert not Path(dead.directory.path).exists()
