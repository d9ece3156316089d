"""The steps from bytes in memory to a version that only lacks its commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.content.hashing import chunk_id
from holdfast.content.packs import Kind
from holdfast.content.pieces import Piece
from holdfast.protocol.messages import CommitEntry
from holdfast.sync.packing import Chunk, Packer
from holdfast.sync.prefix import Grown
from holdfast.sync.reader import Reading
from holdfast.sync.session import Session
from holdfast.sync.windows import Window


@dataclass(frozen=True, slots=True)
class Ready:
    """A version that lacks nothing but its commit; its reading is closed."""

    reading: Reading
    entry: CommitEntry
    grown: Grown | None = None
    """What to remember of a file that grows, once the version is there."""


def make_entry(reading: Reading, digest: bytes, manifest: bytes, splitter: str) -> CommitEntry:
    """Return the entry that publishes what was read."""
    return CommitEntry(
        name=reading.job.name,
        size=reading.size,
        digest=digest,
        manifest=manifest,
        splitter=splitter,
        mode=reading.info.st_mode & 0o7777,
        mtime_ns=reading.info.st_mtime_ns,
        fidelity=reading.fidelity,
        policy=reading.job.policy,
    )


def hash_pieces(domain_key: bytes, pieces: Sequence[Piece], data: memoryview) -> list[Chunk]:
    """Return the pieces that ``data`` begins with as chunks; their bytes are not copied."""
    chunks = []
    begin = 0
    for piece in pieces:
        view = data[begin : begin + piece.length]
        chunks.append(Chunk(piece.id or chunk_id(domain_key, view), view, piece.word))
        begin += piece.length
    return chunks


def pack_missing(
    session: Session, packer: Packer, chunks: Sequence[Chunk], window: Window, span: int
) -> None:
    """Ask for the chunks of a window, of which ``span`` bytes are in use, and pack those that the vault lacks."""
    held = session.have([chunk.id for chunk in chunks])
    packer.note_held(sum(len(chunk.data) for chunk in chunks if chunk.id in held))
    packer.add([chunk for chunk in chunks if chunk.id not in held], window, span)


def pack_segments(session: Session, packer: Packer, bodies: Mapping[bytes, bytes], *, ask: bool) -> None:
    """Pack the segments of a manifest; ``ask`` first whether the vault has them."""
    held = session.have(list(bodies)) if ask and bodies else ()
    packer.add([Chunk(id_, body, kind=Kind.SEGMENT) for id_, body in bodies.items() if id_ not in held])
