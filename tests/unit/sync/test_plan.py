from __future__ import annotations

import os
import time

import pytest

from holdfast.rundir.facts import Saved, SavedFile, Stored
from holdfast.sync.jobs import ReadRule
from holdfast.sync.plan import Fulfil, Later, Lost, Plan, Planner, Terms
from holdfast.sync.state import RunState
from holdfast.sync.watch import Track, look

NOW = 1000.0


class Desk:
    """One name, its file, its pins, and the decisions about it."""

    def __init__(self, folder):
        self.path = folder / "model.pt"
        self.pins = folder / "pins"
        self.pins.mkdir()
        self.state = RunState()
        self.track = Track()

    def write(self, data, age=60.0):
        self.path.write_bytes(data)
        at = time.time() - age
        os.utime(self.path, (at, at))

    def save(self, save_id, policy="live", pin=None):
        info = self.path.stat()
        if pin == "link":
            os.link(self.path, self.pins / save_id)
        elif pin == "copy":
            (self.pins / save_id).write_bytes(self.path.read_bytes())
        file = SavedFile(
            "model.pt",
            str(self.path),
            info.st_size,
            info.st_mtime_ns,
            info.st_ino,
            save_id if pin else None,
            pin == "copy",
        )
        self.state.take(Saved(save_id, policy, [file]))

    def stored(self, *saves, fidelity="exact", grown=False, **changes):
        seen = look(self.path)
        fields = {"size": seen.size, "mtime_ns": seen.mtime_ns, "ino": seen.ino} | changes
        self.state.take(
            Stored(
                "model.pt", 1, "00", fidelity=fidelity, created=True, saves=list(saves), grown=grown, **fields
            )
        )

    def decide(self, *, now=NOW, **terms):
        terms.setdefault("quiet_s", 1.0)
        return Planner(self.pins).decide(
            self.state.file("model.pt"), self.track, Terms(now=now, wall_now=time.time(), **terms)
        )


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.write(b"state one")
    return desk


def test_a_live_file_that_is_at_rest_is_stored_at_once(desk):
    desk.save("1")

    plan = desk.decide()

    assert (plan.job.rule, plan.job.path, plan.job.saves) == (ReadRule.SETTLED, desk.path, ("1",))


def test_a_file_that_was_just_written_has_to_rest_first(desk):
    desk.write(b"state two", age=0.4)
    desk.save("1")

    later = desk.decide()

    assert isinstance(later, Later)
    assert NOW < later.at <= NOW + 0.61


def test_a_live_file_that_is_stored_as_it_is_needs_nothing(desk):
    desk.save("1")
    desk.stored("1")

    assert desk.decide() is None


def test_saving_an_unchanged_file_again_reads_nothing(desk):
    desk.save("1")
    desk.stored("1")
    desk.save("2")
    assert desk.decide() == Fulfil(("2",))

    desk.save("3", "now")
    assert desk.decide() == Fulfil(("3",))


def test_a_changed_live_file_waits_for_its_turn(desk):
    desk.save("1")
    desk.stored("1")
    desk.write(b"state two!")
    desk.track.next_version = NOW + 7

    assert isinstance(desk.decide(), Later)
    assert isinstance(desk.decide(now=NOW + 7.1), Plan)
    assert isinstance(desk.decide(is_ending=True), Plan)


def test_a_file_of_policy_now_is_not_stored_again_when_it_changes(desk):
    desk.save("1", "now")
    desk.stored("1")
    desk.write(b"state two!")

    assert desk.decide() is None
    assert desk.decide(is_ending=True) is None


def test_a_file_of_policy_end_is_stored_only_at_the_end(desk):
    desk.save("1", "end")

    assert desk.decide() is None
    assert desk.decide(is_ending=True).job.saves == ("1",)


def test_an_end_file_that_changed_after_a_now_save_is_stored_at_the_end(desk):
    desk.save("1", "end")
    desk.save("2", "now")
    desk.stored("2")
    desk.write(b"state two!")

    assert desk.decide() is None
    assert desk.decide(is_ending=True).job.saves == ("1",)


@pytest.mark.parametrize("pin", ["link", "copy"])
def test_a_pinned_now_save_is_read_from_its_pin(desk, pin):
    desk.save("1", "now", pin=pin)

    plan = desk.decide()

    assert (plan.job.rule, plan.job.path) == (ReadRule.PINNED, desk.pins / "1")


def test_a_linked_pin_that_was_rewritten_in_place_has_to_rest_and_is_compared(desk):
    info = desk.path.stat()
    desk.save("1", "now", pin="link")
    desk.write(b"another state")

    plan = desk.decide()

    assert (plan.job.rule, plan.job.path) == (ReadRule.SETTLED, desk.pins / "1")
    assert plan.job.expect == (info.st_size, info.st_mtime_ns)


