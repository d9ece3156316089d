"""What every command begins with: the settings, the syncers that were left behind, the vault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.errors import RunNotFoundError, UsageError
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
        """Return the run that a user means: a path, a URL, or an id alone, which is looked for in every project.

        Raises:
            InvalidNameError: It cannot be a run.
            RunNotFoundError: An id alone that no project of the entity has.
            UsageError: An id alone that several of them have.
        """
        is_complete = "://" in text or text.strip("/").count("/") >= 2
        entity = None if is_complete else self.entity()
        path = RunPath.parse(text, entity=entity, project=self.settings.project)
        return path if "/" in text.strip("/") else self._with_id(path)

    def _with_id(self, path: RunPath) -> RunPath:
        projects = dict.fromkeys([path.project, *self._projects(path.entity)])
        found = []
        for project in projects:
            with contextlib.suppress(RunNotFoundError):
                found.append(self.vault.get_run(RunPath(path.entity, project, path.run_id)).path)
        if not found:
            raise RunNotFoundError(
                f"No project of {path.entity} has a run {path.run_id}.",
                hint=f"Look for it: holdfast ls {path.entity}",
            )
        if len(found) > 1:
            listed = ", ".join(map(str, found))
            raise UsageError(
                f"There are several runs {path.run_id}: {listed}.", hint="Name one of them in full."
            )
        return found[0]

    def _projects(self, entity: str) -> Iterator[str]:
        after = None
        while True:
            page = self.vault.list_projects(entity, after=after)
            yield from (info.project for info in page.projects)
            after = page.next
            if after is None:
                return


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
