"""The docs name what exists: links, rooms, errors, exit codes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from holdfast import errors
from holdfast.cli import COMMANDS
from holdfast.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_within_the_repository_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_each_promise_has_its_row_and_its_proof():
    rows = re.findall(
        r"^\| S(\d+) \| .* \| (.*) \|$", (ROOT / "docs" / "promises.md").read_text(), re.MULTILINE
    )
    proofs = {
        int(number): re.findall(r"\]\(\.\./(tests/[\w/]+\.py)#(test_\w+)\)", cell) for number, cell in rows
    }

    assert list(proofs) == list(range(1, 30))
    assert [number for number, found in proofs.items() if not found] == [15]
    for found in proofs.values():
        for path, name in found:
            assert f"\ndef {name}(" in (ROOT / path).read_text(), (path, name)


def test_the_architecture_names_every_room_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text[text.index("| room |") : text.index("## Where to go")]
    named = {name.strip("/").split("/")[-1] for name in re.findall(r"`([a-z_/.]+)`", table)}
    package = ROOT / "src" / "holdfast"
    rooms = {
        path.name for path in package.iterdir() if not path.name.startswith("_") and path.name != "py.typed"
    }

    assert rooms <= named


def test_every_path_in_the_docs_that_looks_like_ours_exists():
    pattern = (
        r"`((?:src|tests|docs|benchmarks|demo)/[\w./-]+|(?:training|sync|content|vault|rundir)/[\w./-]+)`"
    )
    missing = [
        f"{page.name}: {name}"
        for page in PAGES
        for name in re.findall(pattern, page.read_text())
        if not (ROOT / name).exists() and not (ROOT / "src" / "holdfast" / name).exists()
    ]
    assert missing == []


def test_every_error_class_is_in_the_tree_of_its_module_and_has_a_code_of_its_own():
    classes = [
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.HoldfastError)
    ]
    for cls in classes:
        assert cls.__name__ in (errors.__doc__ or ""), cls
    assert len({cls.code for cls in classes}) == len(classes)
    assert errors.error_classes() == {cls.code: cls for cls in classes}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_variable_and_command_that_the_docs_name_exists(page):
    text = page.read_text()
    variables = set(re.findall(r"`(?:export )?(HOLDFAST_[A-Z_]+)\b", text))
    commands = set(re.findall(r"(?:`|^|\n *)holdfast ([a-z]+)\b", text))

    assert variables <= {f"HOLDFAST_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    assert commands <= set(COMMANDS)
