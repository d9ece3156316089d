"""Answers that are streams of bytes: read by worker threads, one block ahead of the network, never whole in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeAlias

from anyio.to_thread import run_sync
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast.server.connection import DIRECT, Connection
from holdfast.server.direct import DirectSocket
from holdfast.server.gate import Exchange
from holdfast.server.slots import Slots
from holdfast.vault.blobs import BlobSlice, read_out

BLOCK_BYTES = 1 << 20

Piece: TypeAlias = bytes | memoryview | BlobSlice


class StreamAnswer(Response):
    """Sends ``size_bytes`` that an iterator yields.

    Nothing is sent before the first block is there, so that what fails by then is answered as an error. What fails
    later cuts the connection: the client has the size and sees that it is not whole.

    Args:
        pieces: Blocking; used by one worker thread at a time and closed at the end. A slice of a file is sent by
            the system itself where the socket can be lent.
        size_bytes: How many bytes it yields in all.
        slots: Bounds how many of these run at once.
        status: The HTTP status.
        headers: Further headers.
        media_type: Of the bytes.
    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        size_bytes: int,
        slots: Slots,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/octet-stream",
    ) -> None:
        self._pieces = pieces
        self._blocks = _blocks(pieces)
        self._slots = slots
        self.status_code = status
        self.media_type = media_type
        self.background = None
        self.init_headers({**(headers or {}), "content-length": str(size_bytes)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._slots.take()
        try:
            await self._send_blocks(scope, receive, send)
        finally:
            self._slots.give_back()
            await run_in_threadpool(_close, self._pieces)

    async def _send_blocks(self, scope: Scope, receive: Receive, send: Send) -> None:
        block = await self._next()
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        connection: Connection = scope["extensions"][DIRECT]["connection"]
        exchange: Exchange = scope["state"]["exchange"]
        lent = await connection.lend_answer(exchange.patience)
        if lent is None:
            self._blocks = read_out(chain([block], self._blocks), BLOCK_BYTES)
            await self._send_through(await self._next(), receive, send)
        else:
            sent = 0
            try:
                sent = await run_sync(self._send_all, block, lent, limiter=self._slots.workers)
            except ClientDisconnect:
                connection.abort()
                raise
            finally:
                connection.take_back(sent=sent)
            exchange.sent_bytes += sent
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _send_all(self, block: Piece, lent: DirectSocket) -> int:
        sent = 0
        for each in chain([block], self._blocks):
            if isinstance(each, BlobSlice):
                lent.send_file(each)
                sent += each.length
            else:
                lent.send(each)
                sent += len(each)
        return sent

    async def _send_through(self, block: Piece, receive: Receive, send: Send) -> None:
        """Send by way of the event loop, while a worker reads one block ahead."""
        gone = asyncio.create_task(_disconnected(receive))
        try:
            while block and not gone.done():
                ahead = asyncio.create_task(self._next())
                try:
                    await send({"type": "http.response.body", "body": block, "more_body": True})
                finally:
                    block = await ahead
        finally:
            gone.cancel()
        if block:
            raise ClientDisconnect

    async def _next(self) -> Piece:
        return await run_sync(next, self._blocks, b"", limiter=self._slots.workers)


def _blocks(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Join small pieces, so that a thousand of them are not a thousand trips between threads."""
    held: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if isinstance(piece, BlobSlice):
            if held:
                yield b"".join(held)
                held, size = [], 0
            yield piece
            continue
        held.append(piece)
        size += len(piece)
        if size >= BLOCK_BYTES:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


def _close(pieces: Iterator[Piece]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
