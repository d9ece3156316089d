"""The app: every route over one vault, behind the gate."""

from __future__ import annotations

from fastapi import FastAPI

from holdfast.server import errors
from holdfast.server.gate import STALL_S, Gate, Identify
from holdfast.server.routes_files import files_router
from holdfast.server.routes_raw import raw_router
from holdfast.server.routes_runs import runs_router
from holdfast.server.routes_uploads import uploads_router
from holdfast.server.slots import Slots
from holdfast.vault import LocalVault

API = "/api/v1"
_PACKS_AT_ONCE = 8
_STREAMS_AT_ONCE = 16
_SLOT_WAIT_S = 10.0


def create_app(vault: LocalVault, identify: Identify, *, stall_s: float = STALL_S) -> FastAPI:
    """Return the ASGI app.

    Args:
        vault: What is served. The caller opens and closes it.
        identify: Returns whose API key it is given, or None.
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
    app.add_middleware(Gate, identify=identify, stall_s=stall_s)
    packs = Slots(_PACKS_AT_ONCE, _SLOT_WAIT_S, "uploads of packs")
    streams = Slots(_STREAMS_AT_ONCE, _SLOT_WAIT_S, "downloads")
    for router in (
        runs_router(vault),
        uploads_router(vault, packs),
        files_router(vault, streams),
        raw_router(vault, streams),
    ):
        app.include_router(router, prefix=API)

    @app.get("/healthz", tags=["server"])
    def healthz() -> dict[str, str]:
        """Whether the server lives."""
        return {"status": "ok"}

    return app
