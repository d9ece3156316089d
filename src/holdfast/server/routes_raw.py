"""The plain content of a file for curl and browsers: ranges, ETags, and never as active content."""

from __future__ import annotations

import mimetypes
import re
from datetime import UTC
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from holdfast.protocol.messages import FileInfo, FileName, FileRef
from holdfast.restoring.content import iter_content
from holdfast.server.asking import RUN, CallersVault, Run
from holdfast.server.slots import Slots
from holdfast.server.streams import StreamAnswer
from holdfast.times import last_moment, parse_time

_TYPES = mimetypes.MimeTypes()
_TEXT_ENDINGS = (
    ".log",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".ini",
    ".cfg",
    ".jsonl",
    ".patch",
    ".diff",
    ".py",
    ".sh",
)
_SHOWN = re.compile(r"text/(plain|csv)|application/json|image/(png|jpeg|gif|webp|bmp)|(audio|video)/[\w.+-]+")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_QUOTED_UNSAFE = re.compile(r'[^\x20-\x7e]|["\\%]')
_DAY_S = 86_400


def raw_router(slots: Slots) -> APIRouter:
    """Return the route; ``slots`` bounds the streams that go out at once."""
    router = APIRouter(prefix=RUN, tags=["files"])

    @router.get("/raw/{name:path}", response_class=Response, name="raw")
    @router.head("/raw/{name:path}", response_class=Response, include_in_schema=False)
    async def raw(
        vault: CallersVault, run: Run, ref: Annotated[FileRef, Depends(_wanted)], request: Request
    ) -> Response:
        """The content of a file at a version, or as it was at a time; without either the newest."""
        [info] = await run_in_threadpool(vault.get_files, run, [ref])
        etag = f'"{info.digest.hex()}"'
        headers = _headers(info, etag, is_fixed=ref.version is not None)
        if _matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        wanted = request.headers.get("range")
        if wanted is not None and request.headers.get("if-range", etag) != etag:
            wanted = None
        start, stop, status = _span(wanted, info.size)
        if status == 416:
            return Response(status_code=416, headers={"content-range": f"bytes */{info.size}"})
        if status == 206:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{info.size}"
        if request.method == "HEAD":
            return Response(status_code=status, headers={**headers, "content-length": str(stop - start)})
        pieces = iter_content(vault, run, info, start, stop)
        return StreamAnswer(
            pieces, stop - start, slots, status=status, headers=headers, media_type=headers["content-type"]
        )

    return router


async def _wanted(name: FileName, version: int | None = None, at: str | None = None) -> FileRef:
    when = None if at is None else last_moment(parse_time(at, zone=UTC))
    return FileRef(name=name, version=version, at=when)


def _headers(info: FileInfo, etag: str, *, is_fixed: bool) -> dict[str, str]:
    media_type, is_shown = _media_type(info.name)
    return {
        "etag": etag,
        "accept-ranges": "bytes",
        "cache-control": f"private, max-age={_DAY_S}, immutable" if is_fixed else "private, no-cache",
        "content-type": media_type,
        "content-disposition": _disposition(info.name, is_shown=is_shown),
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-holdfast-version": str(info.version),
    }


def _media_type(name: str) -> tuple[str, bool]:
    """Return the type to declare, and whether a browser may show it. What could run as a script is only bytes."""
    guessed, encoding = _TYPES.guess_type(name.rsplit("/", 1)[-1])
    if name.lower().endswith(_TEXT_ENDINGS):
        guessed = "text/plain"
    if guessed is None or encoding is not None or not _SHOWN.fullmatch(guessed):
        return "application/octet-stream", False
    return (f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed), True


def _disposition(name: str, *, is_shown: bool) -> str:
    last = name.rsplit("/", 1)[-1]
    kind = "inline" if is_shown else "attachment"
    return f"{kind}; filename=\"{_QUOTED_UNSAFE.sub('_', last)}\"; filename*=UTF-8''{quote(last, safe='')}"


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _span(wanted: str | None, size: int) -> tuple[int, int, int]:
    """Return first byte, byte after the last, and status. Several ranges, or none that can be read, mean the whole."""
    match = _RANGE.match(wanted.replace(" ", "")) if wanted else None
    if match is None or match.group(0) == "bytes=-":
        return 0, size, 200
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return 0, size, 200
    return (start, stop, 206) if start < stop else (0, 0, 416)
