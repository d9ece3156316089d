"""Files that grow: what is known of the part that is stored, so that only what is new is read and sent.

**How it works.** After each version its chunks, the state of its hash, its size and its last 64 KiB are kept in
memory. The next reading compares inode, size and those 64 KiB, and goes on from there. After a restart the same
is rebuilt from the vault's manifest, once the local beginning of the file was hashed and found equal.

**Invariants.** A version made this way has the digest of all its bytes as they were read. Where the stored part is not
the beginning of the file any more, nothing is stored by this rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from holdfast.content.formats import last_record_end
from holdfast.content.hashing import Bytes, ContentHasher
from holdfast.content.manifests import (
    MAX_CHUNK_RECORDS,
    ManifestBuilder,
    Record,
    SegmentRef,
    decode_refs,
)
from holdfast.errors import StoredFileNotFoundError
from holdfast.protocol.messages import FileInfo, FileRef
from holdfast.sync.reader import Reading
from holdfast.sync.session import Session

TAIL_BYTES = 64 << 10
_STEP_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Grown:
    """The stored beginning of a file that grows."""

    ino: int
    size: int
    version: int
    digest: bytes
    tail: bytes
    """The last `TAIL_BYTES` of it, as they were hashed."""
    hasher: ContentHasher
    """Has seen all of it; copy it before use."""
    records: Sequence[Record] = ()
    small_segments: Mapping[bytes, bytes] = field(default_factory=dict)
    """Bodies of the small segments among the records, which are still to be merged into larger ones."""

    def builder(self, domain_key: bytes) -> ManifestBuilder:
        """Return a builder that goes on from here."""
        known = {id_: decode_refs(body) for id_, body in self.small_segments.items()}
        builder = ManifestBuilder(domain_key, known=known)
        builder.extend(self.records)
        return builder


NOTHING = Grown(ino=0, size=0, version=0, digest=b"", tail=b"", hasher=ContentHasher())


def keep_small(
    records: Sequence[Record], bodies: Mapping[bytes, bytes], earlier: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """Return the bodies of the small segments among the records, out of the new and the earlier ones."""
    found = {}
    for record in records:
        if isinstance(record, SegmentRef) and record.chunks <= MAX_CHUNK_RECORDS:
            body = bodies.get(record.id) or earlier.get(record.id)
            if body is not None:
                found[record.id] = body
    return found


class Prefixes:
    """What is stored of each file that grows. Not for use from several threads.

    Args:
        session: The vault, to rebuild from what it has.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, Grown] = {}

    def remember(self, name: str, grown: Grown, version: int) -> None:
        """Keep what is now stored of a file, as this version."""
        self._known[name] = replace(grown, version=version)

    def forget(self, name: str) -> None:
        """Keep nothing of a file; the vault is asked the next time."""
        self._known.pop(name, None)

    def stored_part(self, reading: Reading) -> Grown | None:
        """Return what is stored of the file (`NOTHING` at first), or None if it does not begin like that any more."""
        name = reading.job.name
        known = self._known.get(name)
        if known is None:
            known = self._rebuild(reading)
        elif not _goes_on(known, reading):
            known = None
        if known is None:
            self.forget(name)
        elif known is not NOTHING:
            self._known[name] = known
        return known

    def _rebuild(self, reading: Reading) -> Grown | None:
        try:
            manifest = self._session.vault.manifest(self._session.run, FileRef(name=reading.job.name))
        except StoredFileNotFoundError:
            return NOTHING
        info: FileInfo = manifest.info
        if info.size > reading.size:
            return None
        hasher, tail = ContentHasher(), b""
        for offset in range(0, info.size, _STEP_BYTES):
            data = reading.read_at(offset, min(_STEP_BYTES, info.size - offset))
            hasher.update(data)
            tail = tail_of(tail, data)
        if hasher.digest() != info.digest:
            return None
        builder = ManifestBuilder(manifest.domain_key)
        builder.extend(decode_refs(manifest.refs))
        records, bodies = builder.fold()
        return Grown(
            ino=reading.info.st_ino,
            size=info.size,
            version=info.version,
            digest=info.digest,
            tail=tail,
            hasher=hasher,
            records=records,
            small_segments=keep_small(records, bodies, {}),
        )


def _goes_on(known: Grown, reading: Reading) -> bool:
    if reading.info.st_ino != known.ino or reading.size < known.size:
        return False
    length = len(known.tail)
    return reading.read_at(known.size - length, length) == known.tail


def tail_of(tail: bytes, data: Bytes) -> bytes:
    """Return the last `TAIL_BYTES` of a content that ended in ``tail`` and goes on with ``data``."""
    new = bytes(data[-TAIL_BYTES:])
    return (tail + new)[-TAIL_BYTES:]


def whole_records_end(reading: Reading, start: int, step_bytes: int) -> int:
    """Return where the last whole record ends between ``start``, which is a record's begin, and the reading's size.

    Looks through the file in steps; a record longer than a step ends the search.
    """
    end = start
    while end < reading.size:
        data = reading.read_at(end, min(step_bytes, reading.size - end))
        whole = last_record_end(reading.job.name, data)
        end += whole
        if whole == 0 or end + len(data) - whole >= reading.size:
            break
    return end
