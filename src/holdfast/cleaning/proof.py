"""Asking the vault for every byte of local files: nothing is taken for stored because somebody once said so.

**How it works.** A file is read once. Its hash must be that of a version, and its pieces, cut where the vault's chunk list
of that version cuts, must have the ids in that list: so the list spells this very file. Then the vault reads each of those
chunks from where it lies and checks it (`Vault.verify`). Only hashes travel.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.content.hashing import ContentHasher, chunk_id
from holdfast.content.manifests import ChunkPlace, decode_places
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef, LocateQuery, PackRange, ReadQuery
from holdfast.protocol.vault import Vault

_BATCH_FILES = 500
_VERIFY_BYTES = 256 << 20
_VERIFY_RANGES = 8192
_READ_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Local:
    """A local file that a version must spell."""

    path: Path
    content: tuple[int, int, int]
    """What `Entry.content` was."""
    shown: str
    """What to call it to the user."""
    names: tuple[str, ...]
    """The names of the run whose versions may be it; none: any file of the run."""


class Prover:
    """Proves local files against one run.

    Args:
        vault: The vault.
        run: The run.
        pulse: Called often while something takes long.
    """

    def __init__(self, vault: Vault, run: RunPath, pulse: Callable[[], None]) -> None:
        self._vault = vault
        self._run = run
        self._pulse = pulse
        self._newest = {info.name: info for info in _all_files(vault, run)}
        self._verified: set[_Frame] = set()

    def has(self, name: str) -> bool:
        """Tell whether the run has a file of this name."""
        return name in self._newest

    def version(self, name: str, number: int, digest: bytes) -> FileInfo | None:
        """Return the version of a file with this hash, the one of this number if there are several; None: it is gone."""
        newest = self._newest.get(name)
        if newest is None or (newest.version, newest.digest) == (number, digest):
            return newest
        found = [info for info in self._vault.list_versions(self._run, name) if info.digest == digest]
        return next((info for info in found if info.version == number), found[0] if found else None)

    def check(self, versions: Sequence[FileInfo]) -> None:
        """Let the vault check every byte of versions, whatever is here. Raises `CorruptContentError`."""
        for at in range(0, len(versions), _BATCH_FILES):
            refs = [
                FileRef(name=info.name, version=info.version) for info in versions[at : at + _BATCH_FILES]
            ]
            self._verify([chunk.frame for chunk in self._chunks(refs)])

    def gap(self, files: Sequence[Local]) -> str | None:
        """Return why some file is not proven to be stored, or None: the vault holds every byte of all of them.

        Raises:
            OSError: A file cannot be read.
            CorruptContentError: What is stored of one is damaged.
            HoldfastError: The vault does not answer.
        """
        for at in range(0, len(files), _BATCH_FILES):
            reason = self._gap_in(files[at : at + _BATCH_FILES])
            if reason is not None:
                return reason
        return None

    def _gap_in(self, files: Sequence[Local]) -> str | None:
        todo: list[tuple[Local, FileInfo]] = []
        for file in files:
            version = self._likely(file) or self._by_digest(file)
            if version is None:
                return self._reason(file)
            todo.append((file, version))
        while todo:
            done, checked = self._spelled(todo)
            self._verify(checked)
            todo = todo[done:]
            if todo:  # the likely version of this file is not it; an older one may be
                file = todo[0][0]
                older = self._by_digest(file)
                if older is None or older == todo[0][1]:
                    return self._reason(file)
                todo[0] = (file, older)
        return None

    def _likely(self, file: Local) -> FileInfo | None:
        """Return the newest version of a file if it has the same size."""
        found = (self._newest[name] for name in file.names if name in self._newest)
        return next((info for info in found if info.size == file.content[1]), None)

    def _by_digest(self, file: Local) -> FileInfo | None:
        """Return a version of the very content of a file."""
        with open_unchanged(file) as fd:
            digest = _digest(fd, self._pulse) if fd is not None else None
        newest = [info for info in self._newest.values() if info.digest == digest]
        return next(
            (
                info
                for name in file.names
                if name in self._newest
                for info in self._vault.list_versions(self._run, name)
                if info.digest == digest
            ),
            newest[0] if newest and not file.names else None,
        )

    def _reason(self, file: Local) -> str:
        with open_unchanged(file) as fd:
            if fd is None:
                return f"{file.shown} changed while it was being checked"
        if not file.names:
            return f"{file.shown} has bytes that no file of the run has"
        if any(name in self._newest for name in file.names):
            return f"{file.shown} is not stored as it is now"
        return f"{file.shown} is not on the vault"

    def _spelled(self, files: Sequence[tuple[Local, FileInfo]]) -> tuple[int, list[_Frame]]:
        """Return how many of the files, from the first on, their versions spell, and where the chunks of those lie."""
        refs = [FileRef(name=info.name, version=info.version) for _, info in files]
        chunks = self._chunks(refs)
        frames: list[_Frame] = []
        for done, (file, info) in enumerate(files):
            found = self._spells(file, info, chunks)
            if found is None:
                return done, frames
            frames += found
        return len(files), frames

    def _spells(self, file: Local, info: FileInfo, chunks: Iterator[_Chunk]) -> list[_Frame] | None:
        frames: list[_Frame] = []
        whole = ContentHasher()
        with open_unchanged(file) as fd:
            if fd is None:
                return None
            at = 0
            while at < info.size:
                chunk = next(chunks, None)
                data = b"" if chunk is None else os.pread(fd, chunk.place.raw_len, at)
                if chunk is None or chunk_id(chunk.domain_key, data) != chunk.place.id:
                    return None
                whole.update(data)
                frames.append(chunk.frame)
                at += len(data)
                self._pulse()
            is_all = not os.pread(fd, 1, at)
        return frames if is_all and whole.digest() == info.digest else None

    def _chunks(self, refs: list[FileRef]) -> Iterator[_Chunk]:
        start: int | None = 0
        while start is not None:
            found = self._vault.locate(self._run, LocateQuery(refs=refs, start=start))
            for place in decode_places(found.chunks):
                yield _Chunk(place, found.packs[place.pack], found.domain_key)
            start = found.next

    def _verify(self, frames: list[_Frame]) -> None:
        """Let the vault check chunks where they lie, each once. Raises `CorruptContentError`."""
        group: list[PackRange] = []
        size = 0
        for pack, offset, length in sorted(set(frames) - self._verified):
            last = group[-1] if group else None
            if last is not None and (last.pack, last.offset + last.length) == (pack, offset):
                group[-1] = PackRange(pack=pack, offset=last.offset, length=last.length + length)
            else:
                group.append(PackRange(pack=pack, offset=offset, length=length))
            size += length
            if size >= _VERIFY_BYTES or len(group) >= _VERIFY_RANGES:
                self._ask(group)
                group, size = [], 0
        if group:
            self._ask(group)
        self._verified.update(frames)

    def _ask(self, ranges: list[PackRange]) -> None:
        self._pulse()
        self._vault.verify(self._run, ReadQuery(ranges=ranges))
        self._pulse()


_Frame = tuple[str, int, int]
"""Where a chunk lies: pack, offset, length."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    place: ChunkPlace
    pack: str
    domain_key: bytes

    @property
    def frame(self) -> _Frame:
        return self.pack, self.place.offset, self.place.frame_len


@contextlib.contextmanager
def open_unchanged(file: Local) -> Iterator[int | None]:
    """Open a local file for reading, never through a link; None if it is not what was seen. Raises `OSError`."""
    fd = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        is_same = stat.S_ISREG(found.st_mode) and file.content == (
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
        )
        yield fd if is_same else None
    finally:
        os.close(fd)


def _digest(fd: int, pulse: Callable[[], None]) -> bytes:
    whole = ContentHasher()
    at = 0
    while data := os.pread(fd, _READ_BYTES, at):
        whole.update(data)
        at += len(data)
        pulse()
    return whole.digest()


def _all_files(vault: Vault, run: RunPath) -> Iterator[FileInfo]:
    after: str | None = None
    while True:
        page = vault.list_files(run, after=after)
        yield from page.files
        after = page.next
        if after is None:
            return
