"""The plain bytes of a stored file, verified chunk by chunk before they are handed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.content.hashing import ContentHasher
from holdfast.content.manifests import ChunkPlace, decode_places
from holdfast.content.packs import FrameReader, open_frame
from holdfast.errors import CorruptContentError, VaultUnavailableError
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef, LocateQuery, PackRange, ReadQuery
from holdfast.protocol.vault import Vault

_READ_BYTES = 64 << 20


def iter_content(
    vault: Vault, run: RunPath, info: FileInfo, start: int = 0, stop: int | None = None
) -> Iterator[bytes | memoryview]:
    """Yield the bytes ``start`` to ``stop`` of a version.

    Each chunk is verified before a byte of it is yielded; when the whole file is read, its hash is checked before the
    last chunk is. A stream that is cut goes on where it stopped, as long as each attempt brings something.

    Args:
        vault: Where it is.
        run: The run of the file.
        info: The version, as the vault gave it.
        start: The first byte.
        stop: The byte after the last; None: the end of the file.

    Raises:
        CorruptContentError: What is stored is damaged, or does not have the recorded hash.
        VaultUnavailableError: The vault cannot be reached.
    """
    stop = info.size if stop is None else min(stop, info.size)
    if start >= stop:
        return
    whole = ContentHasher() if (start, stop) == (0, info.size) else None
    at = start
    for position, data in _chunks(vault, run, info, start, stop):
        if position > at:
            break
        if whole is not None:
            whole.update(data)
            if position + len(data) == stop and whole.digest() != info.digest:
                raise CorruptContentError(
                    f"The content of {info.name!r} version {info.version} has another hash."
                )
        yield memoryview(data)[at - position : stop - position]
        at = min(position + len(data), stop)
    if at != stop:
        raise CorruptContentError(
            f"The chunks of {info.name!r} version {info.version} do not make up the file."
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A chunk to read: where it is in the file and where in its pack."""

    position: int
    place: ChunkPlace
    pack: str


def _chunks(
    vault: Vault, run: RunPath, info: FileInfo, start: int, stop: int
) -> Iterator[tuple[int, bytes | bytearray | memoryview]]:
    """Yield each chunk that has bytes between ``start`` and ``stop``, verified, with its position in the file."""
    ref = FileRef(name=info.name, version=info.version)
    position = 0
    page: int | None = 0
    while page is not None and position < stop:
        answer = vault.locate(run, LocateQuery(refs=[ref], start=page))
        wanted: list[_Wanted] = []
        for place in decode_places(answer.chunks):
            if position < stop and position + place.raw_len > start:
                wanted.append(_Wanted(position, place, answer.packs[place.pack]))
            position += place.raw_len
        for group in _groups(wanted):
            yield from _read_group(vault, run, answer.domain_key, group)
        page = answer.next


def _groups(wanted: list[_Wanted]) -> Iterator[list[_Wanted]]:
    group: list[_Wanted] = []
    size = 0
    for chunk in wanted:
        group.append(chunk)
        size += chunk.place.frame_len
        if size >= _READ_BYTES or len(group) == 16_384:
            yield group
            group, size = [], 0
    if group:
        yield group


def _read_group(
    vault: Vault, run: RunPath, domain_key: bytes, group: list[_Wanted]
) -> Iterator[tuple[int, bytes | bytearray | memoryview]]:
    done = 0
    while done < len(group):
        before = done
        try:
            for data in _verified(vault, run, domain_key, group[done:]):
                yield group[done].position, data
                done += 1
        except VaultUnavailableError:
            if done == before:
                raise
        else:
            if done < len(group):
                raise CorruptContentError("The vault sent fewer chunks than were asked for.")


def _verified(
    vault: Vault, run: RunPath, domain_key: bytes, group: list[_Wanted]
) -> Iterator[bytes | bytearray | memoryview]:
    reader = FrameReader()
    left = (chunk.place for chunk in group)
    for piece in vault.read(run, ReadQuery(ranges=_ranges(group))):
        for entry, stored in reader.feed(piece):
            place = next(left, None)
            if place is None or (entry.id, entry.raw_len) != (place.id, place.raw_len):
                raise CorruptContentError(f"The vault sent chunk {entry.id.hex()}, which was not asked for.")
            yield open_frame(domain_key, entry, stored)
    reader.finish()


def _ranges(group: list[_Wanted]) -> list[PackRange]:
    """Join frames that lie side by side."""
    ranges: list[PackRange] = []
    for chunk in group:
        offset, length = chunk.place.offset, chunk.place.frame_len
        last = ranges[-1] if ranges else None
        if last is not None and last.pack == chunk.pack and last.offset + last.length == offset:
            ranges[-1] = PackRange(pack=last.pack, offset=last.offset, length=last.length + length)
        else:
            ranges.append(PackRange(pack=chunk.pack, offset=offset, length=length))
    return ranges
