"""Settings files: one ``name = value`` a line, under a line ``[default]`` or none.

``#`` or ``;`` at the begin of a line, or ``#`` after a space, starts a comment. Other sections are not read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

_COMMENT = re.compile(r"^\s*[#;].*|\s#.*")
_NO_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""Control characters but the tabulator, and bytes that are no UTF-8."""


def lines_of(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the number, name and value of each line that has the form of one; what has not is logged as a warning."""
    try:
        text = file.read_bytes().decode("utf-8-sig", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        log.warning("%s cannot be read (%s); it is ignored.", file, exc.strerror or exc)
        return
    is_read = True
    for number, line in enumerate(text.split("\n"), 1):
        bare = _COMMENT.sub("", line).strip()
        if bare.startswith("[") and bare.endswith("]"):
            is_read = bare.lower() == "[default]"
            if not is_read:
                log.warning("%s:%d: only the section [default] is read, not %s.", file, number, bare)
        elif bare and is_read:
            name, equals, value = (part.strip() for part in bare.partition("="))
            if not equals or _NO_TEXT.search(bare):
                log.warning("%s:%d: this is not `name = value`; the line is ignored.", file, number)
            elif value:
                yield number, name.lower(), value


def write_setting(file: Path, name: str, value: str | None) -> None:
    """Set one line of a settings file (None: take it away) and leave the others as they are."""
    text = file.read_bytes().decode("utf-8-sig", "surrogateescape") if file.exists() else ""
    kept = [line for line in text.splitlines() if line.partition("=")[0].strip() != name]
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name("settings.part")
    line = [] if value is None else [f"{name} = {value}"]  # before any section
    part.write_text("\n".join([*line, *kept, ""]), encoding="utf-8", errors="surrogateescape")
    part.replace(file)
