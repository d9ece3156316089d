"""Errors over HTTP: the one place that turns any exception into the one JSON shape.

{"code": ..., "message": ..., "hint": ..., "request_id": ..., "details": {...}}
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast.errors import HoldfastError, NotFoundError, TooLargeError, UsageError

_SHOWN_PROBLEMS = 5


def install(app: FastAPI) -> None:
    """Have the app answer with our shape to every error that it knows of."""
    for kind in (HoldfastError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _handle)


def error_response(exc: Exception, request_id: str) -> Response:
    """Return the answer to a request that failed with ``exc``."""
    error = _ours(exc, request_id)
    status = exc.status_code if isinstance(exc, HTTPException) else error.http_status
    headers = {}
    if "retry_after_s" in error.details:
        headers["retry-after"] = str(error.details["retry_after_s"])
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, TooLargeError):
        headers["connection"] = "close"
    content = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "request_id": request_id,
        "details": error.details,
    }
    return JSONResponse(content, status, headers)


async def _handle(request: Request, exc: Exception) -> Response:
    return error_response(exc, request.scope["state"]["request_id"])


def _ours(exc: Exception, request_id: str) -> HoldfastError:
    if isinstance(exc, HoldfastError):
        return exc
    if isinstance(exc, RequestValidationError):
        return _usage(exc)
    if isinstance(exc, HTTPException):
        if exc.status_code == 404:
            return NotFoundError("There is no such page.", hint="The API is described at /openapi.json.")
        return UsageError(f"{exc.detail}.")
    return HoldfastError(
        "The server failed on this request.",
        hint=f"Its log tells more; look for the request id {request_id}.",
    )


def _usage(exc: RequestValidationError) -> UsageError:
    problems = [
        {"where": ".".join(str(part) for part in problem["loc"]), "what": str(problem["msg"])}
        for problem in exc.errors()[:_SHOWN_PROBLEMS]
    ]
    told = "; ".join(f"{problem['where']}: {problem['what']}" for problem in problems)
    return UsageError(f"The request is not valid: {told}.", details={"problems": problems})
