"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from holdfast.errors import UsageError
from holdfast.times import at_utc, last_moment, parse_time, timestamp

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-22T12:00Z", "2026-11-22 14:00:00+02:00", "20261122T120000Z", " 2026-11-22T12:00:00.0Z "]
)
def test_iso_8601_is_read(text):
    assert parse_time(text) == NOON.timestamp()


def test_a_time_without_a_zone_is_in_the_zone_that_is_given_or_this_machine_s():
    assert parse_time("2026-11-22T12:00", zone=UTC) == NOON.timestamp()
    assert parse_time("2026-11-22T14:00", zone=timezone(timedelta(hours=2))) == NOON.timestamp()
    assert timestamp(NOON.astimezone().replace(tzinfo=None)) == NOON.timestamp()


@pytest.mark.parametrize("text", ["", "noon", "2026-13-01", "12:00", "0000-00-00", "\0"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize("seconds", [1_795_000_000.123_456_7, 1_795_000_000.999_999_9, 1_795_000_000.0])
def test_the_time_that_is_shown_means_the_moment_itself(seconds):
    shown = at_utc(seconds)

    assert last_moment(timestamp(shown)) >= seconds
    assert last_moment(timestamp(shown.replace(microsecond=0))) >= seconds - 1e-6
