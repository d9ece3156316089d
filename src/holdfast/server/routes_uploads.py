"""Routes of writing: uploads, what they ask, the packs they put, the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from holdfast.errors import UsageError
from holdfast.protocol.messages import Commit, CommitResult, ContentAnswer, ContentQuery, PackReceipt, Upload
from holdfast.server.bodies import MessageRoute, batches, read_body
from holdfast.server.routes_runs import RUN, Run
from holdfast.server.slots import Slots
from holdfast.vault import LocalVault, PackWriter

MAX_IDS = 65_536
MAX_PACK_BODY_BYTES = (64 << 20) + (1 << 20)
BINARY = "application/octet-stream"
InWorker = Callable[..., Coroutine[Any, Any, Any]]


def uploads_router(vault: LocalVault, slots: Slots) -> APIRouter:
    """Return the routes over ``vault``; ``slots`` bounds the packs that come in at once."""
    router = APIRouter(route_class=MessageRoute, tags=["uploads"])

    @router.post(f"{RUN}/uploads", status_code=201)
    def begin(run: Run) -> Upload:
        """Begin an upload to a run."""
        return vault.begin(run)

    @router.post(
        "/uploads/{upload_id}/have",
        response_class=Response,
        openapi_extra=_takes_bytes("n x 32 bytes of ids"),
    )
    async def have(upload_id: str, request: Request) -> Response:
        """Which chunks are there: one bit an id, least significant first."""
        ids = await read_body(request, MAX_IDS * 32)
        if len(ids) % 32:
            raise UsageError("The body must be whole ids of 32 bytes.")
        return Response(await run_in_threadpool(vault.have, upload_id, ids), media_type=BINARY)

    @router.post("/uploads/{upload_id}/contents")
    def have_contents(upload_id: str, query: ContentQuery) -> ContentAnswer:
        """Which whole contents are there."""
        return vault.have_contents(upload_id, query)

    @router.put("/uploads/{upload_id}/packs/{pack_id}", openapi_extra=_takes_bytes("A pack, see formats.md"))
    async def put_pack(upload_id: str, pack_id: str, request: Request) -> PackReceipt:
        """Store a pack; the answer means that it is durable."""
        async with slots.held():
            in_worker = partial(run_sync, limiter=slots.workers)
            writer = await in_worker(vault.pack_writer, upload_id, pack_id)
            return await _write(writer, request, in_worker)

    @router.post("/uploads/{upload_id}/commit")
    def commit(upload_id: str, commit: Commit) -> CommitResult:
        """Publish versions, all or none."""
        return vault.commit(upload_id, commit)

    return router


async def _write(writer: PackWriter, request: Request, in_worker: InWorker) -> PackReceipt:
    """Feed the body to the writer: while a worker checks and writes one batch, the next one comes in."""
    feeding: asyncio.Task[None] | None = None
    try:
        async for batch in batches(request, MAX_PACK_BODY_BYTES):
            if feeding is not None:
                await feeding
            feeding = asyncio.create_task(in_worker(writer.feed, batch))
        if feeding is not None:
            await feeding
        return await in_worker(writer.finish)
    except BaseException:
        if feeding is not None:
            await asyncio.wait([feeding])
        await in_worker(writer.abort)
        raise


def _takes_bytes(what: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary", "description": what}
    return {"requestBody": {"required": True, "content": {BINARY: {"schema": schema}}}}
