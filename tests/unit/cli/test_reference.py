"""The reference page names every command, every option and every exit code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest

from holdfast.cli import COMMANDS
from holdfast.errors import error_classes

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text()


def command(name):
    return importlib.import_module(f"holdfast.cli.{name}").command


def test_every_command_is_in_the_reference():
    assert re.findall(r"^\| `holdfast (\w+)", PAGE, re.MULTILINE) == list(COMMANDS)


def test_every_exit_code_of_an_error_is_in_the_reference():
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}

    assert {cls.exit_code for cls in error_classes().values()} <= listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name):
    text = command(name).help

    assert re.search(r"Examples?:\n +holdfast " + name, text)
    assert all(option.help for option in command(name).params if isinstance(option, click.Option))


def test_every_option_but_json_and_show_key_is_in_the_reference():
    options = {text for name in COMMANDS for option in command(name).params for text in option.opts}

    missing = {text for text in options if text.startswith("-") and text not in PAGE}

    assert missing <= {"--show-key"}
