"""Files that were saved with ``keep_local="until_stored"``: they go when they are stored, and never before."""

from __future__ import annotations

import os

import pytest

from holdfast.errors import VaultUnavailableError
from holdfast.names import RunPath
from holdfast.rundir.facts import Removed, Stored
from holdfast.sync import removing
from holdfast.sync.follow import sync_directory
from holdfast.vault import open_vault
from tests.unit.sync.trainer import Trainer
from tests.unit.sync.vaults import WatchedVault, read_back

RUN = RunPath("me", "mnist", "a1b2c3d4")


@pytest.fixture
def vault(tmp_path):
    vault = open_vault(f"sqlite:///{tmp_path / 'catalog.sqlite'}", (tmp_path / "blobs").as_uri(), user="me")
    yield vault
    vault.close()


@pytest.fixture
def trainer(tmp_path):
    return Trainer(tmp_path)


def sync(trainer, vault):
    assert sync_directory(trainer.directory, vault, base_url=None).missing == {}


def leave(trainer, name, data=b"data", policy="live", **options):
    path = trainer.write(name, data)
    trainer.save(name, policy, keep_local="until_stored", **options)
    return path


@pytest.mark.parametrize(
    ("policy", "pin"), [("live", "link"), ("now", "copy"), ("now", "link"), ("end", None)]
)
def test_a_file_goes_once_it_is_stored_and_so_does_the_link_to_it(trainer, vault, policy, pin):
    path = leave(trainer, "ckpt.pt", b"weights", policy, pin=pin)
    os.symlink(path, trainer.directory.files / "ckpt.pt")
    trainer.finish()

    sync(trainer, vault)

    assert not path.exists()
    assert list(trainer.directory.files.iterdir()) == []
    assert [(fact.name, fact.path, fact.size) for fact in trainer.said(Removed)] == [
        ("ckpt.pt", str(path), 7)
    ]
    assert read_back(vault, "ckpt.pt") == b"weights"


def test_a_run_that_goes_on_frees_its_files_one_after_the_other(trainer, vault):
    path = leave(trainer, "ckpt.pt", b"one")
    sync(trainer, vault)
    assert not path.exists()

    leave(trainer, "ckpt.pt", b"two")
    sync(trainer, vault)

    assert not path.exists()
    assert len(vault.list_versions(RUN, "ckpt.pt")) == 2


def test_a_save_that_wants_the_file_to_stay_wins_under_whatever_name_and_path(trainer, vault, tmp_path):
    path = leave(trainer, "ckpt.pt")
    os.symlink(trainer.sources, tmp_path / "alias")
    trainer.save("kept.pt", path=tmp_path / "alias" / "ckpt.pt")
    trainer.finish()

    sync(trainer, vault)

    assert path.read_bytes() == b"data"


def test_a_file_that_has_changed_since_its_now_save_stays(trainer, vault):
    path = leave(trainer, "ckpt.pt", b"as of the call", "now", pin="copy")
    path.write_bytes(b"another state")
    trainer.finish()

    sync(trainer, vault)

    assert path.read_bytes() == b"another state"
    assert read_back(vault, "ckpt.pt") == b"as of the call"


def test_a_file_that_somebody_writes_stays_until_he_lets_go(trainer, vault):
    path = leave(trainer, "ckpt.pt")
    with path.open("ab"):
        sync(trainer, vault)
        assert path.exists()
        assert len(trainer.said(Stored)) == 1
    trainer.finish()

    sync(trainer, vault)

    assert not path.exists()


def test_a_link_of_the_users_own_stays(trainer, vault):
    target = trainer.write("real.pt")
    link = trainer.sources / "latest.pt"
    link.symlink_to(target)
    trainer.save("latest.pt", keep_local="until_stored")
    trainer.finish()

    sync(trainer, vault)

    assert link.is_symlink()
    assert target.exists()


def test_files_of_run_dir_that_a_pattern_names_go_too(trainer, vault):
    trainer.watch("*.pt", keep_local="until_stored")
    gone, stays = trainer.drop("a.pt"), trainer.drop("b.txt")
    trainer.finish()

    sync(trainer, vault)

    assert (gone.exists(), stays.exists()) == (False, True)


def test_what_is_put_in_its_place_in_the_last_moment_is_not_what_goes(trainer, vault, monkeypatch):
    path = leave(trainer, "ckpt.pt", b"old")
    is_free = removing._is_free

    def replaced_meanwhile(looked_at, **options):
        found = is_free(looked_at, **options)
        if looked_at == str(path) and path.read_bytes() == b"old":
            trainer.write("part", b"new").replace(path)
        return found

    monkeypatch.setattr(removing, "_is_free", replaced_meanwhile)
    states = []
    give_back = removing._give_back

    def noted(part, back):
        give_back(part, back)
        states.append(path.read_bytes())

    monkeypatch.setattr(removing, "_give_back", noted)
    trainer.finish()

    sync(trainer, vault)

    assert states == [b"new"]
    assert read_back(vault, "ckpt.pt") in {b"old", b"new"}
    assert path.exists() or read_back(vault, "ckpt.pt") == b"new"


def test_what_a_killed_syncer_was_about_to_remove_is_given_back_first(trainer, vault):
    path = leave(trainer, "ckpt.pt", b"data")
    part = path.with_name(f"ckpt.pt.{trainer.opened.attempt[:8]}.holdfast-part")
    path.rename(part)

    sync(trainer, vault)

    assert not part.exists()
    assert not path.exists()
    assert read_back(vault, "ckpt.pt") == b"data"


def test_nothing_goes_that_the_vault_does_not_take(trainer, vault):
    path = leave(trainer, "ckpt.pt")
    away = WatchedVault(vault)

    def refuse(method):
        if method == "commit":
            raise VaultUnavailableError("The vault is away.")

    away.before = refuse

    assert sync_directory(trainer.directory, away, base_url=None).error is not None
    assert path.exists()
