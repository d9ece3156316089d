"""Thinning: of a log that grows quickly, old versions need not all be kept.

**The rule.** A version goes when all of this holds:

- it was saved with the policy ``live``, and the next version of the same start of the run continues it: stored as a growing
  file (splitter ``tail1``), with all of its chunks at its beginning, so that no byte is lost with it;
- it is older than an hour, and not the last of its hour; or older than a day, and not the last of its day (in UTC);
- it is not pinned.

So all versions of the last hour stay, then one an hour for a day, then one a day; and always the newest, the last of each
start of the run, the last before a file was rewritten, and whatever is not a growing log.

**How it works.** A commit that adds to a growing file notes when that file is to be looked at (``file.thin_at``). A sign
of life of any run makes the vault look at a few files that are due. What is to go is found by reading alone, the chunk
lists compared; then one transaction removes the rows and notes when to look again. Only rows of versions go: what
packs become free by it is the business of whoever collects them.

**Invariants.** Numbers are never given again (``file.last_version`` stays). What is not in the rule is not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from sqlalchemy import Connection

from holdfast.content.manifests import SegmentRef, decode_manifest, encode_refs
from holdfast.errors import HoldfastError
from holdfast.vault.catalog import content
from holdfast.vault.catalog import thinning as rows
from holdfast.vault.foundation import Foundation

log = logging.getLogger(__name__)

HOUR_S = 3600
DAY_S = 24 * HOUR_S
PAUSE_S = 600
"""A file is looked at again after so long at the earliest."""
_GROWING = "tail1"  # `TailSplitter.name`, written out: a vault needs no splitter and starts sooner without
_FILES_AT_ONCE = 4
_VERSIONS_AT_ONCE = 2000

Pair = tuple[rows.VersionRow, rows.VersionRow]
"""A version, and the one that continues it."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to become of a file."""

    gone: list[int]
    look_at: float | None
    """When something more may go; None: never, as things are."""
    last_version: int
    """The newest number when the plan was made."""


def next_look(planned: float | None, splitter: str, policy: str, now: float) -> float | None:
    """Return when a file is to be looked at, since a version was stored just now (None: not)."""
    if splitter != _GROWING or policy != "live":
        return planned
    return now + HOUR_S if planned is None else min(planned, now + HOUR_S)


def thin_due(ground: Foundation) -> None:
    """Thin a few files that are due. An error is logged: the next call tries again."""
    try:
        for file in ground.catalog.read(rows.files_due, ground.clock(), _FILES_AT_ONCE):
            plan = ground.catalog.read(_plan, file, ground.clock())
            ground.catalog.write(_carry_out, file.id, plan, ground.clock())
    except HoldfastError as exc:
        log.warning("Versions of live logs could not be thinned now: %s", exc)


def _carry_out(connection: Connection, file_id: int, plan: _Plan, now: float) -> None:
    newest = rows.lock_file(connection, file_id)
    look_at = plan.look_at
    if newest != plan.last_version:
        look_at = min(look_at or now + HOUR_S, now + HOUR_S)
    rows.remove_versions(connection, file_id, plan.gone)
    rows.look_again(connection, [file_id], look_at)


def _plan(connection: Connection, file: rows.FileRow, now: float) -> _Plan:
    surplus: list[Pair] = []
    times: list[float] = []
    for pair in _continued(rows.versions_of(connection, file.id)):
        at = _goes_at(*pair)
        if at is None:
            continue
        if at > now:
            times.append(at)
        elif len(surplus) < _VERSIONS_AT_ONCE:
            surplus.append(pair)
        else:
            times.append(now)
    look_at = max(min(times), now + PAUSE_S) if times else None
    gone = [version.number for version, following in _proven(connection, surplus)]
    return _Plan(gone, look_at, file.last_version)


def _continued(versions: Sequence[rows.VersionRow]) -> Iterator[Pair]:
    """Yield what may go at some time, each with the version that claims to continue it."""
    for _, group in groupby(versions, key=lambda row: row.attempt):
        for version, following in pairwise(group):
            is_growing = version.policy == "live" and following.splitter == _GROWING
            if is_growing and not version.pinned and version.size_bytes <= following.size_bytes:
                yield version, following


def _goes_at(version: rows.VersionRow, following: rows.VersionRow) -> float | None:
    """Return when a version is no longer one that the rule keeps, or None if it is the last of its day."""
    for period_s, age_s in ((HOUR_S, HOUR_S), (DAY_S, DAY_S)):
        if version.created_at // period_s == following.created_at // period_s:
            return float(version.created_at + age_s)
    return None


def _proven(connection: Connection, pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Yield those pairs in which the second version begins with all chunks of the first."""
    bodies: dict[bytes, bytes] = {}
    chunks: dict[int, bytes] = {}
    for pair in pairs:
        wanted = [row for row in pair if row.number not in chunks]
        manifests = rows.manifests_of(connection, pair[0].file_id, [row.number for row in wanted])
        chunks = {number: chunks[number] for number in chunks if number == pair[0].number}
        for row in wanted:
            chunks[row.number] = _chunk_list(connection, row.domain_id, manifests[row.number], bodies)
        if chunks[pair[1].number].startswith(chunks[pair[0].number]):
            yield pair


def _chunk_list(connection: Connection, domain_id: int, manifest: bytes, bodies: dict[bytes, bytes]) -> bytes:
    """Return the encoded chunk list of a manifest, its segments replaced by their members."""
    records = decode_manifest(manifest)
    unknown = [r.id for r in records if isinstance(r, SegmentRef) and r.id not in bodies]
    bodies.update(content.segment_refs(connection, domain_id, b"".join(unknown)))
    return b"".join(bodies[r.id] if isinstance(r, SegmentRef) else encode_refs([r]) for r in records)
