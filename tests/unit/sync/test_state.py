from __future__ import annotations

import itertools

from holdfast.rundir.facts import NotStored, Registered, Saved, SavedFile, Stored, Watched
from holdfast.sync.state import RunState


def saved(save_id, name="a", policy="live", path="/src/a"):
    return Saved(save_id, policy, [SavedFile(name, path, 1, 2, 3, pin=f"{save_id}-0")])


def stored(*saves, name="a", version=1):
    return Stored(name, version, "00", 1, 2, 3, "exact", created=True, saves=list(saves))


def registered(**changes):
    return Registered(
        **{"entity": "me", "project": "p", "run_id": "r", "name": "n", "base_url": None, "resumed": False}
        | changes
    )


def state_of(*facts):
    state = RunState()
    for fact in facts:
        state.take(fact)
    return state


def open_ids(state, name="a"):
    return [save.save_id for save in state.file(name).open]


def test_a_save_is_open_until_a_version_names_it():
    state = state_of(saved("1"), saved("2"), saved("3"), stored("1", "3"))

    assert open_ids(state) == ["2"]
    assert state.file("a").stored.version == 1


def test_taking_a_stored_fact_tells_which_saves_it_fulfilled():
    state = state_of(saved("1"), saved("2"))

    assert [save.file.pin for save in state.take(stored("2"))] == ["2-0"]
    assert state.take(stored("2")) == []


def test_the_two_logs_may_be_mixed_in_any_way_that_keeps_the_order_of_each():
    journal = [saved("1"), saved("2", policy="now"), saved("3")]
    sync_log = [registered(), stored("1"), stored("2", version=2)]
    for places in itertools.combinations(range(6), 3):
        mixed = iter(journal), iter(sync_log)
        order = [next(mixed[place not in places]) for place in range(6)]
        if order.index(sync_log[1]) < order.index(journal[0]) or order.index(sync_log[2]) < order.index(
            journal[1]
        ):
            continue  # a syncer answers only what it has read
        assert open_ids(state_of(*order)) == ["3"]


def test_saving_with_now_does_not_end_a_live_watch():
    state = state_of(saved("1", policy="live"), saved("2", policy="now"))

    assert state.file("a").live
    assert state.file("a").policy == "live"


def test_the_newest_save_of_a_name_says_where_the_file_is():
    state = state_of(saved("1", path="/old/a"), saved("2", path="/new/a"))

    assert state.file("a").path == "/new/a"


def test_saves_of_policy_end_are_open_only_at_the_end():
    file = state_of(saved("1", policy="end"), saved("2", policy="live"), saved("3", policy="now")).file("a")

    assert [save.save_id for save in file.open_later(is_ending=False)] == ["2"]
    assert [save.save_id for save in file.open_later(is_ending=True)] == ["1", "2"]


def test_what_one_vault_has_does_not_count_for_another():
    state = state_of(registered(), saved("1"), stored("1"), registered(base_url="http://elsewhere"))

    assert open_ids(state) == ["1"]
    assert state.file("a").stored is None


def test_registering_with_the_same_vault_again_changes_nothing():
    state = state_of(registered(), saved("1"), stored("1"), registered(name="other"))

    assert open_ids(state) == []
    assert state.file("a").stored is not None


def test_a_name_gets_the_strongest_policy_of_all_patterns_that_mean_it():
    state = state_of(Watched("*.pt", "end"), Watched("model*", "now"), Watched("*/last.pt", "live"))

    assert state.watch_policy("model.pt") == "now"
    assert state.watch_policy("x/last.pt") == "live"
    assert state.watch_policy("other.pt") == "end"
    assert state.watch_policy("other.txt") is None


def test_a_file_that_was_refused_for_good_is_tried_again_by_the_next_syncer():
    state = state_of(saved("1"), NotStored("a", "invalid_name", "bad", retrying=False, saves=["1"]))
    assert state.file("a").refusal is not None

    state.try_again()

    assert state.file("a").refusal is None


def test_a_file_that_was_found_does_not_move_one_that_was_saved():
    state = state_of(saved("1", path="/src/a"))
    state.file("a").adopt("/run/files/a", "live")
    state.file("b").adopt("/run/files/b", "end")

    assert state.file("a").path == "/src/a"
    assert state.file("b").path == "/run/files/b"
    assert state.file("b").end
