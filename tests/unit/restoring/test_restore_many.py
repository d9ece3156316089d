from __future__ import annotations

import random

import pytest

from holdfast.errors import StoredFileNotFoundError, TargetExistsError
from holdfast.restoring.files import select_files
from holdfast.restoring.report import Outcome, RestoreProgress
from tests.helpers import put_files

rng = random.Random(3)


def test_many_small_files_come_in_few_requests(place):
    files = {f"d{i % 7}/e/f{i}": rng.randbytes(2_000) for i in range(3_000)}
    put_files(place.vault, place.run, files)

    report = place.files()

    assert not report.failed
    assert {name: (place.root / name).read_bytes() for name in files} == files
    assert place.vault.requests <= 4


def test_the_same_bytes_under_many_names_come_once(place):
    data = rng.randbytes(2_000_000)
    put_files(place.vault, place.run, {f"copy{i}": data for i in range(10)})

    place.files()

    assert place.vault.bytes_read < 2_100_000
    assert all((place.root / f"copy{i}").read_bytes() == data for i in range(10))


def test_patterns_and_folders_choose_files(place):
    put_files(place.vault, place.run, dict.fromkeys(("a/1.pt", "a/2.txt", "a/b/3.pt", "c.pt"), b"x"))

    def chosen(*patterns):
        return [info.name for info in select_files(place.vault, place.run, patterns)]

    assert chosen() == ["a/1.pt", "a/2.txt", "a/b/3.pt", "c.pt"]
    assert chosen("*.pt") == ["c.pt"]
    assert chosen("**/*.pt") == ["a/1.pt", "a/b/3.pt", "c.pt"]
    assert chosen("a") == chosen("a/") == ["a/1.pt", "a/2.txt", "a/b/3.pt"]
    assert chosen("c.pt", "a/2.txt") == ["a/2.txt", "c.pt"]
    with pytest.raises(StoredFileNotFoundError, match="nothing"):
        chosen("c.pt", "nothing*")


def test_a_target_with_other_content_does_not_keep_the_others_from_being_restored(place):
    put_files(place.vault, place.run, {f"f{i}": b"%d" % i for i in range(5)})
    (place.root / "f2").write_bytes(b"the user's")

    report = place.files()

    [failed] = report.failed
    assert failed.info.name == "f2"
    assert isinstance(failed.error, TargetExistsError)
    assert (place.root / "f2").read_bytes() == b"the user's"
    assert (place.root / "f4").read_bytes() == b"4"


def test_a_name_that_is_both_file_and_folder_fails_for_one_of_them_only(place):
    put_files(place.vault, place.run, {"a": b"file", "a/b": b"inner", "c": b"c"})

    report = place.files()

    assert len(report.failed) == 1
    assert (place.root / "c").read_bytes() == b"c"


def test_progress_and_report_count_what_was_done(place):
    put_files(place.vault, place.run, {"same": b"same", "big": rng.randbytes(2_000_000), "empty": b""})
    (place.root / "same").write_bytes(b"same")
    progress, seen = RestoreProgress(), []

    report = place.files(progress=progress, on_file=seen.append)

    assert (progress.files_done, progress.files_total) == (3, 3)
    assert progress.bytes_done == progress.bytes_total == 2_000_004
    assert {result.info.name: result.outcome for result in seen} == {
        "same": Outcome.UNCHANGED,
        "big": Outcome.RESTORED,
        "empty": Outcome.RESTORED,
    }
    assert 2_000_000 < report.bytes_fetched < 2_010_000
