"""`Api`: where the Run API begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from holdfast.api.files import RunAt
from holdfast.api.pages import Page, Pages
from holdfast.api.runs import Project, Run
from holdfast.connect import open_vault
from holdfast.credentials import server_url
from holdfast.errors import InvalidNameError
from holdfast.names import RunPath, check_label
from holdfast.protocol.messages import RunQuery
from holdfast.protocol.vault import Vault
from holdfast.settings import Secret, Settings, load_settings
from holdfast.times import timestamp

_RUNS_PAGE = 50
_PROJECTS_PAGE = 100


class Api:
    """Reads and changes what a vault has, with no run under way.

    Nothing is sent before it is used. Usable as a context manager that closes it; the objects that it gave ask nothing
    more after that. Use each object from one thread; several `Api` in several threads are fine.

    Args:
        settings: Settings by name, as for `holdfast.init`, or all of them.
        base_url: URL of the server; None: as configured, else the embedded vault.
        api_key: API key for it; None: as `holdfast login` stored it.
        entity: The entity where a path names none; None: the one of the login.
        project: The project where a path names none.

    Raises:
        SettingsError: A setting has a value that it cannot have.
        UnauthorizedError: There is no API key for the server.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | Settings | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        entity: str | None = None,
        project: str | None = None,
    ) -> None:
        loaded = settings if isinstance(settings, Settings) else load_settings(**dict(settings or {}))
        key = None if api_key is None else Secret(api_key)
        given = {"base_url": base_url, "api_key": key, "entity": entity, "project": project}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._settings = replace(loaded, **changes)
        url = self._settings.base_url
        self._base_url = None if url is None else server_url(url)
        self._vault: Vault = open_vault(self._settings)

    def __repr__(self) -> str:
        return f"<Api of {self._base_url or self._settings.vault_dir}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._vault.close()

    @property
    def default_entity(self) -> str:
        """The entity that is meant where a path names none."""
        return self._settings.entity or self._vault.whoami().entity

    def run(self, path: str) -> Run:
        """Return a run.

        Args:
            path: ``entity/project/run_id``, a shorter form of it, or the URL of the run's page.

        Raises:
            RunNotFoundError: There is no such run.
        """
        is_complete = "://" in path or path.strip("/").count("/") >= 2
        entity = None if is_complete else self.default_entity
        at = self._at(RunPath.parse(path, entity=entity, project=self._settings.project))
        return Run(at, at.vault.get_run(at.path))

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "-created_at",
        per_page: int = _RUNS_PAGE,
    ) -> Pages[Run]:
        """Return the runs of a project, fetched as they are asked for; the vault does the filtering and ordering.

        Args:
            path: ``entity/project`` or ``project``; None: the project of the settings.
            filters: Conditions as MongoDB and W&B write them: ``{"state": "finished", "config.lr": {"$gt": 0.1}}``.
                Fields are ``id``, ``display_name``, ``state``, ``tags``, ``notes``, ``group``, ``job_type``, ``user``,
                ``created_at``, ``heartbeat_at``, ``ended_at``, ``duration`` (seconds), ``step``, ``exit_code``,
                ``config.KEY`` and ``summary_metrics.KEY``; operators ``$and $or $nor $not $eq $ne $gt $gte $lt $lte
                $in $nin $exists $regex``. Times are `datetime.datetime`, or ISO 8601 as text (UTC if it names no zone).
            order: A field, or ``name``, with ``+`` or ``-`` in front. Runs that do not have it come last.
            per_page: How many are asked for at once.

        Raises:
            UsageError: A filter or the order means nothing; raised when the first run is asked for.
        """
        entity, project = self._project(path)
        query = RunQuery(filters=_sendable(dict(filters or {})), order=order, limit=per_page)

        def fetch(after: str | None) -> Page[Run]:
            page = self._vault.query_runs(entity, project, query.model_copy(update={"after": after}))
            return Page([Run(self._at(info.path), info) for info in page.runs], page.next)

        def count() -> int:
            wanted = query.model_copy(update={"limit": 1, "count": True})
            return self._vault.query_runs(entity, project, wanted).total or 0

        return Pages(fetch, count)

    def projects(self, entity: str | None = None, per_page: int = _PROJECTS_PAGE) -> Pages[Project]:
        """Return the projects of an entity (None: of all that may be seen), by name, fetched as they are asked for."""

        def fetch(after: str | None) -> Page[Project]:
            page = self._vault.list_projects(entity, after=after, limit=per_page)
            return Page([Project(info, self.runs) for info in page.projects], page.next)

        return Pages(fetch)

    def _at(self, path: RunPath) -> RunAt:
        return RunAt(self._vault, self._base_url, path)

    def _project(self, path: str | None) -> tuple[str, str]:
        parts = (path or self._settings.project).strip("/").split("/")
        if len(parts) > 2:
            raise InvalidNameError(f"{path!r} is not a project.", hint="Write entity/project or project.")
        entity = parts[0] if len(parts) == 2 else self.default_entity
        return check_label(entity, "entity"), check_label(parts[-1], "project")


def _sendable(value: Any) -> Any:
    """Return a filter with its times as seconds."""
    if isinstance(value, Mapping):
        return {str(key): _sendable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_sendable(item) for item in value]
    return timestamp(value) if isinstance(value, datetime) else value
