"""Reusable memory: the windows through which files are read.

A window is given back when the last one who refers to its bytes, be it the reader, a hash or a pack that is being
sent, has let go of it. So nothing that was read is copied, and memory stays flat.
"""

from __future__ import annotations

import mmap
import threading

from holdfast.content.codecs import MAX_CHUNK_BYTES

WINDOW_BYTES = 16 << 20
HEADROOM_BYTES = MAX_CHUNK_BYTES
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Window:
    """A buffer, held by whoever took it and all who `hold` it. Thread-safe.

    Attributes:
        view: `HEADROOM_BYTES` for what is left of the window before, and `WINDOW_BYTES` to read into.
    """

    def __init__(self, pool: WindowPool) -> None:
        # Anonymous pages cost nothing until they are touched.
        self.view = memoryview(mmap.mmap(-1, HEADROOM_BYTES + WINDOW_BYTES, flags=_PRIVATE))
        self._pool = pool
        self._holders = 1

    def hold(self) -> None:
        """Keep the bytes as they are until one more `release`."""
        with self._pool.lock:
            self._holders += 1

    def release(self) -> None:
        """Let go; after the last holder did, the bytes may change at any time."""
        with self._pool.lock:
            self._holders -= 1
            if self._holders == 0 and not self._pool.is_closed:
                self._holders = 1
                self._pool.free.append(self)


class WindowPool:
    """Hands out windows, used ones first (their pages are there already)."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free: list[Window] = []
        self.is_closed = False

    def take(self) -> Window:
        """Return a window that nobody else holds; its bytes are arbitrary."""
        with self.lock:
            if self.free:
                return self.free.pop()
        return Window(self)

    def close(self) -> None:
        """Give the memory back to the system, now and as windows are released."""
        with self.lock:
            self.is_closed = True
            self.free.clear()
