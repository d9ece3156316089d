"""The vault under test: one of `PLACES`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.names import RunPath
from holdfast.protocol.vault import Vault
from tests.contract.places import PLACES, Place
from tests.contract.storing import open_run
from tests.services.fixtures import moto, postgres, radosgw
from tests.services.thread_server import thread_server

__all__ = ["moto", "place", "postgres", "radosgw", "run", "thread_server", "vault"]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = request.param(request, tmp_path)
    yield made
    made.close()


@pytest.fixture
def vault(place: Place) -> Iterator[Vault]:
    opened = place.open()
    yield opened
    opened.close()


@pytest.fixture
def run(vault: Vault) -> RunPath:
    return open_run(vault)
