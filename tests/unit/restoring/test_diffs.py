"""Differences between two stored files."""

from __future__ import annotations

import difflib
import random

import pytest

from holdfast.content.hashing import content_digest
from holdfast.protocol.messages import FileInfo
from holdfast.restoring import diffs
from holdfast.restoring.diffs import compare


def differ(old: bytes, new: bytes):
    contents = {"old": old, "new": new}
    infos = [
        FileInfo(
            name=name, version=1, size=len(data), digest=content_digest(data), mode=0o644, mtime_ns=0,
            created_at=0.0, fidelity="exact", policy="live", splitter="whole1",
        )
        for name, data in contents.items()
    ]  # fmt: skip
    return compare(*infos, lambda info: contents[info.name], labels=("old", "new"))


def test_equal_files_are_the_same():
    assert differ(b"a\n", b"a\n").is_same


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfe"])
def test_binary_files_are_told_as_such(data):
    found = differ(data, b"text")

    assert (found.is_same, found.text, found.reason) == (False, "", "binary")


def test_what_is_too_large_is_not_compared(monkeypatch):
    monkeypatch.setattr(diffs, "TEXT_MAX_BYTES", 10)

    assert differ(b"a" * 11, b"b").reason.startswith("larger")


def test_too_many_different_lines_are_not_compared():
    one, other = (b"".join(b"%s%d\n" % (mark, at) for at in range(30_000)) for mark in (b"a", b"b"))

    assert differ(one, other).reason.startswith("different in more than 20,000")


def test_a_log_that_grew_is_compared_whatever_its_length():
    old = b"".join(b"%d\n" % at for at in range(200_000))

    found = differ(old, old + b"more\n")

    assert found.text.splitlines()[2:] == [
        "@@ -199998,3 +199998,4 @@",
        " 199997",
        " 199998",
        " 199999",
        "+more",
    ]


def test_a_missing_newline_at_the_end_is_told():
    assert differ(b"a", b"a\n").text.splitlines()[2:] == [
        "@@ -1 +1 @@",
        "-a",
        "\\ No newline at end of file",
        "+a",
    ]


@pytest.mark.parametrize("seed", range(30))
def test_the_difference_is_that_of_the_whole_files(seed):
    random_ = random.Random(seed)
    old = [f"{random_.randrange(5)}\n" for _ in range(random_.randrange(40))]
    new = list(old)
    for _ in range(random_.randrange(4)):
        at = random_.randrange(len(new) + 1)
        new[at : at + random_.randrange(3)] = [
            f"{random_.randrange(5)}\n" for _ in range(random_.randrange(3))
        ]

    found = differ("".join(old).encode(), "".join(new).encode())

    applied = restored(old, found.text) if found.text else old
    assert applied == new


def restored(old: list[str], text: str) -> list[str]:
    """Apply a unified difference, checking what it says of the old lines."""
    new, at = [], 0
    for line in text.splitlines(keepends=True)[2:]:
        if line.startswith("@@"):
            start, _, length = line.split()[1][1:].partition(",")
            begin = int(start) - (length != "0")
            new += old[at:begin]
            at = begin
        elif line[0] == "+":
            new.append(line[1:])
        else:
            assert old[at] == line[1:]
            new += [line[1:]] if line[0] == " " else []
            at += 1
    return new + old[at:]


def test_the_form_is_that_of_other_tools():
    old, new = ["a\n", "b\n", "c\n"], ["a\n", "x\n", "c\n"]

    expected = "".join(difflib.unified_diff(old, new, "old", "new"))

    assert differ("".join(old).encode(), "".join(new).encode()).text == expected
