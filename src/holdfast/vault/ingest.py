"""Uploads: begin, have and put. Publishing is in `commits`.

**Invariants**

- A chunk row is written only after its pack is durable and every frame in it was verified.
- What `have` answers yes to is pinned for the upload in the same transaction.
- A pack's blob has a name of its own for each attempt to write it, so that two writers of one pack never meet: the
  catalog decides which blob counts, and the other is removed. A crash between the two leaves a blob that nothing refers
  to, which garbage collection finds by listing.
"""

from __future__ import annotations

import re
import secrets
import struct
from collections.abc import Collection, Sequence
from contextlib import suppress

from sqlalchemy import Connection

from holdfast.content.hashing import ID_BYTES, Bytes, content_digest
from holdfast.content.packs import FrameEntry, PackParser
from holdfast.errors import HoldfastError, PackConflictError, RunNotFoundError, UsageError
from holdfast.names import RunPath
from holdfast.protocol.messages import ContentAnswer, ContentQuery, PackReceipt, Upload
from holdfast.vault.catalog import content, files, runs, uploads
from holdfast.vault.catalog.schema import PackState
from holdfast.vault.commits import resolve
from holdfast.vault.foundation import Foundation

_PACK_ID = re.compile(r"[0-9a-z]{26,64}\Z")
_FINGERPRINT = struct.Struct("<32sIIIBB")


def begin(ground: Foundation, user: str, path: RunPath, attempt: str | None) -> Upload:
    """See `Vault.begin`."""
    ground.space.check()
    return ground.catalog.write(_begin, ground, user, path, attempt)


def _begin(
    connection: Connection, ground: Foundation, user: str, path: RunPath, attempt: str | None
) -> Upload:
    run = runs.need_run(connection, path)
    now, lease_s = ground.clock(), ground.limits.lease_s
    if attempt is None:
        round_ = runs.last_round(connection, run.id)
    else:
        found = runs.attempt_round(connection, run.id, attempt)
        if found is None:
            raise RunNotFoundError(
                f"The run {path} was not opened by this attempt.", details={"run": str(path)}
            )
        round_ = found
    uploads.forget_expired(connection, now=now, memory_s=ground.limits.commit_memory_s)
    name = secrets.token_hex(16)
    uploads.insert_upload(
        connection, name=name, run_pk=run.id, attempt=round_, user=user, now=now, lease_s=lease_s
    )
    return Upload(
        upload_id=name,
        domain_key=run.domain_key,
        pack_bytes=ground.limits.pack_bytes,
        have_max=ground.limits.have_max,
        expires_at=now + lease_s,
    )


# ---------------------------------------------------------------- have


def have(ground: Foundation, user: str, upload_id: str, ids: bytes) -> bytes:
    """See `Vault.have`."""
    if len(ids) % ID_BYTES or len(ids) > ground.limits.have_max * ID_BYTES:
        raise UsageError(f"`have` takes up to {ground.limits.have_max} ids of {ID_BYTES} bytes.")
    return ground.catalog.write(_have, ground, user, upload_id, ids)


