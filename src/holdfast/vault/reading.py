"""Reading: lists, manifests, places of chunks, and verified bytes.

**Invariants**

- A frame is checked before its first byte is handed out, by us or, where the query says so, by the caller; one that
  we find damaged is never served, and its chunk is unknown to `have` from then on, until someone puts it again.
- Only packs that a readable version of the run refers to are read.
- Memory is a few blocks, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from sqlalchemy import Connection

from holdfast.content.codecs import MAX_CHUNK_BYTES
from holdfast.content.manifests import (
    ChunkPlace,
    ChunkRef,
    SegmentRef,
    decode_manifest,
    decode_refs,
    encode_places,
    encode_refs,
)
from holdfast.content.packs import HEADER_BYTES, check_frame, iter_frames
from holdfast.errors import (
    CorruptContentError,
    MalformedContentError,
    NotFoundError,
    StoredFileNotFoundError,
    UsageError,
)
from holdfast.names import RunPath, check_file_name
from holdfast.patterns import Pattern
from holdfast.protocol.messages import (
    ChunkMap,
    FileInfo,
    FilePage,
    FileRef,
    LocateQuery,
    Manifest,
    PackRange,
    ReadQuery,
)
from holdfast.times import at_utc
from holdfast.vault.blobs import BlobSlice, read_out
from holdfast.vault.catalog import content, files, runs
from holdfast.vault.foundation import Foundation
from holdfast.vault.runs import check_limit

_MAX_PAGE = 10_000
_MAX_FRAME_BYTES = HEADER_BYTES + MAX_CHUNK_BYTES


# ---------------------------------------------------------------- lists


def list_files(
    ground: Foundation, path: RunPath, *, pattern: str | None, after: str | None, limit: int
) -> FilePage:
    """See `Vault.list_files`."""
    compiled = None if pattern is None else Pattern(pattern)
    return ground.catalog.read(_list_files, path, compiled, after, check_limit(limit, _MAX_PAGE))


def _list_files(
    connection: Connection, path: RunPath, pattern: Pattern | None, after: str | None, limit: int
) -> FilePage:
    run = runs.need_run(connection, path)
    names = _matching(connection, run.id, pattern, after, limit)
    found = [info(row) for row in islice(names, limit + 1)]
    return FilePage(files=found[:limit], next=found[limit - 1].name if len(found) > limit else None)


def _matching(
    connection: Connection, run_pk: int, pattern: Pattern | None, after: str | None, limit: int
) -> Iterator[files.VersionRow]:
    prefix = pattern.prefix if pattern else ""
    while True:
        rows = files.list_heads(connection, run_pk, prefix=prefix, after=after, limit=limit + 1)
        yield from (row for row in rows if pattern is None or pattern.matches(row.name))
        if len(rows) <= limit:
            return
        after = rows[-1].name


def get_files(ground: Foundation, path: RunPath, refs: Sequence[FileRef]) -> list[FileInfo]:
    """See `Vault.get_files`."""
    return ground.catalog.read(_get_files, path, refs)


def _get_files(connection: Connection, path: RunPath, refs: Sequence[FileRef]) -> list[FileInfo]:
    run = runs.need_run(connection, path)
    return [info(row) for row in find(connection, run.id, path, refs)]


def list_versions(ground: Foundation, path: RunPath, name: str) -> list[FileInfo]:
    """See `Vault.list_versions`."""
    return ground.catalog.read(_list_versions, path, check_file_name(name))


def _list_versions(connection: Connection, path: RunPath, name: str) -> list[FileInfo]:
    run = runs.need_run(connection, path)
    rows = files.versions_of(connection, run.id, name)
    if not rows:
        raise _absent(path, FileRef(name=name))
    return [info(row) for row in rows]


def info(row: files.VersionRow) -> FileInfo:
    """Return a version's row as a message."""
    return FileInfo(
        name=row.name,
        version=row.number,
        size=row.size_bytes,
        digest=bytes(row.digest),
        mode=row.mode,
        mtime_ns=row.mtime_ns,
        created_at=row.created_at,
        fidelity=row.fidelity,
        policy=row.policy,
        splitter=row.splitter,
        attempt=row.attempt,
        pinned=bool(row.pinned),
    )


def find(
    connection: Connection,
    run_pk: int,
    path: RunPath,
    refs: Sequence[FileRef],
    *,
    with_manifest: bool = False,
) -> list[files.VersionRow]:
    """Return the rows of versions, in the order asked for. Raises `StoredFileNotFoundError`."""
    heads = files.find_heads(connection, run_pk, {ref.name for ref in refs}, with_manifest=with_manifest)
    found = []
    for ref in refs:
        row = heads.get(ref.name)
        number = ref.version
        if row is not None and number is None and ref.at is not None:
            then = files.version_as_of(connection, run_pk, ref.name, ref.at)
            number = 0 if then is None else then.number
        if row is not None and number not in (None, row.number):
            row = files.find_version(connection, run_pk, ref.name, number, with_manifest=with_manifest)
        if row is None:
            raise _absent(path, ref)
        found.append(row)
    return found


