"""Publishing: the one transaction that makes file versions out of chunks that are there.

**Invariants**

- Nothing of a version is visible before the transaction ends, and all of it after.
- Whatever the client was told before, the chunk rows read in this very transaction decide whether the content is there.
- The head of a file belongs to the newest attempt that wrote it; an older one adds versions behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from holdfast.content.hashing import content_digest
from holdfast.content.manifests import ChunkRef, SegmentRef, decode_manifest, decode_refs
from holdfast.errors import (
    ChunkMissingError,
    IdempotencyError,
    MalformedContentError,
    StaleBaseError,
    UploadNotFoundError,
)
from holdfast.protocol.messages import Commit, CommitEntry, CommitResult, CommittedVersion
from holdfast.vault.catalog import content, files, uploads
from holdfast.vault.foundation import Foundation
from holdfast.vault.thinning import next_look


@dataclass(slots=True)
class Content:
    """What a manifest refers to, as rows of the catalog."""

    size_bytes: int = 0
    chunks: int = 0
    packs: set[int] = field(default_factory=set)
    """Those that hold its loose chunks."""
    segments: set[int] = field(default_factory=set)
    missing: set[bytes] = field(default_factory=set)
    """Chunks and segments that are not there, or damaged."""


@dataclass(slots=True)
class Resolved:
    """Several manifests, resolved together."""

    contents: list[Content]
    completed: dict[int, set[int]]
    """Segments that were found complete for the first time, with the packs of their chunks."""


def commit(ground: Foundation, user: str, upload_id: str, request: Commit) -> CommitResult:
    """See `Vault.commit`."""
    return ground.catalog.write(_commit, ground, user, upload_id, request)


def _commit(
    connection: Connection, ground: Foundation, user: str, upload_id: str, request: Commit
) -> CommitResult:
    fingerprint = content_digest(request.model_dump_json(include={"entries"}).encode())
    now = ground.clock()
    upload = uploads.need_upload(connection, upload_id, user=user)
    known = uploads.claim_key(connection, upload.run.id, request.key, fingerprint, now)
    if known is not None:
        if known[0] != fingerprint:
            raise IdempotencyError(
                "The commit's key was used for other entries.", details={"key": request.key}
            )
        return CommitResult.model_validate_json(known[1])
    if upload.expires_at <= now:
        raise UploadNotFoundError("The upload has expired; begin a new one.", details={"upload": upload_id})
    contents = _check_contents(connection, upload.run.domain_id, request.entries)
    result = _Publishing(connection, upload, user, now).publish(request.entries, contents)
    uploads.store_answer(connection, upload.run.id, request.key, result.model_dump_json())
    uploads.prolong(connection, upload, now=now, lease_s=ground.limits.lease_s)
    return result


# ---------------------------------------------------------------- content


def _check_contents(connection: Connection, domain_id: int, entries: Sequence[CommitEntry]) -> list[Content]:
    resolved = resolve(connection, domain_id, [entry.manifest for entry in entries])
    for entry, found in zip(entries, resolved.contents, strict=True):
        if found.size_bytes != entry.size:
            raise MalformedContentError(
                f"The manifest of {entry.name!r} adds up to {found.size_bytes} bytes, not {entry.size}."
            )
    missing = sorted(set().union(*(found.missing for found in resolved.contents)))
    if missing:
        raise ChunkMissingError(
            f"The vault lacks {len(missing)} of the chunks; put them and commit again.",
            details={"missing": [id_.hex() for id_ in missing]},
        )
    content.complete_segments(connection, resolved.completed)
    return resolved.contents


def resolve(connection: Connection, domain_id: int, manifests: Sequence[bytes]) -> Resolved:
    """Look up everything that some manifests refer to, in a few queries.

    Raises:
        MalformedContentError: A manifest is not one, or contradicts the chunks and segments that it names.
    """
    decoded = [decode_manifest(manifest) for manifest in manifests]
    segment_refs = {r.id: r for records in decoded for r in records if isinstance(r, SegmentRef)}
    segments, completed, lacking = _resolve_segments(connection, domain_id, segment_refs)
    loose = [r for records in decoded for r in records if isinstance(r, ChunkRef)]
    packs = _resolve_chunks(connection, domain_id, loose)
    contents = []
    for records in decoded:
        found = Content()
        for record in records:
            if isinstance(record, ChunkRef):
                found.chunks += 1
                found.size_bytes += record.raw_len
                _note(found.packs, found.missing, record.id, packs.get(record.id))
            else:
                found.chunks += record.chunks
                found.size_bytes += record.raw_bytes
                _note(found.segments, found.missing, record.id, segments.get(record.id))
                found.missing |= lacking.get(record.id, frozenset())
        contents.append(found)
    return Resolved(contents, completed)


def _note(present: set[int], missing: set[bytes], id_: bytes, row_id: int | None) -> None:
    if row_id is None:
        missing.add(id_)
    else:
        present.add(row_id)


def _resolve_chunks(connection: Connection, domain_id: int, refs: Iterable[ChunkRef]) -> dict[bytes, int]:
    """Return the pack of each chunk that is there."""
    lengths = {ref.id: ref.raw_len for ref in refs}
    ids = list(lengths)
    rows = [row for row in content.find_chunks(connection, domain_id, b"".join(ids)) if not row.damaged]
    live = content.live_packs(connection, {row.pack_id for row in rows})
    for row in rows:
        if row.raw_len != lengths[ids[row.at]]:
            raise MalformedContentError(
                f"The chunk {ids[row.at].hex()} has another length than the manifest says."
            )
    return {ids[row.at]: row.pack_id for row in rows if row.pack_id in live}


def _resolve_segments(
    connection: Connection, domain_id: int, refs: dict[bytes, SegmentRef]
) -> tuple[dict[bytes, int], dict[int, set[int]], dict[bytes, set[bytes]]]:
    """Return the row of each segment, what was completed just now, and which chunks each segment lacks.

    A segment that is complete needs no look at its chunks: the packs that hold them cannot go while it is referred to.
    """
    ids = list(refs)
    rows = content.find_segments(connection, domain_id, b"".join(ids))
    for row in rows:
        ref = refs[ids[row.at]]
        if (row.chunks, row.raw_bytes) != (ref.chunks, ref.raw_bytes):
            raise MalformedContentError(
                f"The segment {ref.id.hex()} is of another size than the manifest says."
            )
    fading = content.fading_segments(connection, [row.id for row in rows if row.is_complete])
    open_rows = {ids[row.at]: row.id for row in rows if not row.is_complete or row.id in fading}
    bodies = content.segment_refs(connection, domain_id, b"".join(open_rows))
    members = {id_: decode_refs(body) for id_, body in bodies.items()}
    packs = _resolve_chunks(connection, domain_id, (ref for body in members.values() for ref in body))
    completed, lacking = {}, {}
    for id_, chunks in members.items():
        lacks = {ref.id for ref in chunks if ref.id not in packs}
        if lacks:
            lacking[id_] = lacks
        else:
            completed[open_rows[id_]] = {packs[ref.id] for ref in chunks}
    return {ids[row.at]: row.id for row in rows}, completed, lacking


# ---------------------------------------------------------------- versions


class _Publishing:
    """Makes the versions of one commit."""

    def __init__(self, connection: Connection, upload: uploads.UploadRow, user: str, now: float) -> None:
        self._connection = connection
        self._upload = upload
        self._user = user
        self._now = now
        self._versions: list[dict[str, Any]] = []
        self._packs: list[tuple[int, int, int]] = []
        self._segments: list[tuple[int, int, int]] = []

    def publish(self, entries: Sequence[CommitEntry], contents: Sequence[Content]) -> CommitResult:
        states = files.lock_files(self._connection, self._upload.run.id, {entry.name for entry in entries})
        touched: dict[int, files.FileState] = {}
        answers = []
        for entry, found in zip(entries, contents, strict=True):
            state = states[entry.name]
            _check_base(entry, state)
            same = self._same_as(entry, state)
            if same is None:
                self._add(entry, found, state)
                touched[state.id] = state
            answers.append(
                CommittedVersion(name=entry.name, version=same or state.last_version, created=same is None)
            )
        files.insert_versions(self._connection, self._versions, self._packs, self._segments)
        files.move_heads(self._connection, list(touched.values()))
        return CommitResult(versions=answers)

    def _same_as(self, entry: CommitEntry, state: files.FileState) -> int | None:
        """Return the version that already has this content, if it is the newest that this attempt would follow."""
        if state.head is None:
            return None
        if self._leads(state):
            return state.head if (state.digest, state.size_bytes) == (entry.digest, entry.size) else None
        own = [v for v in self._versions if v["file_id"] == state.id]
        if own:
            last = own[-1]
            return (
                last["number"] if (last["digest"], last["size_bytes"]) == (entry.digest, entry.size) else None
            )
        row = files.newest_of_attempts(self._connection, state.id, self._upload.attempt)
        if row is not None and (bytes(row.digest), row.size_bytes) == (entry.digest, entry.size):
            return int(row.number)
        return None

    def _leads(self, state: files.FileState) -> bool:
        return state.head is None or self._upload.attempt >= state.attempt

    def _add(self, entry: CommitEntry, found: Content, state: files.FileState) -> None:
        state.last_version += 1
        number = state.last_version
        state.thin_at = next_look(state.thin_at, entry.splitter, entry.policy, self._now)
        if self._leads(state):
            state.head, state.attempt = number, self._upload.attempt
            state.digest, state.size_bytes = entry.digest, entry.size
        self._versions.append(
            {
                "file_id": state.id,
                "number": number,
                "domain_id": self._upload.run.domain_id,
                "attempt": self._upload.attempt,
                "size_bytes": entry.size,
                "digest": entry.digest,
                "chunks": found.chunks,
                "mode": entry.mode,
                "mtime_ns": entry.mtime_ns,
                "fidelity": entry.fidelity,
                "policy": entry.policy,
                "splitter": entry.splitter,
                "created_by": self._user,
                "created_at": self._now,
                "manifest": entry.manifest,
            }
        )
        self._packs += [(state.id, number, id_) for id_ in sorted(found.packs)]
        self._segments += [(state.id, number, id_) for id_ in sorted(found.segments)]


def _check_base(entry: CommitEntry, state: files.FileState) -> None:
    newest = state.head or 0
    if entry.base is not None and entry.base != newest:
        raise StaleBaseError(
            f"The newest version of {entry.name!r} is {newest}, not {entry.base}.",
            details={"name": entry.name, "base": entry.base, "newest": newest},
        )
