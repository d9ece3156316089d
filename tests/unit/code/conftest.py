"""Git as it is on a machine where nobody has configured anything, and a repository with its remote and a clone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.code.repositories import IDENTITY, git, make_repository, publish


@pytest.fixture(autouse=True)
def plain_git(monkeypatch):
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """Made once, since each call of git costs some milliseconds."""
    base = tmp_path_factory.mktemp("template")
    publish(make_repository(base / "origin"), base / "remote.git")
    git(base, "clone", "-q", str(base / "remote.git"), "clone")
    return base


def copied(template: Path, tmp_path: Path, name: str) -> Path:
    place = tmp_path / name
    shutil.copytree(template / name, place, symlinks=True)
    config = place / ("config" if name.endswith(".git") else ".git/config")
    config.write_text(config.read_text().replace(str(template), str(tmp_path)))
    return place


@pytest.fixture
def origin(template, tmp_path) -> Path:
    """A repository whose one commit is on its remote, ``tmp_path/remote.git``."""
    copied(template, tmp_path, "remote.git")
    return copied(template, tmp_path, "origin")


@pytest.fixture
def clone(template, tmp_path, origin) -> Path:
    """A clone of that remote."""
    return copied(template, tmp_path, "clone")
