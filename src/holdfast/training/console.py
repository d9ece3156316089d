"""``output.log``: what the script prints, as a file of the run.

**How it works.** The ``write`` of the two stream objects that are ``sys.stdout`` and ``sys.stderr`` when the run begins is
replaced; the objects stay what they are, so ``isatty``, ``fileno``, ``buffer`` and whoever holds them (logging handlers)
notice nothing. In a notebook they are wrapped anew before each cell, since IPython puts its own back. Each finished
line is in the file when ``write`` returns. What goes past Python's streams (bytes written to ``.buffer``, C libraries,
child processes) is not seen.

**Invariants.**

- What the script writes gets to where it went before, whatever happens here; nothing here raises into the script.
- No call waits for a lock: what a second thread or a signal handler writes is queued for whoever is writing the file.
- Holdfast's own API key is never in the file. Else nothing is masked: the user's output is the user's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from holdfast.training.screen import Screen

log = logging.getLogger(__name__)

MASK = "***"
_MOST_UNWRITTEN = 1 << 20
_RETRY_S = 1.0
_PATIENCE_S = 1.0

Complain = Callable[[str], None]


class OutputLog:
    """Appends lines to ``output.log``. Not for use from several threads.

    A disk that takes nothing is complained of once; the last megabyte waits in memory until it does.

    Args:
        path: The file; made by the first line.
        secrets: Texts that must not get into the file.
        complain: Told of what could not be written.
    """

    def __init__(self, path: Path, secrets: Iterable[str], complain: Complain) -> None:
        self._path = path
        self._secrets = tuple(secrets)
        self._complain = complain
        self._fd: int | None = None
        self._unwritten = b""
        self._lost = 0
        self._retry_at = 0.0
        self._has_complained = False

    def add(self, lines: list[str]) -> None:
        """Write lines, at once if the disk takes them."""
        text = "\n".join([*lines, ""])
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        self._unwritten += text.encode(errors="backslashreplace")
        self.flush()

    def begin(self) -> None:
        """If an earlier attempt's lines are in the file, leave a line that tells of the new one."""
        with contextlib.suppress(OSError):
            with self._path.open("rb") as file:
                file.seek(-1, os.SEEK_END)  # fails for an empty one
                cut = b"" if file.read() == b"\n" else b"\n"
            at = time.strftime("%Y-%m-%d %H:%M:%S%z").encode()
            self._unwritten = b"%b---- resumed %b ----\n" % (cut, at)
            self.flush()

    def flush(self, *, at_once: bool = False) -> None:
        """Write what is left."""
        if not self._unwritten or (not at_once and self._retry_at and time.monotonic() < self._retry_at):
            return self._drop()
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
            self._retry_at = 0.0
        except OSError as exc:
            self._retry_at = time.monotonic() + _RETRY_S
            if not self._has_complained:
                self._has_complained = True
                self._complain(f"{self._path.name} cannot be written now ({exc}); the console goes on.")
        return self._drop()

    def _drop(self) -> None:
        """Let go of the oldest lines of what the disk does not take, and leave a note in their place."""
        if len(self._unwritten) > _MOST_UNWRITTEN:
            kept = self._unwritten[-_MOST_UNWRITTEN // 2 :]
            kept = kept[kept.find(b"\n") + 1 :]
            self._lost += len(self._unwritten) - len(kept)
            self._unwritten = b"---- %d bytes lost: the disk was full ----\n%b" % (self._lost, kept)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.flush(at_once=True)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Console:
    """Copies what is printed into an `OutputLog` until `stop`. Processes forked off copy theirs into the same file."""

    def __init__(self, output: OutputLog) -> None:
        self._log = output
        self._queue: deque[tuple[int, str]] = deque()
        self._lock = threading.Lock()
        self._screens: list[Screen] = []
        self._wrapped: dict[int, tuple[Any, Callable[..., Any], Any]] = {}
        """Each stream by its number, our ``write``, and the one that it had of its own before (None: its class's)."""
        self._writing: dict[int, int | None] = {}
        """The thread that is in the ``write`` of each stream."""
        self._is_on = False
        os.register_at_fork(after_in_child=self._begin_anew)

    def start(self) -> None:
        """Begin to copy what is printed; a stream that cannot be wrapped is left alone."""
        self._is_on = True
        self._log.begin()
        for stream in {id(stream): stream for stream in (sys.stdout, sys.stderr)}.values():
            if stream is not None and self._wrap(stream, len(self._screens)):
                self._screens.append(Screen())
        shell = _notebook()
        if shell is not None:
            shell.events.register("pre_run_cell", self._wrap_again)

    def stop(self) -> None:
        """Leave the streams as they were, unless somebody else has wrapped them since, and write what is left."""
        shell = _notebook()
        if shell is not None:
            with contextlib.suppress(ValueError):
                shell.events.unregister("pre_run_cell", self._wrap_again)
        for stream, write, before in self._wrapped.values():
            if vars(stream).get("write") is not write:
                continue
            if before is None:
                del stream.write
            else:
                stream.write = before
        self._is_on = False
        is_ours = self._lock.acquire(
            timeout=_PATIENCE_S
        )  # a signal handler may have come between a line of ours
        self._take_queued()
        for screen in self._screens:
            self._log.add(screen.rest())
        self._log.close()
        if is_ours:
            self._lock.release()

    def _wrap(self, stream: Any, number: int) -> bool:
        """Wrap a stream; False if it is an object of somebody's that takes no attributes."""
        original = stream.write

        def write(text: str, /) -> Any:
            me = threading.get_ident()
            if (
                not self._is_on or self._writing.get(number) == me
            ):  # another wrapper of ours is around this one
                return original(text)
            self._copy(number, text)
            self._writing[number] = me
            try:
                return original(text)
            finally:
                self._writing[number] = None

        try:
            before = vars(stream).get("write")
            stream.write = write
        except (AttributeError, TypeError):
            log.debug("%r cannot be copied.", stream)
            return False
        self._wrapped[number] = (stream, write, before)
        return True

    def _wrap_again(self, *_: object) -> None:
        """Wrap the streams anew before a notebook's cell: IPython puts back, after each cell, what was there before."""
        for number, (stream, write, _before) in list(self._wrapped.items()):
            if vars(stream).get("write") is not write:
                self._wrap(stream, number)

    def _copy(self, number: int, text: object) -> None:
        if not isinstance(text, str):
            return  # the stream itself says what is wrong with it
        self._queue.append((number, text))
        try:
            while self._queue and self._lock.acquire(blocking=False):
                try:
                    self._take_queued()
                finally:
                    self._lock.release()
        except Exception as exc:  # noqa: BLE001 - the edge to the user's print: it must not fail because of us
            self._is_on = False
            log.warning("output.log ends here: %r", exc)

    def _take_queued(self) -> None:
        now = time.monotonic()
        while self._queue:
            number, text = self._queue.popleft()
            lines = self._screens[number].write(text, now)
            if lines:
                self._log.add(lines)

    def _begin_anew(self) -> None:
        """In a process forked off: another thread may have held the lock, and unfinished lines are the parent's."""
        self._lock = threading.Lock()
        self._queue.clear()
        self._screens = [Screen() for _ in self._screens]


def _notebook() -> Any:
    """Return IPython's shell if this is one."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get_ipython is None else get_ipython()
