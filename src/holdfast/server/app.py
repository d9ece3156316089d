"""The app: every route over one vault, behind the gate."""

from __future__ import annotations

from fastapi import FastAPI

from holdfast.server import errors, routes_runs
from holdfast.server.gate import STALL_S, Gate, VaultOf
from holdfast.server.routes_files import files_router
from holdfast.server.routes_raw import raw_router
from holdfast.server.routes_uploads import uploads_router
from holdfast.server.slots import Slots

API = "/api/v1"
_PACKS_AT_ONCE = 8
_STREAMS_AT_ONCE = 16
_SLOT_WAIT_S = 10.0


def create_app(vault_of: VaultOf, *, stall_s: float = STALL_S) -> FastAPI:
    """Return the ASGI app.

    Args:
        vault_of: Returns the vault as the owner of an API key sees it. The caller closes that vault in the end.
        stall_s: How long a client may keep the server waiting in one request.
    """
    app = FastAPI(
        title="Holdfast",
        description="The vault of a Holdfast server. Errors have one shape: code, message, hint, request_id, details.",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    app.add_middleware(Gate, vault_of=vault_of, stall_s=stall_s)
    packs = Slots(_PACKS_AT_ONCE, _SLOT_WAIT_S, "uploads of packs")
    streams = Slots(_STREAMS_AT_ONCE, _SLOT_WAIT_S, "downloads")
    for router in (
        routes_runs.router,
        uploads_router(packs),
        files_router(streams),
        raw_router(streams),
    ):
        app.include_router(router, prefix=API)

    @app.get("/healthz", tags=["server"])
    def healthz() -> dict[str, str]:
        """Whether the server lives."""
        return {"status": "ok"}

    return app
