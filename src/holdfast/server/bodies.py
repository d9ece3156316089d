"""Bodies of requests: messages parsed by pydantic, raw ones in batches, none larger than its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from holdfast.errors import TooLargeError, UsageError

MAX_MESSAGE_BYTES = 32 << 20


class MessageRoute(APIRoute):
    """A route whose JSON body is parsed in one step from its bytes.

    FastAPI would decode the JSON first and validate Python objects then; pydantic reads base64 only from JSON.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if not self.dependant.body_params:
            return handle
        kind: Any = self.dependant.body_params[0].field_info.annotation
        message: TypeAdapter[Any] = TypeAdapter(kind)

        async def handle_parsed(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                raise UsageError("The body must be application/json.")
            body = await read_body(request, MAX_MESSAGE_BYTES)
            try:
                parsed = message.validate_json(body)
            except ValidationError as exc:
                raise RequestValidationError(exc.errors()) from exc
            return await handle(_ParsedRequest(request, parsed))

        return handle_parsed


class _ParsedRequest(Request):
    """A request whose body is there already."""

    def __init__(self, request: Request, parsed: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._parsed = parsed

    async def body(self) -> bytes:
        return b"parsed"

    async def json(self) -> Any:
        return self._parsed


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: It has more than ``limit`` bytes.
    """
    return b"".join([piece async for piece in body_pieces(request, limit)])


async def body_pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the body in the pieces of about 1 MiB that `Connection` makes of it.

    Raises:
        TooLargeError: It has more than ``limit`` bytes; at once if its head says so.
    """
    check_length(request, limit)
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > limit:
            raise _too_large(limit)
        if piece:
            yield piece


def check_length(request: Request, limit: int) -> None:
    """Refuse a body whose head says that it is too large. Raises `TooLargeError`."""
    if int(request.headers.get("content-length", 0)) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The body of this request may have at most {limit} bytes.", details={"limit": limit}
    )
