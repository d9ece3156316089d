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
from starlette.requests import ClientDisconnect

from holdfast.content.packs import MAX_PACK_BYTES
from holdfast.protocol.messages import Commit, CommitResult, ContentAnswer, ContentQuery, PackReceipt, Upload
from holdfast.server.asking import RUN, CallersVault, Run
from holdfast.server.bodies import MessageRoute, body_pieces, check_length, read_body
from holdfast.server.connection import DIRECT, Connection
from holdfast.server.direct import DirectBody
from holdfast.server.slots import Slots
from holdfast.vault.ingest import PackWriter

MAX_IDS_BYTES = 2 << 20
BINARY = "application/octet-stream"
InWorker = Callable[..., Coroutine[Any, Any, Any]]


def uploads_router(slots: Slots) -> APIRouter:
    """Return the routes; ``slots`` bounds the packs that come in at once."""
    router = APIRouter(route_class=MessageRoute, tags=["uploads"])

    @router.post(f"{RUN}/uploads", status_code=201)
    def begin(vault: CallersVault, run: Run, attempt: str | None = None) -> Upload:
        """Begin an upload to a run."""
        return vault.begin(run, attempt=attempt)

    @router.post(
        "/uploads/{upload_id}/have",
        response_class=Response,
        openapi_extra=_takes_bytes("n x 32 bytes of ids"),
    )
    async def have(vault: CallersVault, upload_id: str, request: Request) -> Response:
        """Which chunks are there: one bit an id, least significant first."""
        ids = await read_body(request, MAX_IDS_BYTES)
        return Response(await run_in_threadpool(vault.have, upload_id, ids), media_type=BINARY)

    @router.post("/uploads/{upload_id}/contents")
    def have_contents(vault: CallersVault, upload_id: str, query: ContentQuery) -> ContentAnswer:
        """Which whole contents are there."""
        return vault.have_contents(upload_id, query)

    @router.put("/uploads/{upload_id}/packs/{pack_id:path}", openapi_extra=_takes_bytes("A pack"))
    async def put_pack(vault: CallersVault, upload_id: str, pack_id: str, request: Request) -> PackReceipt:
        """Store a pack; the answer means that it is durable."""
        check_length(request, MAX_PACK_BYTES)
        async with slots.held():
            in_worker = partial(run_sync, limiter=slots.workers)
            writer = await in_worker(vault.open_pack, upload_id, pack_id)
            return await _write(writer, request, in_worker)

    @router.post("/uploads/{upload_id}/commit")
    def commit(vault: CallersVault, upload_id: str, commit: Commit) -> CommitResult:
        """Publish versions, all or none."""
        return vault.commit(upload_id, commit)

    return router


async def _write(writer: PackWriter, request: Request, in_worker: InWorker) -> PackReceipt:
    """Let a worker take the body from the socket, or feed it to the worker piece by piece."""
    connection: Connection = request.scope["extensions"][DIRECT]["connection"]
    body = connection.lend_body(request.scope["state"]["exchange"].patience)
    if body is None:
        return await _feed(writer, request, in_worker)
    try:
        receipt: PackReceipt = await in_worker(_take, writer, body)
    except ClientDisconnect:
        connection.abort()
        raise
    finally:
        connection.take_back(received=body.taken)
    return receipt


def _take(writer: PackWriter, body: DirectBody) -> PackReceipt:
    try:
        for piece in body:
            writer.feed(piece)
    except BaseException:
        writer.abort()
        raise
    return writer.finish()


async def _feed(writer: PackWriter, request: Request, in_worker: InWorker) -> PackReceipt:
    """While a worker checks and writes one piece, the next one comes in."""
    feeding: asyncio.Task[None] | None = None
    try:
        async for piece in body_pieces(request, MAX_PACK_BYTES):
            if feeding is not None:
                await feeding
            feeding = asyncio.create_task(in_worker(writer.feed, piece))
        if feeding is not None:
            await feeding
    except BaseException:
        if feeding is not None:
            await asyncio.wait([feeding])
        await in_worker(writer.abort)
        raise
    receipt: PackReceipt = await in_worker(writer.finish)
    return receipt


def _takes_bytes(what: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary", "description": what}
    return {"requestBody": {"required": True, "content": {BINARY: {"schema": schema}}}}
