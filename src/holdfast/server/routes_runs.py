"""Routes of who the caller is, projects and runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from holdfast.names import RunPath
from holdfast.protocol.messages import Identity, ProjectPage, RunInfo, RunPage, RunSpec, RunUpdate
from holdfast.protocol.vault import Vault
from holdfast.server.bodies import MessageRoute

RUN = "/runs/{entity}/{project}/{run_id}"


async def _run_path(entity: str, project: str, run_id: str) -> RunPath:
    return RunPath(entity, project, run_id)


Run = Annotated[RunPath, Depends(_run_path)]
"""The run that the path of the URL names."""
Limit = Annotated[int, Query(ge=1, le=1000)]


def runs_router(vault: Vault) -> APIRouter:
    """Return the routes over ``vault``."""
    router = APIRouter(route_class=MessageRoute, tags=["runs"])

    @router.get("/whoami")
    def whoami(request: Request) -> Identity:
        """Who the API key belongs to."""
        identity: Identity = request.scope["state"]["identity"]
        return identity

    @router.get("/projects")
    def list_projects(entity: str | None = None, after: str | None = None, limit: Limit = 100) -> ProjectPage:
        """Projects by name."""
        return vault.list_projects(entity, after=after, limit=limit)

    @router.get("/projects/{entity}/{project}/runs")
    def list_runs(entity: str, project: str, after: str | None = None, limit: Limit = 100) -> RunPage:
        """Runs of a project, newest first."""
        return vault.list_runs(entity, project, after=after, limit=limit)

    @router.post("/runs")
    def open_run(spec: RunSpec) -> RunInfo:
        """Create a run, or join it as a further attempt."""
        return vault.open_run(spec)

    @router.get(RUN)
    def get_run(run: Run) -> RunInfo:
        """A run."""
        return vault.get_run(run)

    @router.patch(RUN)
    def update_run(run: Run, update: RunUpdate) -> RunInfo:
        """Change a run; a sign of life."""
        return vault.update_run(run, update)

    return router