def _absent(path: RunPath, ref: FileRef) -> StoredFileNotFoundError:
    which = f"a file {ref.name!r}" if ref.version is None else f"version {ref.version} of a file {ref.name!r}"
    if ref.version is None and ref.at is not None:
        which += f" as of {at_utc(ref.at):%Y-%m-%d %H:%M:%S} UTC"
    return StoredFileNotFoundError(
        f"The run {path} has not {which}.",
        hint=None
        if (ref.version, ref.at) == (None, None)
        else f"`holdfast versions {path} {ref.name}` lists those it has.",
        details={"run": str(path), "name": ref.name, "version": ref.version, "at": ref.at},
    )


# ---------------------------------------------------------------- chunks


def manifest(ground: Foundation, path: RunPath, ref: FileRef) -> Manifest:
    """See `Vault.manifest`."""
    return ground.catalog.read(_manifest, path, ref)


def _manifest(connection: Connection, path: RunPath, ref: FileRef) -> Manifest:
    run = runs.need_run(connection, path)
    [row] = find(connection, run.id, path, [ref], with_manifest=True)
    [refs] = _expand(connection, run.domain_id, [bytes(row.manifest)])
    return Manifest(info=info(row), domain_key=run.domain_key, refs=encode_refs(refs))


def _expand(connection: Connection, domain_id: int, manifests: Sequence[bytes]) -> list[list[ChunkRef]]:
    """Return the chunks of each manifest, its segments replaced by their members."""
    decoded = [decode_manifest(data) for data in manifests]
    wanted = {r.id for records in decoded for r in records if isinstance(r, SegmentRef)}
    bodies = content.segment_refs(connection, domain_id, b"".join(wanted))
    expanded = []
    for records in decoded:
        refs: list[ChunkRef] = []
        for record in records:
            if isinstance(record, ChunkRef):
                refs.append(record)
            else:
                refs += decode_refs(bodies[record.id])
        expanded.append(refs)
    return expanded


def locate(ground: Foundation, path: RunPath, query: LocateQuery) -> ChunkMap:
    """See `Vault.locate`."""
    if query.start < 0:
        raise UsageError("`start` cannot be negative.")
    return ground.catalog.read(_locate, path, query, ground.limits.locate_max)


def _locate(connection: Connection, path: RunPath, query: LocateQuery, most: int) -> ChunkMap:
    run = runs.need_run(connection, path)
    rows = find(connection, run.id, path, query.refs, with_manifest=True)
    total = sum(row.chunks for row in rows)
    end = min(query.start + most, total)
    refs = _slice(connection, run.domain_id, rows, query.start, end)
    packs, places = _places(connection, run.domain_id, refs)
    return ChunkMap(
        files=[info(row) for row in rows],
        domain_key=run.domain_key,
        packs=packs,
        chunks=encode_places(places),
        next=end if end < total else None,
    )


def _slice(
    connection: Connection, domain_id: int, rows: Sequence[files.VersionRow], start: int, end: int
) -> list[ChunkRef]:
    """Return a slice of the concatenated chunk lists, expanding only the versions that it touches."""
    touched: list[bytes] = []
    first = at = 0
    for row in rows:
        if at < end and at + row.chunks > start:
            first = first if touched else at
            touched.append(bytes(row.manifest))
        at += row.chunks
    expanded = _expand(connection, domain_id, touched)
    return [ref for refs in expanded for ref in refs][start - first : end - first]


def _places(
    connection: Connection, domain_id: int, refs: Sequence[ChunkRef]
) -> tuple[list[str], list[ChunkPlace]]:
    ids = list({ref.id: None for ref in refs})
    where = {ids[row.at]: row for row in content.find_chunks(connection, domain_id, b"".join(ids))}
    lost = next((ref.id for ref in refs if ref.id not in where), None)
    if lost is not None:
        raise CorruptContentError(f"The catalog lost the chunk {lost.hex()}.", details={"chunk": lost.hex()})
    pack_ids = list({where[ref.id].pack_id: None for ref in refs})
    names = content.packs_by_id(connection, pack_ids)
    index = {id_: at for at, id_ in enumerate(pack_ids)}
    places = []
    for ref in refs:
        row = where[ref.id]
        places.append(
            ChunkPlace(ref.id, ref.raw_len, index[row.pack_id], row.start, HEADER_BYTES + row.stored_len)
        )
    return [names[id_].name for id_ in pack_ids], places


# ---------------------------------------------------------------- bytes


def read(ground: Foundation, path: RunPath, query: ReadQuery) -> Iterator[bytes | memoryview]:
    """See `Vault.read`."""
    return read_out(pieces(ground, path, query), ground.blobs.read_bytes)


