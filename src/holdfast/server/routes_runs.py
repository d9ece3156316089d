"""Routes of who the caller is, projects and runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from holdfast.protocol.messages import Identity, ProjectPage, RunInfo, RunPage, RunQuery, RunSpec, RunUpdate
from holdfast.server.asking import RUN, CallersVault, Run
from holdfast.server.bodies import MessageRoute

Limit = Annotated[int, Query(ge=1, le=1000)]

router = APIRouter(route_class=MessageRoute, tags=["runs"])


@router.get("/whoami")
def whoami(vault: CallersVault) -> Identity:
    """Who the API key belongs to."""
    return vault.whoami()


@router.get("/projects")
def list_projects(
    vault: CallersVault, entity: str | None = None, after: str | None = None, limit: Limit = 100
) -> ProjectPage:
    """Projects by name."""
    return vault.list_projects(entity, after=after, limit=limit)


@router.get("/projects/{entity}/{project}/runs")
def list_runs(
    vault: CallersVault, entity: str, project: str, after: str | None = None, limit: Limit = 100
) -> RunPage:
    """Runs of a project, newest first."""
    return vault.list_runs(entity, project, after=after, limit=limit)


@router.post("/projects/{entity}/{project}/runs/query")
def query_runs(vault: CallersVault, entity: str, project: str, query: RunQuery) -> RunPage:
    """Runs of a project that match filters, in an order."""
    return vault.query_runs(entity, project, query)


@router.post("/runs")
def open_run(vault: CallersVault, spec: RunSpec) -> RunInfo:
    """Create a run, or join it as a further attempt."""
    return vault.open_run(spec)


@router.get(RUN)
def get_run(vault: CallersVault, run: Run) -> RunInfo:
    """A run."""
    return vault.get_run(run)


@router.patch(RUN)
def update_run(vault: CallersVault, run: Run, update: RunUpdate) -> RunInfo:
    """Change a run; a sign of life."""
    return vault.update_run(run, update)
