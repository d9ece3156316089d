"""From chunks that the vault lacks to packs that it has acknowledged.

**How it works.** Several workers add chunks at once, each to a pack of its own, so that the chunks of one window
stay together and encoding uses all cores. A full pack goes to a sender thread; when as many are on their way as
memory (and the vault) bear, whoever brings the next one waits. That is the back-pressure on reading.

**Invariants.** A chunk is sent once, by whoever claims its id first. A window's bytes are held until every pack
that refers to them is acknowledged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from holdfast.content.hashing import Bytes
from holdfast.content.packs import HEADER_BYTES, Kind, PackBuilder
from holdfast.errors import VaultUnavailableError
from holdfast.sync.limit import Limit
from holdfast.sync.session import Session
from holdfast.sync.windows import Window

_MEMORY_BYTES = 64 << 20
_MOST_SENDERS = 8
_REMEMBERED_IDS = 1 << 16
_MOSTLY_NEW = 0.75


class Chunk(NamedTuple):
    """A chunk in memory."""

    id: bytes
    data: Bytes
    word: int = 1
    kind: Kind = Kind.CHUNK


class _OpenPack:
    """A pack that is being filled, and the windows that its bytes lie in."""

    def __init__(self, domain_key: bytes) -> None:
        self.builder = PackBuilder(domain_key)
        self.raw_bytes = 0
        self.windows: dict[Window, None] = {}

    def add(self, chunk: Chunk, window: Window | None) -> None:
        """Append a chunk; its bytes lie in the window, if one is given."""
        stored = self.builder.add(chunk.id, chunk.data, word=chunk.word, kind=chunk.kind) - HEADER_BYTES
        self.raw_bytes += len(chunk.data) if chunk.kind is Kind.CHUNK else 0
        if window is not None and stored == len(chunk.data) and window not in self.windows:
            window.hold()
            self.windows[window] = None

    def release(self) -> None:
        """Let go of the windows."""
        for window in self.windows:
            window.release()
        self.windows = {}


def most_senders(pack_bytes: int) -> int:
    """Return how many packs of this size may be on their way beside the one that is being filled."""
    return max(1, min(_MOST_SENDERS, _MEMORY_BYTES // pack_bytes - 1))


class Packer:
    """Fills packs and sends them. Thread-safe; `close` it.

    Args:
        session: Where to send.
        limit: How many packs may be on their way.
        held: Called with a number of raw bytes whenever the vault is known to hold so many more.
        sent: Called with the size of a pack that was acknowledged.
    """

    def __init__(
        self, session: Session, limit: Limit, *, held: Callable[[int], None], sent: Callable[[int], None]
    ) -> None:
        self._session = session
        self._limit = limit
        self._held = held
        self._sent = sent
        self._lock = threading.Lock()
        self._open: list[_OpenPack] = []
        self._claimed: dict[tuple[bytes, Kind], None] = {}
        self._sending: set[Future[None]] = set()
        self._threads = ThreadPoolExecutor(_MOST_SENDERS, thread_name_prefix="holdfast-send")
        self._stopped = False

    def add(self, chunks: Sequence[Chunk], window: Window | None = None, span: int = 0) -> None:
        """Pack those of the chunks that nobody has packed yet; waits while too much is on its way.

        Args:
            chunks: What the vault lacks.
            window: Where the bytes of the chunks lie; None if they never change.
            span: How many bytes of the window are in use. If few of them are new they are copied, since a pack
                with a little of each of many windows would keep them all.
        """
        new = self._claim(chunks)
        if not new:
            return
        if window is not None and sum(len(chunk.data) for chunk in new) < _MOSTLY_NEW * span:
            new = [chunk._replace(data=bytes(chunk.data)) for chunk in new]
            window = None
        pack = self._take()
        for chunk in new:
            if not pack.builder.fits(len(chunk.data)):
                self._send(pack)
                pack = self._take()
            pack.add(chunk, window)
            if pack.builder.size >= self._session.upload.pack_bytes:
                self._send(pack)
                pack = self._take()
        with self._lock:
            self._open.append(pack)

    def note_held(self, size_bytes: int) -> None:
        """Note bytes of content that need not be sent."""
        if size_bytes:
            self._held(size_bytes)

    def flush(self) -> list[Future[None]]:
        """Send what is packed, full or not, and return the packs on their way; nobody may be adding."""
        while True:
            with self._lock:
                if not self._open:
                    return list(self._sending)
                pack = self._open.pop()
            if pack.builder.count:
                self._send(pack)

    def stop(self) -> None:
        """Make whoever waits to send, or tries to, fail."""
        self._stopped = True

    def forget(self) -> None:
        """Forget what was sent, so that it can be sent again."""
        with self._lock:
            self._claimed.clear()

    def close(self) -> None:
        """Wait for what is on its way and stop the threads; nobody may be adding."""
        self._threads.shutdown(wait=True)

    def _claim(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        new, repeated = [], 0
        with self._lock:
            for chunk in chunks:
                if (chunk.id, chunk.kind) not in self._claimed:
                    self._claimed[chunk.id, chunk.kind] = None
                    new.append(chunk)
                elif chunk.kind is Kind.CHUNK:
                    repeated += len(chunk.data)
            while len(self._claimed) > _REMEMBERED_IDS:
                del self._claimed[next(iter(self._claimed))]
        if repeated:
            self._held(repeated)
        return new

    def _take(self) -> _OpenPack:
        with self._lock:
            if self._open:
                return self._open.pop()
        return _OpenPack(self._session.upload.domain_key)

    def _send(self, pack: _OpenPack) -> None:
        self._limit.take()
        with self._lock:
            arrived = {future for future in self._sending if future.done()}
            self._sending -= arrived
        if self._stopped or any(future.exception() for future in arrived):
            self._limit.give_back(succeeded=None)
            for future in arrived:
                future.result()
            raise VaultUnavailableError("The upload was given up.")
        future = self._threads.submit(self._put, pack)
        with self._lock:
            self._sending.add(future)

    def _put(self, pack: _OpenPack) -> None:
        succeeded = False
        try:
            self._sent(self._session.put_pack(pack.builder.finish()))
            self._held(pack.raw_bytes)
            succeeded = True
        finally:
            pack.release()
            self._limit.give_back(succeeded=succeeded)
