"""Deciding what is to be done next with one file. It looks at files and changes nothing but its own notes on them.

The order within a name: saves of policy ``now`` first, each from its own bytes and oldest first; then whatever any later
version fulfils. So the last version that is made is the file as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.protocol.messages import Fidelity
from holdfast.rundir.facts import Stored
from holdfast.sync.jobs import Job, ReadRule
from holdfast.sync.state import FileState, OneSave
from holdfast.sync.watch import Signature, Track, look

GROWTH_LOOK_S = 0.5
"""Seconds between looks at a file that may turn out to be one that only grows."""
DELETED = "deleted before it could be stored"


@dataclass(frozen=True, slots=True)
class Terms:
    """The circumstances of a decision."""

    now: float
    """On a clock that never goes back."""
    wall_now: float
    """Seconds since the epoch."""
    quiet_s: float
    is_ending: bool = False
    """The run is over: everything is wanted, and nothing waits for its turn."""
    is_patient: bool = True
    """False: what cannot be read as it should be is read as it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Store this now."""

    job: Job
    size: int
    is_last: bool
    """After this nothing more can be done for the file: the patience is used up."""


@dataclass(frozen=True, slots=True)
class Fulfil:
    """The newest version is what these saves want."""

    saves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Later:
    """Look again then."""

    at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The file is gone and nothing keeps its bytes."""

    saves: tuple[str, ...]


Decision = Plan | Fulfil | Later | Lost | None


class Planner:
    """Decides for the files of one run directory.

    Args:
        pins: The folder of the pins.
    """

    def __init__(self, pins: Path) -> None:
        self._pins = pins

    def decide(self, file: FileState, track: Track, terms: Terms) -> Decision:
        """Return what to do next with a file; None: nothing, as things are."""
        if file.refusal is not None or track.is_final:
            return None
        if track.not_before > terms.now:
            return Later(track.not_before)
        lost: tuple[str, ...] = ()
        for save in file.open_now():
            decision = self._decide_now(file, save, terms)
            if not isinstance(decision, Lost):
                return decision
            lost += decision.saves
        decision = self._decide_rest(file, track, terms)
        if isinstance(decision, Lost) or (decision is None and lost):
            return Lost(lost + (decision.saves if decision else ()))
        return decision

    def _decide_rest(self, file: FileState, track: Track, terms: Terms) -> Decision:
        """Decide about the file as it is, not as it was at some call."""
        wanted = file.open_later(is_ending=terms.is_ending)
        if not (wanted or file.live or file.once or (file.end and terms.is_ending)):
            return None
        seen = look(file.path) if file.path is not None else None
        if seen is None:
            return self._decide_gone(file, wanted, terms)
        track.observe(seen, terms.now, terms.wall_now)
        if _is_clean(file.stored, seen, terms):
            return Fulfil(_ids(wanted)) if wanted else None
        if not (wanted or file.live or (file.end and terms.is_ending)) and _has_once(file.stored, seen):
            return None
        return self._decide_changed(file, track, seen, _ids(wanted), terms)

    def _decide_now(self, file: FileState, save: OneSave, terms: Terms) -> Decision:
        item = save.file
        taken = (item.size, item.mtime_ns)
        if file.stored is not None and _signature(file.stored) == Signature(*taken, item.ino):
            return Fulfil((save.save_id,))
        pin = self._pins / item.pin if item.pin else None
        pinned = look(pin) if pin else None
        if pin is not None and pinned is not None:
            if item.pin_is_copy:
                return _plan(file, pin, pinned, ReadRule.PINNED, (save.save_id,), terms=terms, policy="now")
            same = (pinned.size, pinned.mtime_ns) == taken
            path, seen, rule = pin, pinned, ReadRule.PINNED if same else ReadRule.SETTLED
        else:
            source = look(item.path)
            if source is None:
                return Lost((save.save_id,))
            path, seen, rule = Path(item.path), source, ReadRule.SETTLED
        if rule is ReadRule.SETTLED:
            quiet_at = _quiet_at(seen, terms)
            if quiet_at > terms.now and terms.is_patient:
                return Later(quiet_at)
            rule = rule if terms.is_patient else ReadRule.ANYWAY
        return _plan(file, path, seen, rule, (save.save_id,), terms=terms, policy="now", expect=taken)

    def _decide_gone(self, file: FileState, wanted: Sequence[OneSave], terms: Terms) -> Decision:
        for save in reversed(wanted):
            pin = self._pins / save.file.pin if save.file.pin else None
            seen = look(pin) if pin else None
            if pin is None or seen is None:
                continue
            same = save.file.pin_is_copy or (seen.size, seen.mtime_ns) == (save.file.size, save.file.mtime_ns)
            if not same and terms.is_patient and _quiet_at(seen, terms) > terms.now:
                return Later(_quiet_at(seen, terms))
            unpinned = ReadRule.SETTLED if terms.is_patient else ReadRule.ANYWAY
            return _plan(file, pin, seen, ReadRule.PINNED if same else unpinned, _ids(wanted), terms=terms)
        return Lost(_ids(wanted)) if wanted else None

    def _decide_changed(
        self, file: FileState, track: Track, seen: Signature, saves: tuple[str, ...], terms: Terms
    ) -> Decision:
        assert file.path is not None
        path = Path(file.path)
        if terms.is_ending:
            quiet_at, growth_at = track.changed_at + terms.quiet_s, terms.now
        else:
            growth_at = max(track.next_version, terms.now)
            quiet_at = max(track.changed_at + terms.quiet_s, growth_at)
            track.growth.observe(
                file.name, seen, terms.now, lambda offset, length: _read(path, offset, length)
            )
            if track.growth.is_trusted and not _is_prefix_stored(file.stored, seen):
                if growth_at > terms.now:
                    return Later(growth_at)
                return _plan(file, path, seen, ReadRule.PREFIX, saves, terms=terms)
        if not terms.is_patient:
            return _plan(file, path, seen, ReadRule.ANYWAY, saves, terms=terms)
        if quiet_at > terms.now:
            may_grow = not terms.is_ending and not track.growth.is_rewriter
            return Later(min(quiet_at, terms.now + GROWTH_LOOK_S) if may_grow else quiet_at)
        return _plan(file, path, seen, ReadRule.SETTLED, saves, terms=terms)