def _have(connection: Connection, ground: Foundation, user: str, upload_id: str, ids: bytes) -> bytes:
    now = ground.clock()
    upload = uploads.need_upload(connection, upload_id, user=user, now=now)
    domain_id = upload.run.domain_id
    chunks = [row for row in content.find_chunks(connection, domain_id, ids) if not row.damaged]
    live = content.live_packs(connection, {row.pack_id for row in chunks})
    known = {row.at for row in chunks if row.pack_id in live}
    absent = [index for index in range(len(ids) // ID_BYTES) if index not in known]
    segments, packs = _have_segments(connection, domain_id, ids, absent)
    uploads.pin_packs(connection, upload.id, live | packs)
    uploads.prolong(connection, upload, now=now, lease_s=ground.limits.lease_s)
    return _bitmap(len(ids) // ID_BYTES, known | segments)


def _have_segments(
    connection: Connection, domain_id: int, ids: bytes, absent: Sequence[int]
) -> tuple[set[int], set[int]]:
    """Return which of the absent ids are segments whose chunks are all there, and the packs that hold these."""
    asked = b"".join([ids[index * ID_BYTES : (index + 1) * ID_BYTES] for index in absent])
    rows = [row for row in content.find_segments(connection, domain_id, asked) if row.is_complete]
    fading = content.fading_segments(connection, [row.id for row in rows])
    whole = [row for row in rows if row.id not in fading]
    packs = content.packs_of_segments(connection, [row.id for row in whole])
    return {absent[row.at] for row in whole}, packs


def _bitmap(count: int, indexes: Collection[int]) -> bytes:
    bits = bytearray((count + 7) // 8)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)


def have_contents(ground: Foundation, user: str, upload_id: str, query: ContentQuery) -> ContentAnswer:
    """See `Vault.have_contents`."""
    return ground.catalog.write(_have_contents, ground, user, upload_id, query)


def _have_contents(
    connection: Connection, ground: Foundation, user: str, upload_id: str, query: ContentQuery
) -> ContentAnswer:
    now = ground.clock()
    upload = uploads.need_upload(connection, upload_id, user=user, now=now)
    digests = {key.digest for key in query.keys}
    manifests = files.find_contents(connection, upload.run.domain_id, b"".join(digests))
    wanted = {key: manifests[key] for key in ((k.digest, k.size) for k in query.keys) if key in manifests}
    resolved = resolve(connection, upload.run.domain_id, list(wanted.values()))
    whole = {key for key, refs in zip(wanted, resolved.contents, strict=True) if not refs.missing}
    packs: set[int] = set()
    for refs in resolved.contents:
        if not refs.missing:
            packs |= refs.packs
            packs |= content.packs_of_segments(connection, refs.segments)
    uploads.pin_packs(connection, upload.id, packs)
    uploads.prolong(connection, upload, now=now, lease_s=ground.limits.lease_s)
    return ContentAnswer(
        manifests=[wanted[key] if key in whole else None for key in ((k.digest, k.size) for k in query.keys)]
    )


# ---------------------------------------------------------------- put


class PackWriter:
    """Stores one pack that arrives in pieces. Each call blocks; one thread at a time.

    Call `finish` or `abort` in the end; both leave nothing behind unless a receipt was returned.
    """

    def __init__(self, ground: Foundation, user: str, upload_id: str, pack_id: str) -> None:
        if not _PACK_ID.match(pack_id):
            raise UsageError(f"{pack_id!r} is not a pack id: 26 to 64 of the characters 0-9a-z.")
        ground.space.check()
        self._ground = ground
        self._user = user
        self._upload_id = upload_id
        self._pack_id = pack_id
        upload, is_known = ground.catalog.read(self._look)
        self._parser = PackParser(upload.run.domain_key)
        self._blob = f"{upload.run.domain_name}/{secrets.token_hex(8)}-{pack_id}"
        self._writer = None if is_known else ground.blobs.create(self._blob)
        self._size = 0

    def _look(self, connection: Connection) -> tuple[uploads.UploadRow, bool]:
        now = self._ground.clock()
        upload = uploads.need_upload(connection, self._upload_id, user=self._user, now=now)
        return upload, content.find_pack(connection, upload.run.domain_id, self._pack_id) is not None

    def feed(self, data: Bytes) -> None:
        """Take the next bytes; they may change once it returns.

        Raises:
            MalformedContentError: Not a pack, or a frame does not match its id.
            VaultFullError: The disk is full.
        """
        self.feed_all([data])

    def feed_all(self, pieces: Sequence[Bytes]) -> None:
        """Take several pieces as `feed` takes one, with fewer calls to the disk."""
        try:
            for piece in pieces:
                self._parser.feed(piece)
                self._size += len(piece)
            if self._writer is not None:
                self._writer.write(pieces)
        except BaseException:
            self.abort()
            raise

    def finish(self) -> PackReceipt:
        """Make the pack durable and known, pinned for the upload.

        Raises:
            MalformedContentError: The pack is cut.
            PackConflictError: The id was used for other bytes.
            UploadNotFoundError: The upload expired meanwhile.
            VaultFullError: The disk is full.
        """
        try:
            entries = self._parser.finish()
            if self._writer is not None:
                self._writer.commit()
            receipt, is_ours = self._ground.catalog.write(self._record, entries)
        except BaseException:
            self.abort()
            self._forget_blob()
            raise
        if not is_ours:
            self._forget_blob()
        return receipt

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.abort()

    def _forget_blob(self) -> None:
        if self._writer is not None:
            with suppress(HoldfastError):
                self._ground.blobs.delete(self._blob)

    def _record(self, connection: Connection, entries: list[FrameEntry]) -> tuple[PackReceipt, bool]:
        """Write the rows unless the pack has them; tell whether this writer's blob is the one that counts."""
        now = self._ground.clock()
        upload = uploads.need_upload(connection, self._upload_id, user=self._user, now=now)
        fingerprint = _fingerprint(entries)
        known = content.find_pack(connection, upload.run.domain_id, self._pack_id)
        if known is None:
            if self._writer is None:
                raise PackConflictError(f"The pack {self._pack_id} was removed meanwhile; use another id.")
            pack_pk = content.insert_pack(
                connection,
                domain_id=upload.run.domain_id,
                name=self._pack_id,
                blob=self._blob,
                size_bytes=self._size,
                fingerprint=fingerprint,
                entries=entries,
                segments=self._parser.segments,
                now=now,
            )
        elif known.state != PackState.LIVE or bytes(known.fingerprint) != fingerprint:
            raise PackConflictError(
                f"The pack id {self._pack_id} was used for other bytes.", details={"pack": self._pack_id}
            )
        else:
            pack_pk = known.id
        uploads.pin_packs(connection, upload.id, [pack_pk])
        uploads.prolong(connection, upload, now=now, lease_s=self._ground.limits.lease_s)
        receipt = PackReceipt(pack_id=self._pack_id, chunks=len(entries), size_bytes=self._size)
        return receipt, known is None


def _fingerprint(entries: Sequence[FrameEntry]) -> bytes:
    """Return a hash of the table: two packs with the same one hold the same chunks at the same places."""
    return content_digest(
        b"".join(
            [_FINGERPRINT.pack(e.id, e.offset, e.stored_len, e.raw_len, e.codec, e.kind) for e in entries]
        )
    )
