"""A real vault on a temporary folder, and a run in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.names import RunPath
from holdfast.protocol.messages import FileRef
from holdfast.restoring.files import restore_file, restore_files, select_files
from holdfast.vault import LocalVault, open_vault_at
from tests.helpers import open_run, put_file


class CountingVault:
    """The real vault; what is read from it is counted, and can be made to fail."""

    def __init__(self, vault: LocalVault) -> None:
        self._vault = vault
        self.requests = 0
        self.bytes_read = 0
        self.before_piece = lambda: None

    def __getattr__(self, name):
        return getattr(self._vault, name)

    def read(self, run, query):
        self.requests += 1
        for piece in self._vault.read(run, query):
            self.before_piece()
            self.bytes_read += len(piece)
            yield piece


@dataclass
class Place:
    """A vault, a run in it and a folder to restore to."""

    data: Path
    vault: CountingVault
    run: RunPath
    root: Path

    def put(self, name: str, data: bytes, **entry) -> int:
        return put_file(self.vault, self.run, name, data, **entry)

    def info(self, name: str, version: int | None = None):
        return self.vault.get_files(self.run, [FileRef(name=name, version=version)])[0]

    def file(self, name: str, **options):
        return restore_file(self.vault, self.run, name, **{"root": self.root, **options})

    def read(self, name: str, **options) -> bytes:
        with self.file(name, **options) as file:
            return file.read()

    def files(self, *patterns: str, **options):
        chosen = select_files(self.vault, self.run, patterns)
        return restore_files(self.vault, self.run, chosen, **{"root": self.root, **options})

    def left(self) -> list[str]:
        """What is below the root and is no file that was restored: part files."""
        return [path.name for path in self.root.rglob("*") if path.name.endswith(".holdfast-part")]


@pytest.fixture
def place(tmp_path):
    vault = CountingVault(open_vault_at(tmp_path / "vault", user="me", reserve_bytes=0))
    root = tmp_path / "root"
    root.mkdir()
    yield Place(tmp_path / "vault", vault, open_run(vault), root)
    vault.close()
