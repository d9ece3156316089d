"""The follower on real directories and a real vault, within this process."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from holdfast.errors import DirectoryBusyError, RunExistsError, VaultUnavailableError
from holdfast.names import RunPath
from holdfast.protocol.messages import RunState
from holdfast.rundir.facts import Described, Ended, NotStored, Refused, Registered, Stored
from holdfast.rundir.lease import acquire_lease
from holdfast.sync import follow as follow_module
from holdfast.sync import work
from holdfast.sync.follow import sync_directory
from holdfast.vault import open_vault
from tests.unit.sync.trainer import InBackground, Trainer, wait_until
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


@pytest.fixture
def follow(trainer, vault):
    """Start a syncer in the background; stop it at the end of the test."""
    stops = []

    def start(**changes):
        stop = threading.Event()
        stops.append(stop)
        options = {"base_url": None, "follow": True, "stop": stop} | changes
        the_vault = options.pop("vault", vault)
        return InBackground(lambda: sync_directory(trainer.directory, the_vault, **options))

    yield start
    for stop in stops:
        stop.set()


def stored(trainer, name):
    return [fact for fact in trainer.said(Stored) if fact.name == name]


def wait_for_version(trainer, name, number=1):
    return wait_until(
        f"{name} had version {number}", lambda: [f for f in stored(trainer, name) if f.version >= number]
    )


def names(vault):
    return {info.name for info in vault.list_files(RUN).files}


def versions(vault, name):
    return [read_back(vault, name, info.version) for info in reversed(vault.list_versions(RUN, name))]


def test_every_policy_and_what_lies_in_the_run_dir_is_stored(trainer, vault, follow):
    trainer.write("live.txt", b"one")
    trainer.save("live.txt")
    trainer.write("now.bin", b"now")
    trainer.save("now.bin", "now", pin="link")
    trainer.write("end.json", b"end")
    trainer.save("end.json", "end")
    trainer.drop("sub/deep/.hidden")
    syncer = follow()
    wait_for_version(trainer, "live.txt")
    wait_for_version(trainer, "now.bin")
    assert names(vault) == {"live.txt", "now.bin"}

    trainer.finish()
    report = syncer.result()

    assert (report.ended, report.missing, report.exit_code, report.stored) == (True, {}, 0, 4)
    assert names(vault) == {"live.txt", "now.bin", "end.json", "sub/deep/.hidden"}
    assert vault.get_run(RUN).state is RunState.FINISHED
    assert list(trainer.directory.pins.iterdir()) == []
    assert not trainer.pending.exists()


def test_a_live_file_is_stored_on_every_change_however_it_is_changed(trainer, vault, follow):
    path = trainer.write("live.txt", b"one")
    trainer.save("live.txt")
    syncer = follow()
    wait_for_version(trainer, "live.txt", 1)
    path.write_bytes(b"rewritten")
    wait_for_version(trainer, "live.txt", 2)
    trainer.write("part", b"renamed over").replace(path)
    wait_for_version(trainer, "live.txt", 3)
    path.unlink()
    time.sleep(0.7)
    path.write_bytes(b"made again")
    wait_for_version(trainer, "live.txt", 4)
    path.write_bytes(b"the last state")
    trainer.finish()

    assert syncer.result().missing == {}
    assert versions(vault, "live.txt") == [
        b"one",
        b"rewritten",
        b"renamed over",
        b"made again",
        b"the last state",
    ]


@pytest.mark.parametrize("pin", ["link", "copy"])
def test_now_saves_of_one_name_are_stored_each_and_in_order(trainer, vault, follow, pin):
    states = [b"state %d" % number for number in range(8)]
    for state in states:
        trainer.write("part", state).replace(trainer.sources / "model.pt")
        trainer.save("model.pt", "now", pin=pin)
    (trainer.sources / "model.pt").unlink()
    syncer = follow()
    trainer.finish()

    assert syncer.result().missing == {}
    assert versions(vault, "model.pt") == states


def test_a_now_save_that_was_rewritten_in_place_is_marked(trainer, vault, follow):
    path = trainer.write("model.pt", b"as of the call")
    trainer.save("model.pt", "now", pin="link")
    path.write_bytes(b"a later state!!")
    syncer = follow()
    trainer.finish()
    syncer.result()

    assert [fact.fidelity for fact in stored(trainer, "model.pt")] == ["later"]


def test_a_deleted_live_file_is_stored_from_its_pin(trainer, vault, follow):
    path = trainer.write("live.txt", b"one")
    trainer.save("live.txt", pin="link")
    path.unlink()
    syncer = follow()
    wait_for_version(trainer, "live.txt")
    trainer.finish()

    assert syncer.result().missing == {}
    assert versions(vault, "live.txt") == [b"one"]


def test_a_file_that_is_gone_with_its_pin_is_named_as_missing_and_keeps_the_directory_pending(
    trainer, follow
):
    path = trainer.write("gone.txt")
    trainer.save("gone.txt")
    path.unlink()
    trainer.drop("there.txt")
    syncer = follow()
    trainer.finish()
    report = syncer.result()

    assert list(report.missing) == ["gone.txt"]
    assert report.exit_code == 9
    assert trainer.said(Ended)[-1].missing == report.missing
    assert "deleted" in report.missing["gone.txt"]
    assert not trainer.said(NotStored)[-1].retrying
    assert trainer.pending.exists()


def test_files_that_match_a_watched_pattern_are_live_also_those_made_later(trainer, vault, follow):
    trainer.watch("ckpt*")
    syncer = follow()
    wait_until("the run was open", lambda: trainer.said(Registered))
    trainer.drop("ckpt-1", b"one")
    trainer.drop("other", b"other")
    wait_for_version(trainer, "ckpt-1")
    trainer.drop("ckpt-1", b"one, changed")
    wait_for_version(trainer, "ckpt-1", 2)
    assert names(vault) == {"ckpt-1"}

    trainer.finish()
    syncer.result()

    assert names(vault) == {"ckpt-1", "other"}


def test_links_that_save_made_in_the_run_dir_are_no_files_of_their_own(trainer, vault, follow):
    source = trainer.write("elsewhere/model.pt", b"linked")
    (trainer.directory.files / "model.pt").symlink_to(source)
    trainer.save("model.pt", "now", path=source)
    trainer.watch("*.pt")
    syncer = follow()
    wait_for_version(trainer, "model.pt")
    source.write_bytes(b"changed later: of no interest to policy now")
    time.sleep(1)
    trainer.finish()
    syncer.result()

    assert versions(vault, "model.pt") == [b"linked"]


def test_links_that_the_user_made_in_the_run_dir_are_stored_as_files(trainer, vault, follow):
    (trainer.directory.files / "own").symlink_to(trainer.write("data", b"behind a link"))
    (trainer.directory.files / "dangling").symlink_to("/nothing/there")
    trainer.finish()

    assert follow().result().missing == {}
    assert names(vault) == {"own"}
    assert versions(vault, "own") == [b"behind a link"]


def test_restored_files_are_left_out_until_they_change(trainer, vault, follow):
    trainer.watch("*.pt")
    trainer.restore("same.pt", b"restored")
    trainer.restore("same.txt", b"restored too")
    trainer.restore("changed.pt", b"restored")
    syncer = follow()
    wait_until("the run was open", lambda: trainer.said(Registered))
    trainer.drop("changed.pt", b"CHANGED!")
    wait_for_version(trainer, "changed.pt")
    trainer.finish()
    syncer.result()

    assert names(vault) == {"changed.pt"}


def test_a_name_that_cannot_be_stored_is_reported_and_spoils_nothing_else(trainer, vault, follow):
    os.mkdir(os.fsencode(trainer.directory.files) + b"/\xff\xfe")
    with open(os.fsencode(trainer.directory.files) + b"/\xff\xfe/file", "wb") as file:
        file.write(b"data")
    trainer.drop("new\nline")
    trainer.drop("good")
    trainer.finish()
    report = follow().result()

    assert names(vault) == {"good"}
    assert len(report.missing) == 2
    assert {fact.code for fact in trainer.said(NotStored)} == {"invalid_name"}


def test_a_log_that_grows_all_the_time_is_stored_while_it_grows_and_in_full_at_the_end(
    trainer, vault, follow
):
    path = trainer.write("train.log", b"")
    trainer.save("train.log")
    syncer = follow()
    stop = threading.Event()

    def write_lines():
        with path.open("ab", buffering=0) as file:
            for number in range(100_000):
                if stop.wait(0.02):
                    file.write(b"an unfinished last line")
                    return
                file.write(b"line %d\n" % number)

    writer = InBackground(write_lines)
    try:
        wait_for_version(trainer, "train.log", 3)
    finally:
        stop.set()
    writer.result()
    trainer.finish()
    syncer.result()

    whole = path.read_bytes()
    *early, last = versions(vault, "train.log")
    assert last == whole
    assert all(whole.startswith(data) and data.endswith(b"\n") for data in early)
    assert not stored(trainer, "train.log")[-1].grown


def test_a_file_that_never_rests_is_read_as_it_is_when_patience_is_over(trainer, vault, follow, monkeypatch):
    monkeypatch.setattr(work, "PATIENCE_S", 1.0)
    path = trainer.write("busy", b"0")
    trainer.save("busy")
    stop = threading.Event()

    def rewrite():
        number = 0
        while not stop.wait(0.01):
            number += 1
            path.write_bytes(b"%d" % number)

    writer = InBackground(rewrite)
    try:
        trainer.finish()
        assert follow().result().missing == {}
    finally:
        stop.set()
    writer.result()

    assert stored(trainer, "busy")[-1].fidelity == "unsettled"


@pytest.mark.parametrize(
    ("exit_code", "state"), [(0, RunState.FINISHED), (3, RunState.FAILED), (None, RunState.CRASHED)]
)
def test_the_vault_is_told_how_the_run_ended(tmp_path, vault, exit_code, state):
    trainer = Trainer(tmp_path)
    pid, started = trainer.dead_pid()
    trainer = Trainer(tmp_path, pid=pid, pid_started=started)
    if exit_code is not None:
        trainer.finish(exit_code)

    report = sync_directory(trainer.directory, vault, base_url=None, follow=True)

    assert report.state == str(state)
    assert (vault.get_run(RUN).state, vault.get_run(RUN).exit_code) == (state, exit_code)


def test_the_end_of_the_training_process_ends_the_run_and_stores_everything(tmp_path, vault):
    pid, started = Trainer(tmp_path).dead_pid()
    trainer = Trainer(tmp_path, pid=pid, pid_started=started)
    trainer.write("end.txt")
    trainer.save("end.txt", "end")
    trainer.drop("dropped")

    report = sync_directory(trainer.directory, vault, base_url=None, follow=True)

    assert report.missing == {}
    assert names(vault) == {"end.txt", "dropped"}


def test_ten_syncs_make_one_run_and_send_nothing_twice(trainer, vault):
    trainer.write("a", b"a" * 1000)
    trainer.save("a", "now", pin="copy")
    trainer.write("b", b"b" * 1000)
    trainer.save("b")
    trainer.drop("c", b"c" * 1000)
    trainer.finish()
    watched = WatchedVault(vault)
    sync_directory(trainer.directory, watched, base_url=None)
    sent, calls = watched.pack_bytes, watched.requests
    facts = trainer.said()

    for _ in range(9):
        assert sync_directory(trainer.directory, watched, base_url=None).ended

    assert sent > 0
    assert (watched.pack_bytes, watched.requests) == (sent, calls)
    assert trainer.said() == facts
    assert [run.run_id for run in vault.list_runs("me", "mnist").runs] == ["a1b2c3d4"]


def test_a_sync_of_a_finished_directory_stores_what_changed_since(trainer, vault):
    trainer.drop("a", b"one")
    trainer.finish()
    sync_directory(trainer.directory, vault, base_url=None)
    trainer.drop("a", b"two!")
    trainer.drop("b", b"new")

    report = sync_directory(trainer.directory, vault, base_url=None)

    assert report.stored == 2
    assert versions(vault, "a") == [b"one", b"two!"]
    assert names(vault) == {"a", "b"}


def test_a_sync_that_lost_its_log_sends_nothing_again_and_makes_no_version(trainer, vault):
    for number in range(3):
        trainer.write("a", b"state %d" % number)
        trainer.save("a", "now", pin="copy")
    trainer.drop("b", b"b" * 1000)
    trainer.finish()
    watched = WatchedVault(vault)
    sync_directory(trainer.directory, watched, base_url=None)
    sent = watched.pack_bytes
    trainer.directory.sync_log.unlink()

    sync_directory(trainer.directory, watched, base_url=None)

    assert watched.pack_bytes == sent
    assert len(versions(vault, "b")) == 1


def test_one_pass_over_a_run_that_goes_on_stores_what_is_live_and_comes_back(trainer, vault):
    trainer.write("live.txt")
    trainer.save("live.txt")
    trainer.write("end.txt")
    trainer.save("end.txt", "end")
    trainer.drop("dropped")

    report = sync_directory(trainer.directory, vault, base_url=None)

    assert (report.ended, report.state) == (False, "running")
    assert names(vault) == {"live.txt"}
    assert vault.get_run(RUN).state is RunState.RUNNING


def test_the_directory_of_another_machine_is_stored_in_full_by_one_pass(tmp_path, vault):
    trainer = Trainer(tmp_path, host="elsewhere")
    trainer.drop("dropped")

    assert sync_directory(trainer.directory, vault, base_url=None).ended
    assert names(vault) == {"dropped"}


def test_following_the_run_of_another_machine_waits_for_what_its_journal_says(tmp_path, vault):
    trainer = Trainer(tmp_path, host="elsewhere", pid=1, pid_started=1.0)
    syncer = InBackground(lambda: sync_directory(trainer.directory, vault, base_url=None, follow=True))
    time.sleep(1.5)
    assert syncer.is_alive()

    trainer.finish()

    assert syncer.result().ended


def test_a_directory_that_another_syncer_follows_is_left_alone(trainer, vault):
    with acquire_lease(trainer.directory), pytest.raises(DirectoryBusyError):
        sync_directory(trainer.directory, vault, base_url=None)


def test_a_syncer_whose_lease_was_taken_stops_and_commits_nothing_more(trainer, vault, follow):
    syncer = follow()
    wait_until("the run was open", lambda: trainer.said(Registered))
    (trainer.directory.path / "syncer.lease.99").touch()
    trainer.write("late.txt")
    trainer.save("late.txt", "now", pin="copy")

    with pytest.raises(DirectoryBusyError):
        syncer.result()
    assert names(vault) == set()


def test_a_vault_that_is_away_is_waited_for_and_the_trouble_is_shown(trainer, vault, follow):
    class Away(WatchedVault):
        is_away = True

        def __getattr__(self, name):
            if self.is_away:
                raise VaultUnavailableError("The vault is away.")
            return super().__getattr__(name)

    trainer.write("a", b"kept")
    trainer.save("a", "now", pin="copy")
    away = Away(vault)
    syncer = follow(vault=away)
    wait_until(
        "trouble",
        lambda: (
            trainer.directory.progress.exists()
            and json.loads(trainer.directory.progress.read_text())["trouble"]
        ),
    )
    trainer.finish()
    time.sleep(1)
    assert syncer.is_alive()
    away.is_away = False

    assert syncer.result().missing == {}
    assert json.loads(trainer.directory.progress.read_text())["trouble"] is None


def test_long_after_the_end_of_the_run_it_gives_up_and_leaves_the_directory_pending(
    trainer, vault, follow, monkeypatch
):
    class Away(WatchedVault):
        def __getattr__(self, name):
            raise VaultUnavailableError("The vault is away.")

    monkeypatch.setattr(follow_module, "GIVE_UP_S", 1.0)
    trainer.drop("a")
    trainer.finish()

    report = follow(vault=Away(vault)).result()

    assert isinstance(report.error, VaultUnavailableError)
    assert trainer.said(Ended) == []
    assert trainer.pending.exists()


def test_one_pass_comes_back_when_the_vault_is_away_and_loses_nothing(trainer, vault):
    trainer.drop("a")
    trainer.finish()
    watched = WatchedVault(vault)
    watched.fail_at = 3

    report = sync_directory(trainer.directory, watched, base_url=None)

    assert isinstance(report.error, VaultUnavailableError)
    assert report.exit_code == 7
    assert not report.ended
    assert trainer.pending.exists()
    assert sync_directory(trainer.directory, watched, base_url=None).ended


def test_a_run_that_may_not_be_joined_is_refused(tmp_path, vault):
    sync_directory(Trainer(tmp_path).directory, vault, base_url=None)
    trainer = Trainer(tmp_path, resume="never")

    report = sync_directory(trainer.directory, vault, base_url=None, follow=True)

    assert isinstance(report.error, RunExistsError)
    assert trainer.said(Refused)[-1].code == "run_exists"


def test_a_second_directory_of_a_run_is_a_resumption(tmp_path, vault):
    first, second = Trainer(tmp_path), Trainer(tmp_path)
    sync_directory(first.directory, vault, base_url=None)
    sync_directory(second.directory, vault, base_url=None)

    assert not first.said(Registered)[0].resumed
    assert second.said(Registered)[0].resumed


def test_config_summary_and_step_reach_the_vault(trainer, vault, follow):
    trainer.drop("config.yaml", b"lr: 0.1\n")
    syncer = follow()
    wait_until("config", lambda: trainer.said(Registered) and vault.get_run(RUN).config == {"lr": 0.1})
    trainer.drop("summary.json", b'{"loss": 0.5}')
    trainer.drop("history.jsonl", b'{"_step": 3}\n{"_step": 4}\n{"_st')
    trainer.drop("config.yaml", b"lr: 0.2\n")
    wait_until("summary", lambda: vault.get_run(RUN).summary == {"loss": 0.5})
    trainer.finish()
    syncer.result()

    assert (vault.get_run(RUN).config, vault.get_run(RUN).step) == ({"lr": 0.2}, 4)


def test_what_the_user_says_of_the_run_reaches_the_vault_while_it_runs_and_at_its_end(trainer, vault, follow):
    syncer = follow()
    trainer.say(Described(name="one", tags=["a"]))
    wait_until("name", lambda: trainer.said(Registered) and vault.get_run(RUN).name == "one")
    trainer.say(Described(name="two", tags=["a", "b"], notes="n"))
    trainer.finish()
    syncer.result()

    info = vault.get_run(RUN)
    assert (info.name, info.notes, info.tags) == ("two", "n", ["a", "b"])


class SlowForBigPacks(WatchedVault):
    """A vault that takes big packs only when it is let."""

    def __init__(self, vault):
        super().__init__(vault)
        self.gate = threading.Event()

    def put_pack(self, upload_id, pack_id, body):
        if sum(len(piece) for piece in body) > 1 << 20:
            self.gate.wait(20)
        return self.vault.put_pack(upload_id, pack_id, body)


def test_small_files_do_not_wait_for_a_big_one(trainer, vault, follow):
    slow = SlowForBigPacks(vault)
    trainer.write("big.bin", os.urandom(40 << 20))
    trainer.save("big.bin", "now", pin="link")
    syncer = follow(vault=slow)
    time.sleep(1)
    trainer.write("small")
    trainer.save("small", "now", pin="link")
    try:
        wait_for_version(trainer, "small")
        assert stored(trainer, "big.bin") == []
    finally:
        slow.gate.set()
    trainer.finish()

    assert syncer.result(60).missing == {}


def test_a_sync_log_that_cannot_be_written_does_not_stop_the_sync_and_is_written_later(
    trainer, vault, follow
):
    trainer.directory.sync_log.symlink_to(trainer.home / "nowhere" / "sync.jsonl")
    trainer.write("a", b"stored all the same")
    trainer.save("a", "now", pin="copy")
    syncer = follow()
    wait_until("a was stored", lambda: vault.list_runs("me", "mnist").runs and names(vault) == {"a"})
    assert len(list(trainer.directory.pins.iterdir())) == 1, "who finds no such fact in the log needs the pin"
    (trainer.home / "nowhere").mkdir()
    trainer.finish()

    assert syncer.result().missing == {}
    assert list(trainer.directory.pins.iterdir()) == []
    assert [type(fact).__name__ for fact in trainer.said()] == [
        "SyncerStarted",
        "Registered",
        "Stored",
        "Ended",
    ]


def test_when_asked_to_stop_it_comes_back_soon_and_the_next_one_goes_on(trainer, vault, follow):
    stop = threading.Event()
    syncer = follow(stop=stop)
    wait_until("the run was open", lambda: trainer.said(Registered))
    stop.set()
    assert not syncer.result(3).ended
    trainer.drop("a")
    trainer.finish()

    assert follow().result().ended
    assert trainer.pending.exists() is False


def test_the_totals_of_the_progress_are_what_was_stored(trainer, vault, follow):
    for number in range(20):
        trainer.write(f"f{number}", b"x" * 100)
        trainer.save(f"f{number}")
    trainer.drop("dropped", b"y" * 50)
    trainer.finish()
    follow().result()

    state = json.loads(trainer.directory.progress.read_text())
    assert (state["files_total"], state["files_done"]) == (21, 21)
    assert state["bytes_total"] == state["bytes_done"] == 2050


def test_what_the_run_ignores_is_not_stored_however_it_came_into_the_run_dir(tmp_path, vault):
    trainer = Trainer(tmp_path, ignore_globs=["*.tmp", "config.yaml"])
    trainer.watch("**")
    for name in ("a.txt", "a.tmp", "sub/b.tmp", "config.yaml"):
        trainer.drop(name)
    trainer.finish()

    report = sync_directory(trainer.directory, vault, base_url=None)

    assert names(vault) == {"a.txt"}
    assert report.ignored == {"a.tmp": "*.tmp", "sub/b.tmp": "*.tmp", "config.yaml": "config.yaml"}
    assert (report.missing, report.ended) == ({}, True)


def test_globs_of_where_it_is_synced_hold_for_saved_files_too_and_a_sync_without_them_stores_these(
    tmp_path, vault
):
    trainer = Trainer(tmp_path, ignore_globs=["*.patch"])
    for name in ("a.txt", "a.tmp"):
        trainer.write(name)
        trainer.save(name, "now", pin="link")
    trainer.drop("diff.patch")
    trainer.finish()

    report = sync_directory(trainer.directory, vault, base_url=None, ignore_globs=["*.tmp"])
    assert names(vault) == {"a.txt"}
    assert report.ignored == {"a.tmp": "*.tmp", "diff.patch": "*.patch"}
    assert report.missing == {}

    sync_directory(trainer.directory, vault, base_url=None)
    assert names(vault) == {"a.txt", "a.tmp"}
