"""Which version of a file is meant: by number, by time, or the newest."""

from __future__ import annotations

import re
from datetime import datetime

from holdfast.errors import UsageError
from holdfast.protocol.messages import FileRef
from holdfast.times import Which, last_moment, parse_time, timestamp

_NUMBER = re.compile(r"v?(\d{1,7})")


def refer(name: str, version: Which | None = None) -> FileRef:
    """Return a file at the version that a user means.

    Args:
        name: The file's name within the run.
        version: A number (``3``, ``"3"``, ``"v3"``); a time (a `datetime.datetime`, or ISO 8601 as text; without a
            zone it is this machine's): the version that was the newest then; None: the newest.

    Raises:
        UsageError: The version is neither.
        InvalidNameError: No file can have this name.
    """
    match version:
        case None:
            return FileRef(name=name)
        case datetime():
            return FileRef(name=name, at=last_moment(timestamp(version)))
        case str() if number := _NUMBER.fullmatch(version.strip()):
            return refer(name, int(number[1]))
        case str():
            return FileRef(name=name, at=last_moment(parse_time(version)))
        case int() if version > 0 and not isinstance(version, bool):
            return FileRef(name=name, version=version)
    raise UsageError(
        f"{version!r} is not a version of {name!r}.", hint="Versions are numbered 1, 2, 3...; or give a time."
    )


def is_version(text: str) -> bool:
    """Tell whether a text can be read as a version."""
    try:
        refer("name", text)
    except UsageError:
        return False
    return True
