"""Small files side by side in one window: asked for, packed and published together."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.content.hashing import content_digest
from holdfast.content.manifests import ChunkRef, ManifestBuilder
from holdfast.content.pieces import ReadAt
from holdfast.content.splitters import choose_splitter
from holdfast.protocol.messages import ContentKey
from holdfast.sync.packing import Chunk, Packer
from holdfast.sync.reader import Reading
from holdfast.sync.session import Session
from holdfast.sync.versions import Ready, hash_pieces, make_entry, pack_missing, pack_segments
from holdfast.sync.windows import WINDOW_BYTES, Window


def reads_from(data: memoryview) -> ReadAt:
    """Return a `ReadAt` over a content that is in memory."""
    return lambda offset, length: bytes(data[offset : offset + length])


class _Member:
    """One file of a batch."""

    def __init__(self, reading: Reading, data: memoryview) -> None:
        self.reading = reading
        self.data = data
        self.digest = content_digest(data)
        self.splitter = choose_splitter(len(data), reads_from(data))
        self.manifest: bytes | None = None
        self.chunks: list[Chunk] = []

    def cut(self, domain_key: bytes) -> None:
        pieces = self.splitter.cut(self.data, offset=0, final=True)
        self.chunks = hash_pieces(domain_key, pieces, self.data)

    def fold(self, domain_key: bytes) -> dict[bytes, bytes]:
        """Make the manifest; return the segments that go with it."""
        builder = ManifestBuilder(domain_key)
        builder.extend(ChunkRef(chunk.id, len(chunk.data)) for chunk in self.chunks)
        self.manifest, segments = builder.finish()
        return segments

    def ready(self) -> Ready:
        assert self.manifest is not None
        return Ready(self.reading, make_entry(self.reading, self.digest, self.manifest, self.splitter.name))


class Batch:
    """Files that were read whole into one window.

    Args:
        window: Belongs to the batch; whoever calls `store` releases it afterwards.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self._used = 0
        self._readings: list[tuple[Reading, memoryview]] = []

    def __len__(self) -> int:
        return len(self._readings)

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes are free."""
        return self._used + size <= WINDOW_BYTES

    def room(self, size: int) -> memoryview:
        """Return where to read the next file to."""
        return self.window.view[self._used : self._used + size]

    def keep(self, reading: Reading, data: memoryview) -> None:
        """Add the file whose content was read to that room."""
        self._readings.append((reading, data))
        self._used += len(data)

    def store(self, session: Session, packer: Packer) -> list[Ready]:
        """Pack what the vault lacks and return the versions in order; does not wait for the packs."""
        members = [_Member(reading, data) for reading, data in self._readings]
        _find_known(session, members)
        unknown = [member for member in members if member.manifest is None]
        packer.note_held(sum(len(member.data) for member in members if member.manifest is not None))
        domain_key = session.upload.domain_key
        for member in unknown:
            member.cut(domain_key)
        chunks = [chunk for member in unknown for chunk in member.chunks]
        if chunks:
            pack_missing(session, packer, chunks, self.window, self._used)
        for member in unknown:
            pack_segments(session, packer, member.fold(domain_key), ask=False)
        return [member.ready() for member in members]


def _find_known(session: Session, members: Sequence[_Member]) -> None:
    """Give each member the manifest of its content where the vault has that; an empty content needs no question."""
    keys = list(dict.fromkeys((member.digest, len(member.data)) for member in members if len(member.data)))
    if not keys:
        return
    answers = session.have_contents([ContentKey(digest=digest, size=size) for digest, size in keys])
    known = dict(zip(keys, answers, strict=True))
    for member in members:
        member.manifest = known.get((member.digest, len(member.data)))
