from __future__ import annotations

import os
import time

import pytest

from holdfast.errors import LocalFileError, StoredFileNotFoundError
from holdfast.protocol.messages import Fidelity
from holdfast.sync.jobs import Failed, NotReady, ReadRule
from holdfast.sync.reader import NOT_WHOLE, REWRITTEN, WRITING, Reader, Reading
from tests.unit.sync.vaults import LONG_AGO, job, open_files, settled


def read_whole(reading: Reading) -> bytes:
    data = memoryview(bytearray(reading.size))
    return bytes(data[: reading.fill(data, 0)])


def test_a_settled_file_is_read_whole_and_accepted(tmp_path):
    path = settled(tmp_path / "a", b"abc")

    with Reader().open(job(path)) as reading:
        data = read_whole(reading)

        assert (data, reading.verdict(), reading.fidelity) == (b"abc", None, Fidelity.EXACT)


def test_a_file_written_within_the_quiet_time_is_not_ready(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")

    outcome = Reader().open(job(path, quiet_s=30))

    assert isinstance(outcome, NotReady)
    assert outcome.reason == WRITING


def test_a_hard_link_made_just_now_does_not_disturb_the_quiet(tmp_path):
    path = settled(tmp_path / "a", b"abc")
    os.link(path, tmp_path / "pin")

    with Reader().open(job(path, quiet_s=30)) as reading:
        read_whole(reading)
        (tmp_path / "pin").unlink()

        assert reading.verdict() is None


def test_a_file_from_the_future_is_quiet_once_it_was_seen_unchanged_for_so_long(tmp_path):
    path = settled(tmp_path / "a", b"abc")
    os.utime(path, (time.time() + 9999,) * 2)
    reader = Reader()
    first = reader.open(job(path, quiet_s=0.05))
    time.sleep(0.06)

    second = reader.open(job(path, quiet_s=0.05))

    assert isinstance(first, NotReady)
    assert isinstance(second, Reading)
    second.__exit__(None, None, None)


@pytest.mark.parametrize("rule", [ReadRule.SETTLED, ReadRule.PINNED])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, rule):
    path = settled(tmp_path / "a", b"abc")

    with Reader().open(job(path, rule)) as reading:
        read_whole(reading)
        path.write_bytes(b"xyz")

        assert reading.verdict() == WRITING


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    path = settled(tmp_path / "a", b"abcdef")

    with Reader().open(job(path)) as reading:
        os.truncate(path, 2)
        data = read_whole(reading)

        assert (data, reading.size, reading.verdict()) == (b"ab", 2, WRITING)


def test_a_change_hidden_by_a_forged_mtime_shows_in_ctime(tmp_path):
    path = settled(tmp_path / "a", b"abc")

    with Reader().open(job(path)) as reading:
        read_whole(reading)
        settled(path, b"xyz")

        assert reading.verdict() == WRITING


def test_a_file_written_within_a_clock_tick_of_the_reading_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")

    with Reader().open(job(path)) as reading:
        read_whole(reading)

        assert reading.verdict() == WRITING


def test_anyway_stores_what_does_not_settle_and_says_so(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")

    with Reader().open(job(path, ReadRule.ANYWAY, quiet_s=30)) as reading:
        read_whole(reading)

        assert (reading.verdict(), reading.fidelity) == (None, Fidelity.UNSETTLED)


def test_anyway_leaves_a_settled_file_exact(tmp_path):
    path = settled(tmp_path / "a", b"abc")

    with Reader().open(job(path, ReadRule.ANYWAY)) as reading:
        read_whole(reading)

        assert (reading.verdict(), reading.fidelity) == (None, Fidelity.EXACT)


def test_a_file_cut_by_its_own_format_is_not_whole(tmp_path):
    path = settled(tmp_path / "a.parquet", b"PAR1" + bytes(100))

    with Reader().open(job(path)) as settled_reading, Reader().open(job(path, ReadRule.PINNED)) as pinned:
        assert settled_reading.end_verdict(settled_reading.read_at) == NOT_WHOLE
        assert pinned.end_verdict(pinned.read_at) is None


def test_a_pin_that_matches_its_save_is_exact_at_once(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    info = path.stat()

    with Reader().open(job(path, ReadRule.PINNED, expect=(3, info.st_mtime_ns), quiet_s=30)) as reading:
        read_whole(reading)

        assert (reading.verdict(), reading.fidelity) == (None, Fidelity.EXACT)


def test_a_pin_rewritten_since_its_save_is_read_as_a_settled_file_and_marked_later(tmp_path):
    path = settled(tmp_path / "a", b"rewritten")
    expect = (3, LONG_AGO * 10**9)

    with Reader().open(job(path, ReadRule.PINNED, expect=expect)) as reading:
        assert (reading.rule, reading.fidelity) == (ReadRule.SETTLED, Fidelity.LATER)
    assert isinstance(Reader().open(job(path, ReadRule.PINNED, expect=expect, quiet_s=1e9)), NotReady)


def test_growing_during_the_reading_is_fine_for_a_prefix_and_shrinking_is_not(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\n")

    with Reader().open(job(path, ReadRule.PREFIX)) as reading:
        with path.open("ab") as log:
            log.write(b"two\n")
        assert (read_whole(reading), reading.verdict()) == (b"one\n", None)
        os.truncate(path, 1)
        assert reading.verdict() == REWRITTEN


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(settled(tmp_path / "a", b"abc"))

    with Reader().open(job(tmp_path / "link")) as reading:
        assert read_whole(reading) == b"abc"


def test_what_is_gone_is_told_apart_from_what_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = open_files()

    outcomes = {name: Reader().open(job(tmp_path / name)) for name in ("gone", "fifo", "loop", ".")}

    assert all(isinstance(outcome, Failed) for outcome in outcomes.values())
    assert isinstance(outcomes.pop("gone").error, StoredFileNotFoundError)
    assert {type(outcome.error) for outcome in outcomes.values()} == {LocalFileError}
    assert open_files() == before
