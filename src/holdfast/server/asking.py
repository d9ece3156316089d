"""What a route is asked: by whom, and about which run."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from holdfast.names import RunPath
from holdfast.vault import LocalVault

RUN = "/runs/{entity}/{project}/{run_id}"


async def _callers_vault(request: Request) -> LocalVault:
    vault: LocalVault = request.scope["state"]["vault"]
    return vault


async def _run_path(entity: str, project: str, run_id: str) -> RunPath:
    return RunPath(entity, project, run_id)


CallersVault = Annotated[LocalVault, Depends(_callers_vault)]
"""The vault as the caller sees it; the gate put it there."""
Run = Annotated[RunPath, Depends(_run_path)]
"""The run that the path of the URL names."""
