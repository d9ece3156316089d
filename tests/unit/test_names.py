"""Names of files and runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidNameError
from holdfast.names import RunPath, check_file_name, check_label, new_run_id, to_label


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("model.pt", "model.pt"),
        ("./a//b/./c", "a/b/c"),
        ("ckpt[1].pt", "ckpt[1].pt"),
        ("with space", "with space"),
        ("日本語/übung.txt", "日本語/übung.txt"),
        ("..hidden", "..hidden"),
        ("a" * 255, "a" * 255),
    ],
)
def test_what_a_name_may_be(name, normal):
    assert check_file_name(name) == normal


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "absolute"),
        ("../x", r"'\.\.'"),
        ("a/../../x", r"'\.\.'"),
        ("", "empty"),
        ("././", "empty"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a" * 256, "255 bytes"),
        ("ü" * 128, "255 bytes"),
        ("/".join(["abcdefgh"] * 120), "1024 bytes"),
        ("bad\udce9", "Unicode"),
    ],
)
def test_what_a_name_may_not_be(name, why):
    with pytest.raises(InvalidNameError, match=why):
        check_file_name(name)


@given(st.text(max_size=40))
def test_a_name_that_is_accepted_stays_below_its_root_and_is_stable(name):
    try:
        normal = check_file_name(name)
    except InvalidNameError:
        return
    assert not normal.startswith("/")
    assert ".." not in normal.split("/")
    assert check_file_name(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "me/mnist/abc",
        "/me/mnist/abc",
        "me/mnist/runs/abc",
        "https://host:1/sub/me/mnist/runs/abc/files/x?y=1",
    ],
)
def test_the_ways_to_write_a_run_path(text):
    assert RunPath.parse(text) == RunPath("me", "mnist", "abc")


def test_what_a_run_path_lacks_is_filled_in():
    assert RunPath.parse("abc", entity="me", project="mnist") == RunPath("me", "mnist", "abc")
    assert RunPath.parse("p/abc", entity="me", project="mnist") == RunPath("me", "p", "abc")


@pytest.mark.parametrize("text", ["abc", "a/b", "a/b/c/d", "a//c", "../b/c", "a/b/c d"])
def test_what_is_no_run_path(text):
    with pytest.raises(InvalidNameError):
        RunPath.parse(text)


def test_a_label_from_the_machine_is_always_valid():
    for text in ("domain\\user name", ".hidden", "", "ünï", "x" * 300):
        assert check_label(to_label(text), "entity")


def test_run_ids_are_labels_and_differ():
    assert len({check_label(new_run_id(), "run id") for _ in range(100)}) == 100
