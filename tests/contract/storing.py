"""Bytes into a vault and out of it again, in the fewest calls."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence

from holdfast.content.hashing import Bytes, chunk_id, content_digest
from holdfast.content.manifests import ChunkRef, ManifestBuilder, decode_places
from holdfast.content.packs import FrameReader, Kind, PackBuilder, open_frame
from holdfast.names import RunPath
from holdfast.protocol.messages import (
    Commit,
    CommitEntry,
    CommitResult,
    FileRef,
    LocateQuery,
    PackRange,
    ReadQuery,
    Resume,
    RunSpec,
    Upload,
)
from holdfast.protocol.vault import Vault
from holdfast.vault.blobs import Blobs

CHUNK = 1000


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def new_id() -> str:
    return secrets.token_hex(16)


def spec(
    run_id: str = "run1",
    project: str = "mnist",
    *,
    attempt: str = "attempt-1",
    resume: Resume | None = None,
    **rest,
) -> RunSpec:
    started = rest.pop("started_at", time.time())
    return RunSpec(
        entity="me",
        project=project,
        run_id=run_id,
        attempt=attempt,
        resume=resume,
        started_at=started,
        **rest,
    )


def open_run(vault: Vault, run_id: str = "run1", project: str = "mnist") -> RunPath:
    return vault.open_run(spec(run_id, project)).path


class Source:
    """Content to store in one upload, cut into chunks of 1,000 bytes."""

    def __init__(self, upload: Upload, data: bytes, chunk_bytes: int = CHUNK) -> None:
        self.upload = upload
        self.data = data
        self.chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
        self.ids = [chunk_id(upload.domain_key, chunk) for chunk in self.chunks]
        builder = ManifestBuilder(upload.domain_key)
        builder.extend(ChunkRef(id_, len(chunk)) for id_, chunk in zip(self.ids, self.chunks, strict=True))
        self.manifest, self.segments = builder.finish()

    def pack(self) -> list[Bytes]:
        builder = PackBuilder(self.upload.domain_key)
        for id_, chunk in zip(self.ids, self.chunks, strict=True):
            builder.add(id_, chunk)
        for id_, body in self.segments.items():
            builder.add(id_, body, kind=Kind.SEGMENT)
        return builder.finish()

    def put(self, vault: Vault) -> str:
        pack_id = new_id()
        if self.chunks:
            vault.put_pack(self.upload.upload_id, pack_id, self.pack())
        return pack_id

    def entry(self, name: str, **fields) -> CommitEntry:
        return CommitEntry(
            **{
                "name": name,
                "size": len(self.data),
                "digest": content_digest(self.data),
                "manifest": self.manifest,
                "splitter": "whole1",
                **fields,
            }
        )


def commit(
    vault: Vault, upload: Upload, entries: Sequence[CommitEntry], key: str | None = None
) -> CommitResult:
    return vault.commit(upload.upload_id, Commit(key=key or new_id(), entries=list(entries)))


def store(vault: Vault, run: RunPath, name: str, data: bytes, *, attempt: str | None = None, **fields) -> int:
    """Store a file and return its version."""
    upload = vault.begin(run, attempt=attempt)
    source = Source(upload, data)
    source.put(vault)
    return commit(vault, upload, [source.entry(name, **fields)]).versions[0].version


def ranges_of(vault: Vault, run: RunPath, name: str, version: int | None = None) -> list[PackRange]:
    found = vault.locate(run, LocateQuery(refs=[FileRef(name=name, version=version)]))
    return [
        PackRange(pack=found.packs[place.pack], offset=place.offset, length=place.frame_len)
        for place in decode_places(found.chunks)
    ]


def fetch(vault: Vault, run: RunPath, name: str, version: int | None = None) -> bytes:
    """Return a file's bytes, each chunk verified."""
    found = vault.locate(run, LocateQuery(refs=[FileRef(name=name, version=version)]))
    places = decode_places(found.chunks)
    reader = FrameReader()
    frames = []
    for block in vault.read(run, ReadQuery(ranges=ranges_of(vault, run, name, version))):
        frames += reader.feed(block)
    reader.finish()
    assert [entry.id for entry, _ in frames] == [place.id for place in places]
    return b"".join(bytes(open_frame(found.domain_key, entry, stored)) for entry, stored in frames)


def damage(blobs: Blobs, pack_id: str, at: int) -> None:
    """Change one byte of a stored pack."""
    [found] = [blob for blob in blobs.list() if pack_id in blob.name]
    data = bytearray(blobs.read(found.name, 0, found.size_bytes))
    data[at] ^= 1
    writer = blobs.create(found.name)
    writer.write([bytes(data)])
    writer.commit()
