"""A file that is read window by window: a large one, or the new part of one that grows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from holdfast.content.hashing import ContentHasher
from holdfast.content.manifests import ChunkRef, ManifestBuilder, encode_manifest
from holdfast.content.pieces import Piece, Splitter
from holdfast.sync.jobs import ReadRule
from holdfast.sync.packing import Packer
from holdfast.sync.prefix import Grown, keep_small, tail_of
from holdfast.sync.reader import Reading
from holdfast.sync.session import Session
from holdfast.sync.versions import Ready, hash_pieces, make_entry, pack_missing, pack_segments
from holdfast.sync.windows import HEADROOM_BYTES, WINDOW_BYTES, Window, WindowPool


@dataclass(frozen=True, slots=True)
class Part:
    """The next bytes of a stream, cut. Whoever gets it holds the window."""

    window: Window
    data: memoryview
    pieces: Sequence[Piece]

    def store(self, session: Session, packer: Packer, *, ask: bool) -> list[ChunkRef]:
        """Pack what the vault lacks and return the chunks; does not wait for the packs."""
        chunks = hash_pieces(session.upload.domain_key, self.pieces, self.data)
        if ask:
            pack_missing(session, packer, chunks, self.window, len(self.data))
        else:
            packer.add(chunks, self.window, len(self.data))
        return [ChunkRef(chunk.id, len(chunk.data)) for chunk in chunks]


class Stream:
    """Reads a file in parts and becomes a version.

    Args:
        reading: Open until `parts` is exhausted.
        splitter: Places the cuts.
        base: What is stored of the file already; reading begins behind it.
        domain_key: The key of the dedup domain.
    """

    def __init__(self, reading: Reading, splitter: Splitter, base: Grown, domain_key: bytes) -> None:
        self.reading = reading
        self.hasher: ContentHasher = base.hasher.copy()
        self._splitter = splitter
        self._base = base
        self._builder: ManifestBuilder = base.builder(domain_key)
        self._tail = base.tail

    def parts(self, pool: WindowPool, ahead: Executor) -> Generator[Part, None, None]:
        """Yield the parts, in order; each reaches as far as the cuts are certain.

        Args:
            pool: Where windows come from.
            ahead: Reads the next window while one is cut. Close the iterator before the reading.

        Raises:
            LocalFileError: The disk failed.
        """
        offset = read_to = self._base.size
        rest = memoryview(b"")
        last: Window | None = None
        coming = self._read(pool, ahead, read_to)
        try:
            while coming is not None:
                window, count = coming.result()
                read_to += count
                coming = self._read(pool, ahead, read_to)
                data = window.view[HEADROOM_BYTES - len(rest) : HEADROOM_BYTES + count]
                data[: len(rest)] = rest
                if last is not None:
                    last.release()
                pieces = self._splitter.cut(data, offset=offset, final=coming is None)
                cut = sum(piece.length for piece in pieces)
                rest = data[cut:]
                offset += cut
                window.hold()
                last = window
                if self.reading.rule is ReadRule.PREFIX:
                    self._tail = tail_of(self._tail, data[:cut])
                yield Part(window, data[:cut], pieces)
        finally:
            if coming is not None:
                wait([coming])
        if last is not None:
            last.release()

    def _read(self, pool: WindowPool, ahead: Executor, offset: int) -> Future[tuple[Window, int]] | None:
        wanted = min(WINDOW_BYTES, self.reading.size - offset)
        if wanted <= 0:
            return None

        def read() -> tuple[Window, int]:
            window = pool.take()
            return window, self.reading.fill(window.view[HEADROOM_BYTES:][:wanted], offset)

        return ahead.submit(read)

    def absorb(self, refs: Sequence[ChunkRef]) -> None:
        """Take the chunks of the next part."""
        self._builder.extend(refs)

    def seal(self, session: Session, packer: Packer, digest: bytes, *, ask: bool) -> Ready:
        """Pack the manifest's segments and return the version, after all parts were absorbed and hashed."""
        records, bodies = self._builder.fold()
        pack_segments(session, packer, bodies, ask=ask)
        packer.note_held(self._base.size)
        entry = make_entry(self.reading, digest, encode_manifest(records), self._splitter.name)
        if self.reading.rule is not ReadRule.PREFIX:
            return Ready(self.reading, entry)
        grown = Grown(
            ino=self.reading.info.st_ino,
            size=self.reading.size,
            version=0,
            digest=digest,
            tail=self._tail,
            hasher=self.hasher,
            records=records,
            small_segments=keep_small(records, bodies, self._base.small_segments),
        )
        return Ready(self.reading, entry, grown)
