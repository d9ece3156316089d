"""The shortest way from bytes to a committed version, for tests of what comes after."""

from __future__ import annotations

import secrets
import time

from holdfast.content.hashing import chunk_id, content_digest
from holdfast.content.manifests import ChunkRef, encode_manifest, fold
from holdfast.content.packs import Kind, PackBuilder
from holdfast.names import RunPath
from holdfast.protocol.messages import Commit, CommitEntry, CommitResult, RunSpec, Upload
from holdfast.protocol.vault import Vault

CHUNK_BYTES = 1 << 20
ATTEMPT = "attempt-of-a-test"


def open_run(vault: Vault, path: str = "me/project/run1") -> RunPath:
    run = RunPath.parse(path)
    spec = RunSpec(
        entity=run.entity, project=run.project, run_id=run.run_id, attempt=ATTEMPT, started_at=time.time()
    )
    vault.open_run(spec)
    return run


def new_pack_id() -> str:
    return secrets.token_hex(16)


def pack_of(upload: Upload, *chunks: bytes) -> list[bytes | bytearray | memoryview]:
    builder = PackBuilder(upload.domain_key)
    for chunk in chunks:
        builder.add(chunk_id(upload.domain_key, chunk), chunk)
    return builder.finish()


def put_content(vault: Vault, upload: Upload, data: bytes) -> bytes:
    """Put the chunks of ``data`` and return its manifest."""
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    for at in range(0, len(chunks), 16):
        vault.put_pack(upload.upload_id, new_pack_id(), pack_of(upload, *chunks[at : at + 16]))
    refs = [ChunkRef(chunk_id(upload.domain_key, chunk), len(chunk)) for chunk in chunks]
    records, segments = fold(upload.domain_key, refs)
    if segments:
        builder = PackBuilder(upload.domain_key)
        for id_, body in segments.items():
            builder.add(id_, body, kind=Kind.SEGMENT)
        vault.put_pack(upload.upload_id, new_pack_id(), builder.finish())
    return encode_manifest(records)


def entry_of(vault: Vault, upload: Upload, name: str, data: bytes) -> CommitEntry:
    manifest = put_content(vault, upload, data)
    digest = content_digest(data)
    return CommitEntry(name=name, size=len(data), digest=digest, manifest=manifest, splitter="whole1")


def store(vault: Vault, run: RunPath, files: dict[str, bytes]) -> CommitResult:
    upload = vault.begin(run)
    entries = [entry_of(vault, upload, name, data) for name, data in files.items()]
    return vault.commit(upload.upload_id, Commit(key=new_pack_id(), entries=entries))
