"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TypeAlias

from holdfast.errors import UsageError

Which: TypeAlias = int | str | datetime
"""A version of a file as users name it: by its number, or by a time at which it was the newest."""


def parse_time(text: str, *, zone: tzinfo | None = None) -> float:
    """Return the seconds since the epoch that a text means.

    Args:
        text: ``2026-11-22``, ``2026-11-22T18:00``, ``2026-11-22 18:00:05.5+02:00`` and other forms of ISO 8601.
        zone: The zone of a time that names none; None: this machine's.

    Raises:
        UsageError: It is not a time.
    """
    try:
        return timestamp(datetime.fromisoformat(text.strip()), zone=zone)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not a time.",
            hint="Write it like 2026-11-22T18:00, with +02:00 or Z for another zone.",
        ) from None


def timestamp(time: datetime, *, zone: tzinfo | None = None) -> float:
    """Return a time as seconds since the epoch; one without a zone is in ``zone`` (None: this machine's)."""
    return (time if time.tzinfo is not None else time.replace(tzinfo=zone)).timestamp()


def at_utc(seconds: float) -> datetime:
    """Return seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def last_moment(seconds: float) -> float:
    """Return the last moment that a time as people write or read it means.

    Whole seconds mean all of that second, and others all of their microsecond: the time that is shown of a version
    means that version.
    """
    return seconds + (1 - 1e-6 if seconds == int(seconds) else 1e-6)
