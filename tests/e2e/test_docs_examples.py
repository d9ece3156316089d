"""Every example of the README and the docs is run, against a real server; those that cannot be say why."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import SCRIPTS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = 4


def examples_of(page):
    spec = importlib.util.spec_from_file_location("runs_page", SCRIPTS / "runs_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.examples(page.read_text())


@pytest.mark.parametrize(
    "page", [page for page in PAGES if examples_of(page)], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_example_of_the_page_runs(machine, page):
    machine.use(machine.server().url)
    machine.env["KERAS_BACKEND"] = "torch"
    command = machine.base / "bin" / "holdfast"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nexec python -m holdfast "$@"\n')
    command.chmod(0o755)
    machine.env["PATH"] = f"{command.parent}:{Path(sys.executable).parent}:{machine.env['PATH']}"

    assert machine.run("runs_page.py", str(page), timeout=110) == 0, machine.output


def test_the_examples_that_are_not_run_are_counted():
    reasons = [
        example.reason for page in PAGES for example in examples_of(page) if example.reason is not None
    ]

    assert len(reasons) == NOT_RUN, reasons
