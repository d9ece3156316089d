"""Notices how the script ends, so that a run that nobody finished is finished with the right exit code."""

from __future__ import annotations

import atexit
import builtins
import logging
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from multiprocessing.util import Finalize

INTERRUPTED = 130


class ExitWatch:
    """Calls back when the interpreter exits; only in the process that made it.

    It wraps ``sys.excepthook``, ``sys.exit`` and the interpreter's ``exit`` and ``quit``. What they were given does not
    count when the script is seen to go on after it (see `goes_on`). A bare ``raise SystemExit(3)`` cannot be noticed: the
    interpreter forgets the code before anything of ours runs, so that counts as 0.

    Args:
        at_exit: Called with the exit code at the interpreter's exit.
    """

    def __init__(self, at_exit: Callable[[int], None]) -> None:
        self._at_exit = at_exit
        self._pid = os.getpid()
        self._raised: int | None = None
        self._exited: int | None = None
        self._hook = sys.excepthook
        self._exits = [
            (place, name, getattr(place, name))
            for place, name in ((sys, "exit"), (builtins, "exit"), (builtins, "quit"))
            if hasattr(place, name)
        ]
        self._wraps = [self._wrap(plain) for _, _, plain in self._exits]
        sys.excepthook = self._on_exception
        for (place, name, _), wrap in zip(self._exits, self._wraps, strict=True):
            setattr(place, name, wrap)
        atexit.register(self._on_exit)
        self._at_worker_end = self._watch_worker()

    def _watch_worker(self) -> Finalize | None:
        """Watch the end of a process of multiprocessing, which tells no hook of the interpreter how it ends."""
        processes = sys.modules.get("multiprocessing.process")
        if processes is None or processes.parent_process() is None:
            return None
        from multiprocessing.util import Finalize

        return Finalize(None, self._on_worker_end, exitpriority=0)

    def _on_worker_end(self) -> None:
        self._at_exit(exit_code_of(sys.exc_info()[1]))

    def goes_on(self) -> None:
        """Note that the script lives: somebody caught the `SystemExit`."""
        self._exited = None

    def remove(self) -> None:
        """Stop watching."""
        atexit.unregister(self._on_exit)
        if self._at_worker_end is not None:
            self._at_worker_end.cancel()
        if sys.excepthook == self._on_exception:
            sys.excepthook = self._hook
        for (place, name, plain), wrap in zip(self._exits, self._wraps, strict=True):
            if getattr(place, name, None) is wrap:
                setattr(place, name, plain)

    def _on_exception(
        self, kind: type[BaseException], exc: BaseException, trace: TracebackType | None
    ) -> None:
        self._raised = exit_code_of(exc)
        self._hook(kind, exc, trace)

    def _wrap(self, plain: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
        def leave(status: Any = None, /) -> NoReturn:
            self._exited = exit_code_of(SystemExit(status))
            plain(status)

        return leave

    def _on_exit(self) -> None:
        if os.getpid() == self._pid:
            self._at_exit(self._raised or self._exited or 0)


def exit_code_of(exc: BaseException | None) -> int:
    """Return the exit code of a script that ends by this exception (None: by itself)."""
    if exc is None:
        return 0
    if isinstance(exc, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(exc, SystemExit):
        if exc.code is None:
            return 0
        return exc.code if isinstance(exc.code, int) else 1
    return 1


def exit_at_once(code: int) -> NoReturn:
    """End the process with this code from within an exit handler, where raising would change nothing."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # it is closed
    os._exit(code)
