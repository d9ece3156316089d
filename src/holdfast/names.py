"""Names: run paths, and the names of files within a run.

A file's name is a relative POSIX path. It never becomes a path on the vault's disk; it becomes a path on the
user's disk when the file is restored, so everything that could leave the target folder is refused here, at the
one place that both sides use.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from holdfast.errors import InvalidNameError

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
_RUN_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_file_name(name: str) -> str:
    """Return ``name`` in its one normal form, or refuse it.

    The normal form has no empty part and no ``.`` part. Brackets, spaces, quotes and any other printable Unicode
    are allowed. Refused are absolute names, ``..`` parts, control characters (NUL among them), names that are not
    valid Unicode, parts of more than 255 bytes and names of more than 1,024 bytes in UTF-8.

    Raises:
        InvalidNameError: The name is refused; the message says why.
    """
    if name.startswith("/"):
        raise InvalidNameError(f"The file name {name!r} is absolute.")
    if _CONTROL.search(name):
        raise InvalidNameError(f"The file name {name!r} has a control character.")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts:
        raise InvalidNameError(f"The file name {name!r} is empty.")
    if ".." in parts:
        raise InvalidNameError(f"The file name {name!r} has a '..' part.")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise InvalidNameError(f"The file name {name!r} is not valid Unicode.") from None
    if max(sizes) > MAX_PART_BYTES:
        raise InvalidNameError(f"A part of the file name {name!r} is longer than {MAX_PART_BYTES} bytes.")
    if sum(sizes) + len(sizes) - 1 > MAX_NAME_BYTES:
        raise InvalidNameError(f"The file name {name!r} is longer than {MAX_NAME_BYTES} bytes.")
    return "/".join(parts)


def check_label(label: str, what: str) -> str:
    """Return ``label`` if it can name an entity, a project or a run.

    Args:
        label: 1 to 128 of the characters ``A-Z a-z 0-9 _ . -``, not starting with ``.`` or ``-``.
        what: What it names, for the message: "entity", "project" or "run id".

    Raises:
        InvalidNameError: It cannot.
    """
    if not _LABEL.match(label):
        raise InvalidNameError(
            f"The {what} {label!r} is not a valid name.",
            hint="Use up to 128 letters, digits, '_', '-' and '.', starting with a letter, digit or '_'.",
        )
    return label


def to_label(text: str) -> str:
    """Return ``text`` with all that a label cannot hold replaced by ``-`` (for names taken from the machine)."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", text).lstrip(".-")[:128] or "default"


def new_run_id() -> str:
    """Return a new random run id: 8 characters of ``a-z0-9``."""
    return "".join(secrets.choice(_RUN_ID_ALPHABET) for _ in range(8))


@dataclass(frozen=True, slots=True)
class RunPath:
    """The full name of a run: ``entity/project/run_id``."""

    entity: str
    project: str
    run_id: str

    def __post_init__(self) -> None:
        check_label(self.entity, "entity")
        check_label(self.project, "project")
        check_label(self.run_id, "run id")

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.run_id}"

    @classmethod
    def parse(cls, text: str, *, entity: str | None = None, project: str | None = None) -> RunPath:
        """Parse what users type: ``entity/project/id``, a shorter form, or the URL of the run's page.

        Args:
            text: ``id``, ``project/id``, ``entity/project/id``, ``entity/project/runs/id`` or a URL of that.
            entity: Used where the text has none.
            project: Used where the text has none.

        Raises:
            InvalidNameError: The text is none of these, or a part is missing and has no default.
        """
        path = unquote(urlsplit(text).path) if "://" in text else text
        parts = path.strip("/").split("/")
        if len(parts) >= 4 and "runs" in parts[2:]:
            at = parts.index("runs", 2)
            parts = [*parts[at - 2 : at], *parts[at + 1 : at + 2]]
        if len(parts) > 3:
            raise InvalidNameError(f"{text!r} is not a run path.", hint="Write entity/project/run_id.")
        filled = [*[entity, project][: 3 - len(parts)], *parts]
        if None in filled:
            raise InvalidNameError(
                f"The run path {text!r} is incomplete.", hint="Write entity/project/run_id."
            )
        return cls(*(part or "" for part in filled))
