"""Everything that the training process says to its user. It goes to stderr; stdout belongs to the script."""

from __future__ import annotations

import shutil
import sys
import time

_PREFIX = "holdfast: "
_LINE_INTERVAL_S = 5.0
_COMPLAINT_INTERVAL_S = 60.0


class Terminal:
    """Says things to the user.

    Args:
        silent: Say nothing but warnings.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._drawn = 0
        self._next_line = 0.0
        self._next_complaint = 0.0

    def say(self, text: str) -> None:
        """Say something that is good to know."""
        if not self._silent:
            self._write(f"{_PREFIX}{text}\n")

    def warn(self, text: str) -> None:
        """Say something that the user must know, silent or not."""
        self._write(f"{_PREFIX}WARNING: {text}\n")

    def complain(self, text: str) -> None:
        """Warn of something that may come back at every step of a training: at most once a minute."""
        if time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + _COMPLAINT_INTERVAL_S
            self.warn(text)

    def progress(self, text: str) -> None:
        """Show how far something is: one line redrawn on a terminal, a line every few seconds elsewhere."""
        if self._silent:
            return
        if self._is_terminal():
            width = shutil.get_terminal_size().columns - 1
            line = f"{_PREFIX}{text}"[:width]
            self._put(f"\r{line:<{self._drawn}}")
            self._drawn = len(line)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_INTERVAL_S
            self.say(text)

    def _write(self, text: str) -> None:
        clear = f"\r{'':<{self._drawn}}\r" if self._drawn else ""
        self._drawn = 0
        self._put(clear + text)

    @staticmethod
    def _is_terminal() -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    @staticmethod
    def _put(text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return  # a closed or missing stderr must not stop a training


def size_text(size_bytes: float) -> str:
    """Return a size as people read it: ``1.5 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.2f} TB"


def time_text(seconds: float) -> str:
    """Return a duration as people read it: ``40 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def files_text(count: int) -> str:
    """Return a number of files: ``1 file``, ``12 files``."""
    return f"{count} file" if count == 1 else f"{count:,} files"