def pieces(ground: Foundation, path: RunPath, query: ReadQuery) -> Iterator[memoryview | BlobSlice]:
    """Yield what `Vault.read` yields; what need not be checked, as slices where the store has such.

    A slice is open until the next piece is asked for.
    """
    reader = ground.catalog.read(_open_reader, ground, path, {each.pack for each in query.ranges})
    return reader.read(query.ranges, is_checked=query.is_checked)


def _open_reader(connection: Connection, ground: Foundation, path: RunPath, packs: set[str]) -> _Reader:
    run = runs.need_run(connection, path)
    found = files.readable_packs(connection, run.id, run.domain_id, packs)
    for name in packs:
        if name not in found:
            raise StoredFileNotFoundError(
                f"The run {path} refers to no pack {name}.", details={"run": str(path), "pack": name}
            )
    return _Reader(ground, run, found)


class _Reader:
    """Reads ranges of packs that the caller may read."""

    def __init__(self, ground: Foundation, run: runs.RunKey, packs: dict[str, tuple[int, str]]) -> None:
        self._ground = ground
        self._run = run
        self._packs = packs

    def read(self, ranges: Sequence[PackRange], *, is_checked: bool) -> Iterator[memoryview | BlobSlice]:
        for each in ranges:
            part = None if is_checked else self._slice(each)
            if part is None:
                yield from self._read_range(each)
                continue
            try:
                yield part
            finally:
                part.close()

    def _slice(self, each: PackRange) -> BlobSlice | None:
        return self._ground.blobs.slice(self._packs[each.pack][1], each.offset, each.length)

    def _read_range(self, each: PackRange) -> Iterator[memoryview]:
        at, end = each.offset, each.offset + each.length
        while at < end:
            block = self._block(each, at, min(self._ground.blobs.read_bytes, end - at))
            cuts = self._check(block)
            if not cuts and len(block) < min(_MAX_FRAME_BYTES, end - at):
                block = self._block(each, at, min(_MAX_FRAME_BYTES, end - at))
                cuts = self._check(block)
            if not cuts:
                raise self._corrupt(each, at)
            yield memoryview(block)[: cuts[-1]]
            at += cuts[-1]

    def _block(self, each: PackRange, at: int, length: int) -> bytes:
        try:
            block = self._ground.blobs.read(self._packs[each.pack][1], at, length)
        except NotFoundError as exc:
            raise self._corrupt(each, at) from exc
        return block

    def _check(self, block: bytes) -> list[int]:
        """Return where the good whole frames at the start of a block end."""
        view = memoryview(block)
        cuts: list[int] = []
        try:
            for entry, _ in iter_frames(view):
                end = entry.offset + entry.frame_len
                check_frame(self._run.domain_key, view[entry.offset : end])
                cuts.append(end)
        except (MalformedContentError, CorruptContentError):
            pass
        return cuts

    def _corrupt(self, each: PackRange, at: int) -> CorruptContentError:
        """Find out which chunk is damaged, mark it, and name the files that have it."""
        pack_id = self._packs[each.pack][0]
        bad = self._damaged(each, at)
        names: list[str] = []
        if bad:
            self._ground.catalog.write(content.mark_damaged, self._run.domain_id, pack_id, bad)
            names = self._ground.catalog.read(_files_with, self._run, pack_id, set(bad))
        of = f" of {', '.join(map(repr, names))}" if names else ""
        return CorruptContentError(
            f"Stored bytes{of} are damaged: pack {each.pack}, at byte {at}.",
            hint="Save the file again from an intact copy: that heals it.",
            details={"files": names, "pack": each.pack, "offset": at, "chunks": [id_.hex() for id_ in bad]},
        )

    def _damaged(self, each: PackRange, at: int) -> list[bytes]:
        """Return the chunks in the rest of a range whose frames are damaged."""
        name = self._packs[each.pack][1]
        rows = self._ground.catalog.read(
            content.chunks_within,
            self._run.domain_id,
            self._packs[each.pack][0],
            at,
            each.offset + each.length,
        )
        bad = []
        for id_, start, stored_len in rows:
            try:
                frame = self._ground.blobs.read(name, start, HEADER_BYTES + stored_len)
                entry = check_frame(self._run.domain_key, frame)
            except (CorruptContentError, NotFoundError):
                bad.append(id_)
            else:
                if entry.id != id_:
                    bad.append(id_)
        return bad


def _files_with(connection: Connection, run: runs.RunKey, pack_id: int, ids: set[bytes]) -> list[str]:
    rows = files.versions_in_pack(connection, run.id, pack_id)
    expanded = _expand(connection, run.domain_id, [bytes(row.manifest) for row in rows])
    return sorted(
        {row.name for row, refs in zip(rows, expanded, strict=True) if any(r.id in ids for r in refs)}
    )
