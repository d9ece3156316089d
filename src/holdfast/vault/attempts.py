"""How the attempts of a run, one for each rank and start, make up the state of the run. Pure.

**Which attempts count.** A run is running while any of them is. Then, of each rank the newest; one of an earlier round
only if it still lived when the newest round began: a job that goes on with fewer ranks is not judged by those that it no
longer has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.protocol.messages import RunState
from holdfast.vault.catalog.runs import AttemptRow

_WORST_FIRST = (RunState.CRASHED, RunState.FAILED, RunState.FINISHED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run is, by its attempts."""

    state: RunState
    exit_code: int | None = None
    ended_at: float | None = None


def next_round(attempts: Sequence[AttemptRow], rank: int) -> int:
    """Return the round of a new attempt: the newest one, or one more if this rank has been in that."""
    newest = max((row.round for row in attempts), default=1)
    return newest + any(row.rank == rank and row.round == newest for row in attempts)


def newest_of_ranks(attempts: Sequence[AttemptRow]) -> dict[int, AttemptRow]:
    """Return the newest attempt of each rank, by rank."""
    newest = {row.rank: row for row in sorted(attempts, key=lambda row: int(row.number))}
    return dict(sorted(newest.items()))


def state_of(row: AttemptRow, *, now: float, silence_s: float) -> RunState:
    """Return how an attempt is; one that runs and has been silent for too long has crashed."""
    state = RunState(row.state)
    is_silent = now - row.heartbeat_at > silence_s
    return RunState.CRASHED if state is RunState.RUNNING and is_silent else state


def outcome_of(attempts: Sequence[AttemptRow], *, now: float, silence_s: float) -> Outcome:
    """Return how a run with these attempts (at least one) is."""
    states = {row.number: state_of(row, now=now, silence_s=silence_s) for row in attempts}
    if RunState.RUNNING in states.values():
        return Outcome(RunState.RUNNING)
    newest_round = max(row.round for row in attempts)
    began = min(row.opened_at for row in attempts if row.round == newest_round)
    counted = [
        row
        for row in newest_of_ranks(attempts).values()
        if row.round == newest_round or _last_sign(row) >= began
    ]
    worst = min(counted, key=lambda row: (_WORST_FIRST.index(states[row.number]), row.rank))
    ended_at = max(_last_sign(row) for row in counted)
    return Outcome(states[worst.number], worst.exit_code, ended_at)


def _last_sign(row: AttemptRow) -> float:
    return float(row.heartbeat_at if row.ended_at is None else row.ended_at)
