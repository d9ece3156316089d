r"""Turns what a program writes to a terminal into the lines that stay. Pure.

**How it works.** A line that is written over (``\r``, as progress bars do) counts with its last state. Where the cursor
goes up (bars below each other, live tables) the lines that it comes back to are held until it has not gone up for
`_SETTLED_S`. So a bar that is drawn a thousand times is one line, and one more every `_SHOWN_S` while it moves.
Colours and other control characters are left out.
"""

from __future__ import annotations

import re

_SETTLED_S = 2.0
_SHOWN_S = 30.0
_MOST_ROWS = 64
_LONGEST_LINE = 64 << 10
_MOVES = re.compile(r"(\n|\r|\x1b\[\d*[AF]|\x1b\[2K)")
_CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]"
)


class Screen:
    """What one stream shows. Not for use from several threads."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = [[]]
        """The lines that may still change; the first is the one that the cursor cannot go above."""
        self._row = 0
        self._length = 0
        self._is_at_start = False
        """What comes next is written over the line."""
        self._held_until = 0.0
        self._next_shown = 0.0

    def write(self, text: str, now: float) -> list[str]:
        """Take in what is written, and return the lines that will not change any more.

        Args:
            text: Any part of the output.
            now: In seconds, on a clock that never goes back.
        """
        done: list[str] = []
        if self._is_plain(text, now):
            self._put_plain(text, done, now)
            return done
        for piece in _MOVES.split(text):
            if piece == "\n":
                self._go_down(done, now)
            elif piece == "\r":
                self._go_to_start(done, now)
            elif _MOVES.match(piece):
                self._move(piece, now)
            elif piece:
                self._put(piece, done, now)
        return done

    def rest(self) -> list[str]:
        """Return the lines that are held and the last, unfinished one, and begin anew."""
        done = [_clean(row) for row in self._rows if row]
        self._rows, self._row = [[]], 0
        self._length, self._is_at_start, self._held_until = 0, False, 0.0
        return done

    def _is_plain(self, text: str, now: float) -> bool:
        """Tell whether a text only goes on with the last line, as nearly all do: those take the short way."""
        is_last = len(self._rows) == 1 and now >= self._held_until and not self._is_at_start
        return is_last and "\r" not in text and "\x1b" not in text and len(text) < _LONGEST_LINE

    def _put_plain(self, text: str, done: list[str], now: float) -> None:
        head, newline, tail = text.rpartition("\n")
        row = self._rows[0]
        if newline:
            row.append(head)
            whole = _clean(row)
            if "\n" in whole:
                done += whole.split("\n")
            else:
                done.append(whole)
            row.clear()
            self._length = 0
            self._next_shown = now + _SHOWN_S
        if tail:
            self._put(tail, done, now)

    def _put(self, text: str, done: list[str], now: float) -> None:
        if self._is_at_start:
            self._rows[self._row], self._length, self._is_at_start = [], 0, False
        self._rows[self._row].append(text)
        self._length += len(text)
        if self._length > _LONGEST_LINE:
            self._go_down(done, now)

    def _go_down(self, done: list[str], now: float) -> None:
        self._row += 1
        self._length, self._is_at_start = 0, False
        if self._row == len(self._rows):
            self._rows.append([])
        else:
            self._is_at_start = True
        if now >= self._held_until or self._row > _MOST_ROWS:
            done += [_clean(row) for row in self._rows[: self._row]]
            self._rows, self._row = self._rows[self._row :], 0
            self._next_shown = now + _SHOWN_S

    def _go_to_start(self, done: list[str], now: float) -> None:
        self._is_at_start = True
        if self._next_shown == 0.0:
            self._next_shown = now + _SHOWN_S
        elif now >= self._next_shown and self._rows[self._row]:
            done.append(_clean(self._rows[self._row]))
            self._next_shown = now + _SHOWN_S

    def _move(self, code: str, now: float) -> None:
        if code == "\x1b[2K":
            self._rows[self._row], self._length = [], 0
            return
        self._row = max(0, self._row - int(code[2:-1] or 1))
        self._is_at_start = True
        self._held_until = now + _SETTLED_S


def _clean(row: list[str]) -> str:
    text = "".join(row)
    return text if text.isprintable() else _CONTROLS.sub("", text)
