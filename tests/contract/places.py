"""Where the suite's vaults live. To run the suite over one more `Vault`, add a `Place` here and a line to `PLACES`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from holdfast.protocol.vault import Vault
from holdfast.remote import RemoteVault
from holdfast.vault import open_vault, open_vault_at
from holdfast.vault.blobs import Blobs, open_blobs
from holdfast.vault.blobs.memory import MemoryBlobs
from tests.services.postgres import Postgres
from tests.services.s3 import S3
from tests.services.thread_server import ThreadServer


class Place(Protocol):
    """Storage that a vault can be opened on, closed, and opened again."""

    blobs: Blobs
    """The store below the vault, for tests that damage what is in it."""

    def open(self) -> Vault:
        """Open the vault, also while it is open elsewhere."""

    def close(self) -> None:
        """End what `open` needs."""


class MemoryPlace:
    """SQLite and blobs in memory."""

    def __init__(self, folder: Path) -> None:
        self.blobs: Blobs = MemoryBlobs()
        self._url = f"sqlite:///{folder / 'catalog.sqlite'}"

    def open(self) -> Vault:
        return open_vault(self._url, self.blobs, user="me")

    def close(self) -> None:
        pass


class EmbeddedPlace:
    """The embedded vault, as users have it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "vault"
        self.blobs = open_blobs((self._folder / "blobs").as_uri())

    def open(self) -> Vault:
        return open_vault_at(self._folder, user="me", reserve_bytes=0)

    def close(self) -> None:
        pass


class RemotePlace:
    """A server over SQLite and blobs in memory, and the client that speaks to it."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self.blobs: Blobs = MemoryBlobs()
        self._kept = open_vault(f"sqlite:///{folder / 'catalog.sqlite'}", self.blobs, user="me")
        self._server: ThreadServer = request.getfixturevalue("thread_server")
        self._key = self._server.add(self._kept)

    def open(self) -> Vault:
        return RemoteVault(self._server.url, self._key, retry_for_s=10)

    def close(self) -> None:
        self._server.remove(self._key)
        self._kept.close()


class ServicePlace:
    """A catalog and blobs by URL, on services that the session started."""

    def __init__(
        self, catalog_url: str, blobs_url: str, s3: S3 | None = None, server: Postgres | None = None
    ) -> None:
        self._catalog_url = catalog_url
        self._blobs_url = blobs_url
        self._options = s3.options if s3 else None
        self._server = server
        self.blobs = open_blobs(blobs_url, self._options)

    def open(self) -> Vault:
        return open_vault(self._catalog_url, self._blobs_url, blob_options=self._options, user="me")

    def close(self) -> None:
        if self._server:
            self._server.drop(self._catalog_url)


def sqlite_memory(request: pytest.FixtureRequest, folder: Path) -> Place:
    return MemoryPlace(folder)


def sqlite_local(request: pytest.FixtureRequest, folder: Path) -> Place:
    return EmbeddedPlace(folder)


def postgres_local(request: pytest.FixtureRequest, folder: Path) -> Place:
    server = request.getfixturevalue("postgres")
    return ServicePlace(server.new_database(), (folder / "blobs").as_uri(), server=server)


def sqlite_moto(request: pytest.FixtureRequest, folder: Path) -> Place:
    s3 = request.getfixturevalue("moto")
    return ServicePlace(f"sqlite:///{folder / 'catalog.sqlite'}", s3.new_bucket(), s3)


def postgres_radosgw(request: pytest.FixtureRequest, folder: Path) -> Place:
    server, s3 = request.getfixturevalue("postgres"), request.getfixturevalue("radosgw")
    return ServicePlace(server.new_database(), s3.new_bucket(), s3, server)


PLACES = [
    pytest.param(sqlite_memory, id="sqlite-memory"),
    pytest.param(sqlite_local, id="sqlite-local"),
    pytest.param(RemotePlace, id="remote"),
    pytest.param(postgres_local, id="postgres-local", marks=pytest.mark.services),
    pytest.param(sqlite_moto, id="sqlite-moto", marks=pytest.mark.services),
    pytest.param(postgres_radosgw, id="postgres-radosgw", marks=pytest.mark.services),
]
