"""The services as fixtures of a whole test session: started by the first test that needs one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.postgres import Postgres, running_postgres
from tests.services.s3 import S3, running_moto, running_radosgw


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres(is_durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[S3]:
    with running_moto() as service:
        yield service


@pytest.fixture(scope="session")
def radosgw() -> Iterator[S3]:
    with running_radosgw() as service:
        yield service
