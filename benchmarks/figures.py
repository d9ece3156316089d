"""Figures: what a benchmark reports, one JSON line each, and how several runs become one."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure beside what it is measured against."""

    figure: str
    value: float
    unit: str
    beside: str
    """What ``peer`` is: a limit of the machine or another program that does the same, measured in the same run."""
    peer: float | None
    ratio: float | None
    """``value`` / ``peer``; for rates, more is better."""
    target: str
    met: bool | None
    """None: nothing was promised, the figure is told for comparison."""
    runs: int
    low: float
    high: float

    def report(self) -> None:
        print(json.dumps({name: _rounded(value) for name, value in asdict(self).items()}), flush=True)


def report(
    figure: str,
    values: float | Sequence[float],
    unit: str,
    *,
    beside: str = "",
    peer: float | Sequence[float] | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    ratio_at_most: float | None = None,
    ratio_at_least: float | None = None,
    runs: int | None = None,
) -> None:
    """Print the median of some runs as a figure, and whether it keeps what was promised.

    Args:
        figure: What was measured.
        values: One value a run (or one value that is itself a quantile of many; then give ``runs``).
        unit: Of the values.
        beside: What the peer is.
        peer: The values of the peer, measured in turn with ours.
        at_most: Promised of the value; so are the other three, of the value or of value / peer.
        at_least: See ``at_most``.
        ratio_at_most: See ``at_most``.
        ratio_at_least: See ``at_most``.
        runs: How many measurements there were, if not one a value.
    """
    ours, theirs = _listed(values), _listed(peer)
    value = statistics.median(ours)
    other = statistics.median(theirs) if theirs else None
    ratio = value / other if other else None
    promises = [
        (value, at_most, "<=", unit),
        (value, at_least, ">=", unit),
        (ratio, ratio_at_most, "<=", "x"),
        (ratio, ratio_at_least, ">=", "x"),
    ]
    made = [promise for promise in promises if promise[1] is not None]
    Figure(
        figure=figure,
        value=value,
        unit=unit,
        beside=beside,
        peer=other,
        ratio=ratio,
        target=", ".join(f"{sign} {bound:.6g} {of}" for _, bound, sign, of in made),
        met=all(_keeps(*promise[:3]) for promise in made) if made else None,
        runs=len(ours) if runs is None else runs,
        low=min(ours),
        high=max(ours),
    ).report()


def quantile(values: Iterable[float], share: float) -> float:
    """Return the smallest of the values that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _keeps(value: float | None, bound: float | None, sign: str) -> bool:
    assert value is not None
    assert bound is not None
    return value <= bound if sign == "<=" else value >= bound


def _listed(values: float | Sequence[float] | None) -> list[float]:
    if values is None:
        return []
    return [values] if isinstance(values, int | float) else list(values)


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value
