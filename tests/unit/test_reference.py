"""The references are what the docstrings and the command line say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import holdfast

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.render()


@pytest.mark.parametrize("name", ["python.md", "cli.md"])
def test_the_reference_is_what_is_generated_else_call_make_docs(name, generated):
    path = ROOT / "docs" / "reference" / name

    assert path.read_text() == generated[path]


def test_everything_public_is_in_the_reference(generated):
    page = generated[ROOT / "docs" / "reference" / "python.md"]
    named = set(re.findall(r"^## holdfast\.([\w.]+)", page, re.MULTILINE))
    values = {"__version__", "run"}

    whole_names = {name for name in named if "." not in name}
    assert whole_names == set(holdfast.__all__) - values
