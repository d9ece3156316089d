"""What every command begins with: the settings, the syncers that were left behind, the vault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.names import RunPath
from holdfast.protocol.vault import Vault
from holdfast.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Session:
    """The settings in force and the vault that they mean."""

    settings: Settings
    vault: Vault

    def entity(self) -> str:
        """Return the entity that is meant when none is named."""
        return self.settings.entity or self.vault.whoami().entity

    def run_path(self, text: str) -> RunPath:
        """Return the run that a user means. Raises `InvalidNameError`."""
        is_complete = "://" in text or text.strip("/").count("/") >= 2
        entity = None if is_complete else self.entity()
        return RunPath.parse(text, entity=entity, project=self.settings.project)


def settings_in_force() -> Settings:
    """Load the settings, and start the syncers of run directories that were left behind."""
    from holdfast.training.launch import revive

    settings = load_settings()
    revive(settings)
    return settings


@contextlib.contextmanager
def session(settings: Settings | None = None) -> Iterator[Session]:
    """Open the vault that the settings mean, and close it after the block."""
    from holdfast.connect import open_vault

    settings = settings or settings_in_force()
    vault = open_vault(settings)
    try:
        yield Session(settings, vault)
    finally:
        vault.close()
