"""Ways to put things into a real vault, as an uploader does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence

from holdfast.content.hashing import chunk_id, content_digest
from holdfast.content.manifests import ChunkRef, ManifestBuilder
from holdfast.content.packs import Kind, PackBuilder
from holdfast.content.splitters import choose_splitter
from holdfast.names import RunPath, new_run_id
from holdfast.protocol.messages import Commit, CommitEntry, RunSpec, Upload
from holdfast.protocol.vault import Vault


def open_run(vault: Vault, project: str = "mnist", run_id: str | None = None) -> RunPath:
    """Make a run (or a further attempt at it) and return its path."""
    run = RunPath(vault.whoami().entity, project, run_id or new_run_id())
    spec = RunSpec(
        entity=run.entity,
        project=run.project,
        run_id=run.run_id,
        attempt=secrets.token_hex(8),
        started_at=time.time(),
    )
    return vault.open_run(spec).path


def put_file(vault: Vault, run: RunPath, name: str, data: bytes, **entry: object) -> int:
    """Store a file and return its version; ``entry`` sets further fields of its `CommitEntry`."""
    return put_files(vault, run, {name: data}, **entry)[0]


def put_files(vault: Vault, run: RunPath, files: Mapping[str, bytes], **entry: object) -> list[int]:
    """Store files in shared packs and one commit; return their versions."""
    upload = vault.begin(run)
    pack = PackBuilder(upload.domain_key)
    entries = []
    for name, data in files.items():
        splitter = choose_splitter(
            len(data), lambda offset, length, data=data: data[offset : offset + length]
        )
        manifest = ManifestBuilder(upload.domain_key)
        at = 0
        for piece in splitter.cut(memoryview(data), offset=0, final=True):
            chunk = data[at : at + piece.length]
            ref = ChunkRef(chunk_id(upload.domain_key, chunk), len(chunk))
            manifest.add(ref)
            pack = _with_room(vault, upload, pack, len(chunk))
            pack.add(ref.id, chunk, word=piece.word)
            at += piece.length
        body, segments = manifest.finish()
        for segment_id, segment in segments.items():
            pack = _with_room(vault, upload, pack, len(segment))
            pack.add(segment_id, segment, kind=Kind.SEGMENT)
        fields = {"mtime_ns": time.time_ns(), **entry}
        entries.append(
            CommitEntry(
                name=name,
                size=len(data),
                digest=content_digest(data),
                manifest=body,
                splitter=splitter.name,
                **fields,
            )
        )
    _put(vault, upload.upload_id, pack)
    result = vault.commit(upload.upload_id, Commit(key=secrets.token_hex(16), entries=entries))
    return [version.version for version in result.versions]


def _with_room(vault: Vault, upload: Upload, pack: PackBuilder, length: int) -> PackBuilder:
    if pack.size < upload.pack_bytes and pack.fits(length):
        return pack
    _put(vault, upload.upload_id, pack)
    return PackBuilder(upload.domain_key)


def _put(vault: Vault, upload_id: str, pack: PackBuilder) -> None:
    if pack.count:
        body: Sequence[bytes | bytearray | memoryview] = pack.finish()
        vault.put_pack(upload_id, secrets.token_hex(16), body)