def test_a_copied_pin_does_not_care_what_became_of_the_file(desk):
    desk.save("1", "now", pin="copy")
    desk.write(b"another state", age=0)

    assert desk.decide().job.rule is ReadRule.PINNED


def test_a_now_save_without_pin_is_read_at_its_path_and_compared(desk):
    info = desk.path.stat()
    desk.save("1", "now")

    plan = desk.decide()

    assert (plan.job.rule, plan.job.path) == (ReadRule.SETTLED, desk.path)
    assert plan.job.expect == (info.st_size, info.st_mtime_ns)


def test_saves_of_policy_now_come_first_and_oldest_first(desk):
    desk.save("1", "live")
    desk.save("2", "now", pin="copy")
    desk.write(b"state two")
    desk.save("3", "now", pin="copy")
    assert desk.decide().job.saves == ("2",)

    desk.stored("2", ino=1)
    assert desk.decide().job.saves == ("3",)

    desk.stored("3", ino=2)
    assert desk.decide().job.saves == ("1",)


def test_a_file_that_is_gone_is_read_from_the_pin_of_its_last_save(desk):
    desk.save("1", "live", pin="link")
    desk.path.unlink()
    desk.write(b"state two")
    desk.save("2", "live", pin="link")
    desk.path.unlink()

    plan = desk.decide()

    assert (plan.job.path, plan.job.rule, plan.job.saves) == (desk.pins / "2", ReadRule.PINNED, ("1", "2"))


def test_a_file_that_is_gone_without_pin_is_lost_unless_it_is_stored(desk):
    desk.save("1", "live")
    seen = look(desk.path)
    desk.path.unlink()
    assert desk.decide() == Lost(("1",))

    desk.state.take(
        Stored("model.pt", 1, "00", seen.size, seen.mtime_ns, seen.ino, "exact", created=True, saves=["1"])
    )
    assert desk.decide() is None


def test_a_lost_save_does_not_keep_the_next_one_from_being_stored(desk):
    desk.save("1", "now")
    desk.save("2", "now", pin="link")
    desk.path.unlink()
    assert desk.decide().job.saves == ("2",)

    desk.state.take(Stored("model.pt", 1, "00", 1, 2, 3, "exact", created=True, saves=["2"]))
    assert desk.decide() == Lost(("1",))


def test_a_log_that_always_grows_is_read_as_it_grows(desk):
    desk.path.write_bytes(b"line\n")
    desk.save("1")
    decisions = []
    for step in range(5):
        decisions.append(desk.decide(now=NOW + step))
        with desk.path.open("ab") as file:
            file.write(b"line\n")

    assert [type(decision) for decision in decisions[:3]] == [Later, Later, Later]
    assert decisions[0].at == NOW + 0.5
    assert decisions[3].job.rule is ReadRule.PREFIX


def test_the_unfinished_last_line_of_a_log_that_rests_is_stored(desk):
    desk.path.write_bytes(b"line\nhalf")
    at = time.time() - 60
    os.utime(desk.path, (at, at))
    desk.save("1")
    desk.track.growth.is_trusted = True
    assert desk.decide().job.rule is ReadRule.PREFIX

    desk.stored("1", grown=True, size=5)
    assert desk.decide().job.rule is ReadRule.SETTLED


def test_a_file_that_was_read_as_it_grew_is_read_in_full_at_the_end(desk):
    desk.save("1")
    desk.stored("1", grown=True)

    assert desk.decide() is None
    assert desk.decide(is_ending=True).job.rule is ReadRule.SETTLED


def test_when_patience_is_used_up_a_file_is_read_as_it_is(desk):
    desk.write(b"state two", age=0)
    desk.save("1")
    assert isinstance(desk.decide(is_ending=True), Later)

    plan = desk.decide(is_ending=True, is_patient=False)

    assert plan.job.rule is ReadRule.ANYWAY
    assert plan.is_last


def test_an_unsettled_version_is_not_taken_for_the_file(desk):
    desk.save("1")
    desk.stored("1", fidelity="unsettled")

    assert isinstance(desk.decide(), Plan)


def test_a_file_watched_with_now_is_stored_once_for_each_inode(desk):
    file = desk.state.file("model.pt")
    file.adopt(str(desk.path), "now")
    assert isinstance(desk.decide(), Plan)

    desk.stored()
    desk.write(b"rewritten in place")
    assert desk.decide() is None

    part = desk.path.with_name("part")
    part.write_bytes(b"replaced")
    os.utime(part, (1, 1))
    part.replace(desk.path)
    assert isinstance(desk.decide(now=NOW + 0.5), Later)
    assert isinstance(desk.decide(now=NOW + 2), Plan)
