"""`RemoteVault`: the `Vault` Protocol over HTTP. The routes are described in ``docs/internals/wire.md``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from holdfast.errors import VaultUnavailableError
from holdfast.names import RunPath
from holdfast.protocol.messages import (
    ChunkMap,
    Commit,
    CommitResult,
    ContentAnswer,
    ContentQuery,
    DeleteResult,
    FileInfo,
    FilePage,
    FileRef,
    Identity,
    LocateQuery,
    Manifest,
    PackReceipt,
    PinUpdate,
    ProjectPage,
    ReadQuery,
    RunInfo,
    RunPage,
    RunQuery,
    RunSpec,
    RunUpdate,
    Upload,
    Verified,
)
from holdfast.remote.transport import Buffer, Transport

_API = "/api/v1"
_BINARY = "application/octet-stream"
_INFOS = TypeAdapter(list[FileInfo])
_REFS = TypeAdapter(list[FileRef])
_NAMES = TypeAdapter(list[str])

M = TypeVar("M", bound=BaseModel)


class RemoteVault:
    """A vault that a server keeps; see `holdfast.protocol.vault.Vault` for what each method does.

    Every request is repeated while the fault may pass, for at most ``retry_for_s``; then `VaultUnavailableError` is
    raised. `VaultFullError` is raised at once: whether to wait for space is the caller's choice.

    Args:
        url: Where the server is, such as ``http://127.0.0.1:8420``.
        api_key: The caller's key.
        retry_for_s: How long one request is repeated; 0 tries once.
    """

    def __init__(self, url: str, api_key: str | None, *, retry_for_s: float = 30.0) -> None:
        self._http = Transport(url, api_key, retry_for_s=retry_for_s)
        self.url = self._http.origin
        self.traffic = self._http.traffic

    def close(self) -> None:
        """Close the connections. Requests that wait for their next attempt give up."""
        self._http.close()

    def whoami(self) -> Identity:
        return self._get(Identity, "/whoami")

    # -- runs

    def open_run(self, spec: RunSpec) -> RunInfo:
        return self._send(RunInfo, "POST", "/runs", spec)

    def update_run(self, run: RunPath, update: RunUpdate) -> RunInfo:
        return self._send(RunInfo, "PATCH", _of(run), update)

    def get_run(self, run: RunPath) -> RunInfo:
        return self._get(RunInfo, _of(run))

    def list_runs(self, entity: str, project: str, *, after: str | None = None, limit: int = 100) -> RunPage:
        path = f"/projects/{quote(entity, safe='')}/{quote(project, safe='')}/runs"
        return self._get(RunPage, path, after=after, limit=limit)

    def query_runs(self, entity: str, project: str, query: RunQuery) -> RunPage:
        path = f"/projects/{quote(entity, safe='')}/{quote(project, safe='')}/runs/query"
        return self._send(RunPage, "POST", path, query)

    def list_projects(
        self, entity: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> ProjectPage:
        return self._get(ProjectPage, "/projects", entity=entity, after=after, limit=limit)

    # -- writing

    def begin(self, run: RunPath, *, attempt: str | None = None) -> Upload:
        return self._parsed(
            Upload, self._http.request("POST", f"{_API}{_of(run)}/uploads", query={"attempt": attempt})
        )

    def have(self, upload_id: str, ids: bytes) -> bytes:
        path = f"{_API}{_upload(upload_id)}/have"
        bitmap = self._http.request("POST", path, body=[ids], media_type=_BINARY)
        if len(bitmap) != (len(ids) // 32 + 7) // 8:
            raise self._strange(f"a bitmap of {len(bitmap)} bytes for {len(ids) // 32} ids")
        return bitmap

    def have_contents(self, upload_id: str, query: ContentQuery) -> ContentAnswer:
        return self._send(ContentAnswer, "POST", f"{_upload(upload_id)}/contents", query)

    def put_pack(self, upload_id: str, pack_id: str, body: Sequence[Buffer]) -> PackReceipt:
        path = f"{_API}{_upload(upload_id)}/packs/{quote(pack_id, safe='')}"
        return self._parsed(PackReceipt, self._http.request("PUT", path, body=body, media_type=_BINARY))

    def commit(self, upload_id: str, commit: Commit) -> CommitResult:
        return self._send(CommitResult, "POST", f"{_upload(upload_id)}/commit", commit)

    # -- reading

    def list_files(
        self, run: RunPath, *, pattern: str | None = None, after: str | None = None, limit: int = 1000
    ) -> FilePage:
        return self._get(FilePage, f"{_of(run)}/files", pattern=pattern, after=after, limit=limit)

    def get_files(self, run: RunPath, refs: Sequence[FileRef]) -> list[FileInfo]:
        body = _REFS.dump_json(list(refs))
        return self._parsed_infos(self._http.request("POST", f"{_API}{_of(run)}/files/get", body=[body]))

    def list_versions(self, run: RunPath, name: str) -> list[FileInfo]:
        return self._parsed_infos(
            self._http.request("GET", f"{_API}{_of(run)}/versions", query={"name": name})
        )

    def manifest(self, run: RunPath, ref: FileRef) -> Manifest:
        return self._get(Manifest, f"{_of(run)}/manifest", name=ref.name, version=ref.version)

    def locate(self, run: RunPath, query: LocateQuery) -> ChunkMap:
        return self._send(ChunkMap, "POST", f"{_of(run)}/locate", query)

    def read(self, run: RunPath, query: ReadQuery) -> Iterator[bytes]:
        """Yield the bytes of the ranges. Raises `VaultUnavailableError` when the stream is cut in the middle."""
        body = query.model_dump_json().encode()
        size = sum(part.length for part in query.ranges)
        return self._http.stream(f"{_API}{_of(run)}/read", body=[body], size_bytes=size)

    def verify(self, run: RunPath, query: ReadQuery) -> Verified:
        return self._send(Verified, "POST", f"{_of(run)}/verify", query)

    # -- keeping and deleting

    def pin_versions(self, run: RunPath, update: PinUpdate) -> list[FileInfo]:
        body = update.model_dump_json(exclude_unset=True).encode()
        return self._parsed_infos(self._http.request("POST", f"{_API}{_of(run)}/files/pin", body=[body]))

    def delete_files(self, run: RunPath, names: Sequence[str]) -> DeleteResult:
        body = _NAMES.dump_json(list(names))
        return self._parsed(
            DeleteResult, self._http.request("POST", f"{_API}{_of(run)}/files/delete", body=[body])
        )

    # -- messages

    def _get(self, model: type[M], path: str, **query: object) -> M:
        return self._parsed(model, self._http.request("GET", _API + path, query=query))

    def _send(self, model: type[M], method: str, path: str, message: BaseModel) -> M:
        body = message.model_dump_json(exclude_unset=True).encode()
        return self._parsed(model, self._http.request(method, _API + path, body=[body]))

    def _parsed(self, model: type[M], data: bytes) -> M:
        try:
            return model.model_validate_json(data)
        except ValidationError as exc:
            raise self._strange(f"no {model.__name__}") from exc

    def _parsed_infos(self, data: bytes) -> list[FileInfo]:
        try:
            return _INFOS.validate_json(data)
        except ValidationError as exc:
            raise self._strange("no list of files") from exc

    def _strange(self, what: Any) -> VaultUnavailableError:
        return VaultUnavailableError(
            f"{self.url} answered with {what}.",
            hint="Is this the URL of a Holdfast server of a fitting version?",
        )


def _of(run: RunPath) -> str:
    return f"/runs/{run}"


def _upload(upload_id: str) -> str:
    return f"/uploads/{quote(upload_id, safe='')}"
