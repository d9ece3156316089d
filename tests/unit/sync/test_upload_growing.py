from __future__ import annotations

import os
import random

import pytest

from holdfast.content.hashing import content_digest
from holdfast.sync.jobs import Done, NotReady, ReadRule
from holdfast.sync.reader import REWRITTEN, WRITING
from tests.unit.content.samples import event
from tests.unit.sync.vaults import WatchedVault, job, open_run_vault, read_back, uploader_of


@pytest.fixture
def vault(tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir()
    watched = WatchedVault(open_run_vault(folder))
    yield watched
    watched.vault.close()


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "train.log"
    path.write_bytes(b"")
    return path


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def line(size):
    return random.randbytes(size // 2).hex().encode()[: size - 1] + b"\n"


def sync(uploader, path):
    [outcome] = uploader.store([job(path, ReadRule.PREFIX)])
    return outcome


def test_a_log_that_grows_sends_little_more_than_what_is_new(vault, log):
    uploader = uploader_of(vault)
    for _ in range(150):
        append(log, line(10_000))
        assert isinstance(sync(uploader, log), Done)

    new = log.stat().st_size

    assert vault.request_bytes <= 1.1 * new + 150 * 4096
    assert vault.requests <= 2 * 150 + 4
    assert read_back(vault, "train.log") == log.read_bytes()
    assert read_back(vault, "train.log", 100) == log.read_bytes()[: 100 * 10_000]


def test_a_line_that_is_not_finished_waits_for_the_next_version(vault, log):
    uploader = uploader_of(vault)
    append(log, b"one\ntw")
    first = sync(uploader, log)
    append(log, b"o\nthree\n")
    second = sync(uploader, log)

    assert (first.size, second.size, second.version) == (4, 14, 2)
    assert read_back(vault, "train.log") == b"one\ntwo\nthree\n"


def test_a_first_line_that_is_not_finished_is_not_ready(vault, log):
    append(log, b"on")

    outcome = sync(uploader_of(vault), log)

    assert isinstance(outcome, NotReady)
    assert outcome.reason == WRITING


def test_nothing_new_needs_no_request(vault, log):
    uploader = uploader_of(vault)
    append(log, b"one\n")
    sync(uploader, log)
    vault.reset()

    again = sync(uploader, log)

    assert (again.version, again.created, again.digest) == (1, False, content_digest(b"one\n"))
    assert vault.requests == 0


def test_a_new_uploader_goes_on_where_the_last_one_stopped(vault, log):
    for _ in range(100):
        append(log, line(700))
        sync(uploader_of(vault), log)
    vault.reset()
    append(log, line(700))

    done = sync(uploader_of(vault), log)

    assert done.version == 101
    assert vault.pack_bytes < 3_500
    assert read_back(vault, "train.log") == log.read_bytes()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    "rewrite",
    [
        lambda path: path.write_bytes(b"another beginning\n" * 10),
        lambda path: os.truncate(path, 4),
        lambda path: path.rename(path.with_suffix(".1")) and path.write_bytes(b"rotated\n" * 50),
    ],
    ids=["rewritten", "truncated", "rotated"],
)
def test_what_does_not_go_on_from_the_stored_part_is_told_and_not_stored(vault, log, rewrite, restarted):
    uploader = uploader_of(vault)
    append(log, b"first line\nsecond line\n")
    sync(uploader, log)
    rewrite(log)

    outcome = sync(uploader_of(vault) if restarted else uploader, log)

    assert isinstance(outcome, NotReady)
    assert outcome.reason == REWRITTEN


def test_after_a_rewrite_was_stored_whole_the_file_may_grow_on(vault, log):
    uploader = uploader_of(vault)
    append(log, b"first\n")
    sync(uploader, log)
    log.write_bytes(b"other\n")
    assert isinstance(sync(uploader, log), NotReady)
    [whole] = uploader.store([job(log, ReadRule.ANYWAY)])
    append(log, b"more\n")

    done = sync(uploader, log)

    assert (whole.version, done.version) == (2, 3)
    assert read_back(vault, "train.log") == b"other\nmore\n"


def test_a_large_first_part_and_growth_beyond_a_window_come_back(vault, log):
    uploader = uploader_of(vault)
    for size in (20_000_000, 300_000, 17_000_000, 10):
        append(log, line(999) * (size // 999 + 1) + b"begun")
        done = sync(uploader, log)
        assert done.size == log.stat().st_size - 5
        append(log, b"\n")

    assert read_back(vault, "train.log") == log.read_bytes()[:-6]


def test_an_event_file_that_was_first_stored_up_to_within_an_event_goes_on(vault, tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    events = [event(bytes([number]) * 40) for number in range(4)]
    uploader = uploader_of(vault)
    append(path, events[0] + events[1][:20])
    [first] = uploader.store([job(path, ReadRule.ANYWAY)])
    append(path, events[1][20:] + events[2] + events[3][:5])
    second = sync(uploader, path)

    assert isinstance(first, Done)
    assert read_back(vault, path.name, first.version) == (events[0] + events[1])[:76]
    assert read_back(vault, path.name, second.version) == b"".join(events[:3])
