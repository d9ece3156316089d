"""What every `Vault` does with versions: as of a time, pinned, thinned."""

from __future__ import annotations

import time

import pytest

from holdfast.errors import StoredFileNotFoundError
from holdfast.protocol.messages import FileRef, PinUpdate
from tests.contract.storing import fetch, noise, open_run, spec, store

A = FileRef(name="a")


def test_a_file_as_of_a_time_is_the_version_that_was_the_newest_then(vault, run):
    times = []
    for seed in (1, 2, 3):
        store(vault, run, "a", noise(100, seed))
        times.append(time.time())
        time.sleep(0.01)

    found = vault.get_files(run, [FileRef(name="a", at=at) for at in times])

    assert [info.version for info in found] == [1, 2, 3]
    assert fetch(vault, run, "a", found[1].version) == noise(100, 2)


def test_a_file_has_no_state_of_before_its_first_version(vault, run):
    store(vault, run, "a", b"1")

    with pytest.raises(StoredFileNotFoundError, match="as of 2001-09-09 01:46:40 UTC"):
        vault.get_files(run, [FileRef(name="a", at=1e9)])


def test_what_an_older_attempt_brings_late_was_not_the_newest(vault, run):
    vault.open_run(spec("run1", attempt="attempt-2"))
    store(vault, run, "a", b"new", attempt="attempt-2")
    store(vault, run, "a", b"late", attempt="attempt-1")

    [found] = vault.get_files(run, [FileRef(name="a", at=time.time() + 1)])

    assert (found.version, found.attempt) == (1, 2)
    assert [info.attempt for info in vault.list_versions(run, "a")] == [1, 2]


def test_versions_are_pinned_and_unpinned(vault, run):
    store(vault, run, "a", b"1")
    store(vault, run, "a", b"2")

    old = FileRef(name="a", version=1)
    [pinned] = vault.pin_versions(run, PinUpdate(refs=[old]))

    assert (pinned.version, pinned.pinned) == (1, True)
    assert [info.pinned for info in vault.list_versions(run, "a")] == [False, True]
    vault.pin_versions(run, PinUpdate(refs=[old, A], pinned=False))
    assert [info.pinned for info in vault.list_versions(run, "a")] == [False, False]


def test_pinning_a_version_that_is_not_there_pins_none(vault, run):
    store(vault, run, "a", b"1")

    with pytest.raises(StoredFileNotFoundError):
        vault.pin_versions(run, PinUpdate(refs=[A, FileRef(name="a", version=2)]))

    assert not vault.get_files(run, [A])[0].pinned


def test_a_run_says_who_made_it(vault):
    assert vault.get_run(open_run(vault)).user == "me"
