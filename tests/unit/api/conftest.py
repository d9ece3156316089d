"""An `Api` on the embedded vault of a temporary home, and a run in it."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.vault import open_vault_at
from tests.helpers import open_run


@pytest.fixture
def api(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with holdfast.Api({"home": tmp_path / "home"}, entity="me", project="mnist") as made:
        yield made


@pytest.fixture
def vault(api, tmp_path):
    opened = open_vault_at(tmp_path / "home" / "vault", user="me", reserve_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def path(vault):
    return open_run(vault, run_id="run1")


@pytest.fixture
def run(api, path):
    return api.run("run1")
