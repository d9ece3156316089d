"""Routes of reading and deleting: files, versions, where chunks lie, their frames."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response

from holdfast.protocol.messages import (
    ChunkMap,
    DeleteResult,
    FileInfo,
    FileName,
    FilePage,
    FileRef,
    LocateQuery,
    Manifest,
    PinUpdate,
    ReadQuery,
    Verified,
)
from holdfast.restoring.content import iter_content
from holdfast.restoring.diffs import FileDiff, compare
from holdfast.server.asking import RUN, CallersVault, Run
from holdfast.server.bodies import MessageRoute
from holdfast.server.slots import Slots
from holdfast.server.streams import StreamAnswer

_BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}


def files_router(slots: Slots) -> APIRouter:
    """Return the routes; ``slots`` bounds the streams that go out at once."""
    router = APIRouter(route_class=MessageRoute, prefix=RUN, tags=["files"])

    @router.get("/files")
    def list_files(
        vault: CallersVault,
        run: Run,
        pattern: str | None = None,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> FilePage:
        """The files of a run at their newest versions, by name."""
        return vault.list_files(run, pattern=pattern, after=after, limit=limit)

    @router.post("/files/get")
    def get_files(vault: CallersVault, run: Run, refs: Annotated[list[FileRef], Body()]) -> list[FileInfo]:
        """Some versions, in the order asked for."""
        return vault.get_files(run, refs)

    @router.post("/files/pin")
    def pin_versions(vault: CallersVault, run: Run, update: PinUpdate) -> list[FileInfo]:
        """Pin versions, or unpin them."""
        return vault.pin_versions(run, update)

    @router.post("/files/delete")
    def delete_files(vault: CallersVault, run: Run, names: Annotated[list[str], Body()]) -> DeleteResult:
        """Put files into the trash."""
        return vault.delete_files(run, names)

    @router.get("/versions")
    def list_versions(vault: CallersVault, run: Run, name: str) -> list[FileInfo]:
        """All versions of a file, newest first."""
        return vault.list_versions(run, name)

    @router.get("/diff")
    def diff(vault: CallersVault, run: Run, name: FileName, old: int, new: int | None = None) -> FileDiff:
        """What differs between two versions of a file (without ``new``: the newest), if it is text line by line."""
        refs = [FileRef(name=name, version=old), FileRef(name=name, version=new)]
        before, after = vault.get_files(run, refs)
        labels = f"{run}/{name} v{before.version}", f"{run}/{name} v{after.version}"
        return compare(before, after, lambda info: b"".join(iter_content(vault, run, info)), labels=labels)

    @router.get("/manifest")
    def manifest(vault: CallersVault, run: Run, name: FileName, version: int | None = None) -> Manifest:
        """The ordered chunk list of a version."""
        return vault.manifest(run, FileRef(name=name, version=version))

    @router.post("/locate")
    def locate(vault: CallersVault, run: Run, query: LocateQuery) -> ChunkMap:
        """Where the chunks of versions lie."""
        return vault.locate(run, query)

    @router.post("/read", response_class=Response, responses=_BYTES)
    def read(vault: CallersVault, run: Run, query: ReadQuery) -> Response:
        """The bytes of ranges of packs, one after the other; a cut connection means an error."""
        size_bytes = sum(part.length for part in query.ranges)
        return StreamAnswer(vault.read_pieces(run, query), size_bytes, slots)

    @router.post("/verify")
    def verify(vault: CallersVault, run: Run, query: ReadQuery) -> Verified:
        """Whether the frames in ranges of packs lie whole on the disk."""
        return vault.verify(run, query)

    return router