def _plan(
    file: FileState,
    path: Path,
    seen: Signature,
    rule: ReadRule,
    saves: tuple[str, ...],
    *,
    terms: Terms,
    policy: str | None = None,
    expect: tuple[int, int] | None = None,
) -> Plan:
    job = Job(
        name=file.name,
        path=path,
        rule=rule,
        policy=policy or file.policy,
        saves=saves,
        fidelity=Fidelity.EXACT,
        quiet_s=terms.quiet_s,
        expect=expect,
    )
    return Plan(job, seen.size, is_last=policy is None and not terms.is_patient)


def _ids(saves: Sequence[OneSave]) -> tuple[str, ...]:
    return tuple(save.save_id for save in saves)


def _signature(stored: Stored) -> Signature:
    return Signature(stored.size, stored.mtime_ns, stored.ino)


def _is_clean(stored: Stored | None, seen: Signature, terms: Terms) -> bool:
    if stored is None or _signature(stored) != seen or stored.fidelity == Fidelity.UNSETTLED:
        return False
    return not (stored.grown and terms.is_ending)


def _has_once(stored: Stored | None, seen: Signature) -> bool:
    return stored is not None and stored.ino == seen.ino


def _is_prefix_stored(stored: Stored | None, seen: Signature) -> bool:
    """Tell whether the whole records of just this state are stored, so that only an unfinished one is left."""
    return stored is not None and stored.grown and (stored.mtime_ns, stored.ino) == (seen.mtime_ns, seen.ino)


def _quiet_at(seen: Signature, terms: Terms) -> float:
    age = terms.wall_now - seen.mtime_ns / 1e9
    return terms.now + (terms.quiet_s - age if 0 <= age < terms.quiet_s else 0.0)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
