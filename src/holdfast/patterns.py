"""Glob patterns over file names, the one matcher of save rules, ignore globs, listings and the command line.

``*`` and ``?`` and ``[...]`` stop at ``/``; ``**`` as a whole part of the path stands for any number of parts, also
none, and elsewhere for any characters, ``/`` included. ``[!...]`` and ``[^...]`` negate. A ``[`` without its ``]`` is
literal. A name that equals the pattern always matches, brackets or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate

_MAGIC = re.compile(r"[*?\[]")


class Pattern:
    """A compiled pattern.

    Attributes:
        prefix: What every name that matches starts with.
    """

    __slots__ = ("_regex", "prefix", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        magic = _MAGIC.search(text)
        self.prefix = text[: magic.start()] if magic else text
        self._regex = re.compile(_translate(text), re.DOTALL)

    def matches(self, name: str) -> bool:
        """Tell whether the pattern means this name."""
        return name == self.text or self._regex.fullmatch(name) is not None


class IgnoreRules:
    """Tells which names are ignored; what holds is what users of ``.gitignore`` expect.

    - A glob without a slash means a file or folder of that name at any depth: ``*.tmp``, ``__pycache__``.
    - A glob with a slash at its begin or middle means a path from the top: ``/notes.txt``, ``logs/*.txt``, ``a/**/b``.
      Only ``**`` crosses folders.
    - With a slash at its end it means folders alone: ``cache/``.
    - Whatever lies in a folder that a glob means is ignored with it, at any depth.

    ``./`` at the begin is the same as ``/``. Matching is by case. There is no ``!`` that takes names back.

    Args:
        globs: The globs.
    """

    __slots__ = ("_globs",)

    def __init__(self, globs: Iterable[str] = ()) -> None:
        self._globs = [_IgnoreGlob(text) for text in globs]

    def matching(self, name: str) -> str | None:
        """Return the first glob that ignores a name (parts separated by ``/``, no slash at the begin), or None."""
        if not self._globs:
            return None
        parts = name.split("/")
        paths = list(accumulate(parts, "{}/{}".format))
        return next((glob.text for glob in self._globs if glob.means(parts, paths)), None)


class _IgnoreGlob:
    __slots__ = ("_at_any_depth", "_only_folders", "_pattern", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        body = text[1:] if text.startswith("./") else text
        self._only_folders = body.endswith("/")
        self._at_any_depth = "/" not in body.rstrip("/")
        self._pattern = Pattern(body.strip("/"))

    def means(self, parts: list[str], paths: list[str]) -> bool:
        """Tell whether the glob means a name, given as its parts and as the paths that lead down to it."""
        candidates = parts if self._at_any_depth else paths
        if self._only_folders:
            candidates = candidates[:-1]
        return any(self._pattern.matches(candidate) for candidate in candidates)


def match(pattern: str, name: str) -> bool:
    """Tell whether a pattern means this name; compile a `Pattern` to ask often."""
    return Pattern(pattern).matches(name)


def is_pattern(text: str) -> bool:
    """Tell whether a text has anything in it that a pattern gives a meaning to."""
    return _MAGIC.search(text) is not None


def _translate(text: str) -> str:
    out = []
    at = 0
    while at < len(text):
        piece, length = _piece(text, at)
        out.append(piece)
        at += length
    return "".join(out)


def _piece(text: str, at: int) -> tuple[str, int]:
    """Return the regular expression of what begins at a place, and its length in the pattern."""
    if text.startswith("**", at):
        begins_part = at == 0 or text[at - 1] == "/"
        if begins_part and text.startswith("**/", at):
            return "(?:[^/]+/)*", 3
        length = 2
        while text.startswith("*", at + length):
            length += 1
        return ".*", length
    match text[at]:
        case "*":
            return "[^/]*", 1
        case "?":
            return "[^/]", 1
        case "[":
            return _set(text, at)
    return re.escape(text[at]), 1


def _set(text: str, at: int) -> tuple[str, int]:
    negated = text.startswith(("!", "^"), at + 1)
    begin = at + 2 if negated else at + 1
    end = text.find("]", begin + 1)
    if end < 0 or "/" in text[begin:end]:
        return re.escape("["), 1
    body = _members(text[begin:end])
    if not body:
        return ("[^/]" if negated else "(?!)"), end + 1 - at
    return (f"(?!/)[^{body}]" if negated else f"(?!/)[{body}]"), end + 1 - at


def _members(text: str) -> str:
    """Return what is between the brackets for a regular expression; a range that runs backwards is empty."""
    out = []
    at = 0
    while at < len(text):
        if at + 2 < len(text) and text[at + 1] == "-":
            low, high = text[at], text[at + 2]
            if low <= high:
                out.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            out.append(re.escape(text[at]))
            at += 1
    return "".join(out)
