"""The rule of thinning: what goes, and above all what does not."""

from __future__ import annotations

import pytest

from holdfast.content.splitters import TailSplitter
from holdfast.errors import StoredFileNotFoundError
from holdfast.protocol.messages import Commit, FileRef, PinUpdate, RunUpdate
from holdfast.sync.jobs import Done, Job, Progress, ReadRule
from holdfast.sync.upload import Uploader
from holdfast.vault import open_vault
from holdfast.vault.blobs.memory import MemoryBlobs
from holdfast.vault.thinning import next_look
from tests.contract.storing import Source, fetch, new_id, noise, open_run, spec, store

HOUR = 3600
DATA = noise(200_000)
START = 1_800_000_000.0 // 86_400 * 86_400


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def vault(tmp_path, clock):
    opened = open_vault(f"sqlite:///{tmp_path / 'c.sqlite'}", MemoryBlobs(), user="me", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def run(vault):
    return open_run(vault)


def grow(vault, run, clock, times: int, every_s: float, *, name="a.log", begin=0, **fields) -> None:
    """Store versions of a log, each a kilobyte longer than the one before, at even distances."""
    for step in range(begin + 1, begin + times + 1):
        splitter = "whole1" if step == 1 else "tail1"
        store(vault, run, name, DATA[: step * 1000], **{"splitter": splitter, **fields})
        clock.now += every_s


def kept(vault, run, name: str = "a.log") -> list[int]:
    return [info.version for info in reversed(vault.list_versions(run, name))]


def thin(vault, run, clock, after_s: float = 0) -> None:
    clock.now += after_s
    vault.update_run(run, RunUpdate())


def test_all_versions_of_the_last_hour_stay(vault, run, clock):
    grow(vault, run, clock, 20, 60)

    thin(vault, run, clock)

    assert kept(vault, run) == list(range(1, 21))


def test_after_an_hour_one_an_hour_stays_and_after_a_day_one_a_day(vault, run, clock):
    grow(vault, run, clock, 60, HOUR / 2)  # 0:00, 0:30, 1:00 ... 29:30

    thin(vault, run, clock, -1)  # it is 29:59:59
    assert kept(vault, run) == [*range(14, 59, 2), 59, 60]

    thin(vault, run, clock, 2 * 24 * HOUR)
    assert kept(vault, run) == [48, 60]


def test_what_stays_has_its_bytes_and_what_went_says_how_to_go_on(vault, run, clock):
    grow(vault, run, clock, 10, 60)

    thin(vault, run, clock, 2 * HOUR)

    assert kept(vault, run) == [10]
    assert fetch(vault, run, "a.log") == DATA[:10_000]
    with pytest.raises(StoredFileNotFoundError, match="holdfast versions me/mnist/run1 a"):
        vault.get_files(run, [FileRef(name="a.log", version=3)])


def test_numbers_are_never_given_again(vault, run, clock):
    grow(vault, run, clock, 10, 60)
    thin(vault, run, clock, 2 * HOUR)

    grow(vault, run, clock, 1, 60, begin=10)

    assert kept(vault, run) == [10, 11]


def test_a_pinned_version_stays_until_it_is_unpinned(vault, run, clock):
    grow(vault, run, clock, 10, 60)
    pin = [FileRef(name="a.log", version=4)]
    vault.pin_versions(run, PinUpdate(refs=pin))

    thin(vault, run, clock, 48 * HOUR)
    assert kept(vault, run) == [4, 10]

    vault.pin_versions(run, PinUpdate(refs=pin, pinned=False))
    thin(vault, run, clock, HOUR)
    assert kept(vault, run) == [10]


def test_the_last_version_of_each_start_of_the_run_stays(vault, run, clock):
    grow(vault, run, clock, 5, 60)
    vault.open_run(spec("run1", attempt="attempt-2"))
    grow(vault, run, clock, 5, 60, begin=5, attempt="attempt-2")

    thin(vault, run, clock, 48 * HOUR)

    assert kept(vault, run) == [5, 10]


def test_the_last_version_before_a_file_was_rewritten_stays(vault, run, clock):
    grow(vault, run, clock, 5, 60)
    other = noise(50_000, 7)
    for step in range(20, 25):
        store(vault, run, "a.log", other[: step * 1000], splitter="whole1" if step == 20 else "tail1")

    thin(vault, run, clock, 48 * HOUR)

    assert kept(vault, run) == [5, 10]
    assert fetch(vault, run, "a.log", 5) == DATA[:5000]


def test_a_version_that_only_claims_to_continue_takes_none_away(vault, run, clock):
    for seed in range(5):
        store(vault, run, "a.log", noise(1000 * (seed + 1), seed), splitter="tail1")
        clock.now += 60

    thin(vault, run, clock, 48 * HOUR)

    assert kept(vault, run) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("fields", [{"splitter": "cdc1"}, {"policy": "now"}, {"policy": "end"}])
def test_all_versions_of_other_files_stay(vault, run, clock, fields):
    grow(vault, run, clock, 10, 60, name="model.pt", **fields)
    grow(vault, run, clock, 3, 60)

    thin(vault, run, clock, 48 * HOUR)

    assert kept(vault, run, "model.pt") == list(range(1, 11))
    assert kept(vault, run) == [3]


def test_long_logs_whose_chunks_are_in_segments_are_thinned(vault, run, clock):
    for step in (2000, 2050, 2100):
        upload = vault.begin(run)
        source = Source(upload, DATA[: step * 10], chunk_bytes=10)
        source.put(vault)
        entry = source.entry("a.log", splitter="tail1")
        vault.commit(upload.upload_id, Commit(key=new_id(), entries=[entry]))
        clock.now += 60

    thin(vault, run, clock, 2 * HOUR)

    assert kept(vault, run) == [3]
    assert fetch(vault, run, "a.log") == DATA[:21_000]


def test_a_log_is_thinned_when_another_run_gives_a_sign_of_life(vault, run, clock):
    grow(vault, run, clock, 10, 60)
    other = open_run(vault, "other", "elsewhere")

    thin(vault, other, clock, 2 * HOUR)

    assert kept(vault, run) == [10]


def test_a_deleted_log_is_left_alone(vault, run, clock):
    grow(vault, run, clock, 5, 60)
    vault.delete_files(run, ["a.log"])

    thin(vault, run, clock, 48 * HOUR)
    grow(vault, run, clock, 1, 60, begin=20)

    assert kept(vault, run) == [6]


def test_a_log_that_goes_on_growing_is_looked_at_again_and_again(vault, run, clock):
    for begin in range(0, 120, 10):
        grow(vault, run, clock, 10, 120, begin=begin)
        thin(vault, run, clock)

    assert kept(vault, run) == [30, 60, 90, *range(92, 121)]


def test_a_growing_log_is_known_by_the_splitter_that_the_syncer_uses(clock):
    assert next_look(None, TailSplitter.name, "live", clock.now) == clock.now + HOUR
    assert next_look(None, TailSplitter.name, "end", clock.now) is None


def test_what_the_syncer_stores_of_a_growing_log_is_thinned_and_goes_on(vault, run, clock, tmp_path):
    log = tmp_path / "a.log"
    uploader = Uploader(vault, run, None, progress=Progress())
    for number in range(150):
        with log.open("ab") as file:
            file.write(f"{number} {noise(500, number).hex()}\n".encode())
        [outcome] = uploader.store([Job("a.log", log, ReadRule.PREFIX)])
        assert isinstance(outcome, Done)
        if number % 50 == 49:
            thin(vault, run, clock, 2 * HOUR)

    assert kept(vault, run) == [50, 100, 150]
    again = Uploader(
        vault, run, None, progress=Progress()
    )  # as after a restart, from the manifest that is there
    with log.open("ab") as file:
        file.write(b"more\n")
    [last] = again.store([Job("a.log", log, ReadRule.PREFIX)])

    assert (last.version, fetch(vault, run, "a.log")) == (151, log.read_bytes())
    assert fetch(vault, run, "a.log", 50) == b"".join(log.read_bytes().splitlines(keepends=True)[:50])
