"""Filters over runs, in the form that MongoDB and W&B use: the language, and whether a run matches. Pure.

``{"state": "finished", "config.lr": {"$gt": 0.1}, "$or": [{"tags": "best"}, {"display_name": {"$regex": "^amber"}}]}``

What a condition means on a list (tags) is true if it is true of the list or of one of its items. Values of different
types are never equal and never ordered. An absent value equals None and nothing else.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, NamedTuple, TypeAlias

from holdfast.errors import UsageError
from holdfast.times import parse_time

_DEPTH_MAX = 32
_FIELDS = {
    "id": "run_id",
    "run_id": "run_id",
    "display_name": "name",
    "displayName": "name",
    "state": "state",
    "tags": "tags",
    "notes": "notes",
    "group": "group",
    "job_type": "job_type",
    "jobType": "job_type",
    "user": "user",
    "username": "user",
    "created_at": "created_at",
    "createdAt": "created_at",
    "heartbeat_at": "heartbeat_at",
    "heartbeatAt": "heartbeat_at",
    "updated_at": "heartbeat_at",
    "updatedAt": "heartbeat_at",
    "ended_at": "ended_at",
    "duration": "duration",
    "step": "step",
    "exit_code": "exit_code",
}
_DICTIONARIES = {"config": "config", "summary": "summary", "summary_metrics": "summary"}
_TIMES = ("created_at", "heartbeat_at", "ended_at")
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_NEGATIONS = {"$ne": "$eq", "$nin": "$in"}
_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$regex", "$not")


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
"""The value of what a run does not have."""


class Field(NamedTuple):
    """What is looked at: a column of a run, or a key within its config or summary."""

    column: str
    key: str | None = None


Lookup: TypeAlias = Callable[[Field], Any]
"""Returns a run's value of a field, or `ABSENT`."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison."""

    field: Field
    operator: str
    operand: Any

    def matches(self, lookup: Lookup) -> bool:
        value = lookup(self.field)
        if self.operator == "$exists":
            return (value is not ABSENT) is self.operand
        candidates = [value, *value] if isinstance(value, list) else [value]
        return any(self._holds(candidate) for candidate in candidates)

    def _holds(self, value: Any) -> bool:
        if self.operator == "$eq":
            return is_same(value, self.operand)
        if self.operator == "$in":
            return any(is_same(value, one) for one in self.operand)
        if self.operator == "$regex":
            return isinstance(value, str) and self.operand.search(value) is not None
        ranks = rank(value), rank(self.operand)
        return ranks[0] == ranks[1] is not None and _ORDERED[self.operator](value, self.operand)


@dataclass(frozen=True, slots=True)
class Every:
    """All of some filters; with none of them: everything."""

    parts: tuple[Filter, ...]

    def matches(self, lookup: Lookup) -> bool:
        return all(part.matches(lookup) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of some filters."""

    parts: tuple[Filter, ...]

    def matches(self, lookup: Lookup) -> bool:
        return any(part.matches(lookup) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary of a filter."""

    part: Filter

    def matches(self, lookup: Lookup) -> bool:
        return not self.part.matches(lookup)


Filter: TypeAlias = Condition | Every | Some | Not


# ---------------------------------------------------------------- values


def rank(value: Any) -> int | None:
    """Return which values a value can be ordered among: 0 booleans, 1 numbers, 2 texts; None: not at all."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int | float):
        return 1
    return 2 if isinstance(value, str) else None


def is_same(value: Any, other: Any) -> bool:
    """Tell whether two values are equal; an absent one equals None, and True is not 1."""
    value = None if value is ABSENT else value
    return rank(value) == rank(other) and bool(value == other)


def fields_of(part: Filter) -> set[Field]:
    """Return what a filter looks at."""
    if isinstance(part, Condition):
        return {part.field}
    if isinstance(part, Not):
        return fields_of(part.part)
    return set().union(*(fields_of(each) for each in part.parts))


# ---------------------------------------------------------------- parsing


def parse_field(name: str) -> Field:
    """Return the field of a name. Raises `UsageError` if there is none."""
    first, dot, key = name.partition(".")
    if dot and key and first in _DICTIONARIES:
        return Field(_DICTIONARIES[first], key)
    if name == "name":
        raise UsageError(
            "A run cannot be filtered by 'name', which W&B takes for the run id.",
            hint='Write "display_name" for the name, or "id" for the run id.',
        )
    if name not in _FIELDS:
        raise UsageError(
            f"Runs have no field {name!r}.",
            hint=f"There are config.KEY, summary_metrics.KEY, {', '.join(dict.fromkeys(_FIELDS.values()))}.",
        )
    return Field(_FIELDS[name])


def parse_filter(filters: Mapping[str, Any], depth: int = 0) -> Every:
    """Return the filter that a dictionary means.

    Raises:
        UsageError: It means none; the message names the operator or field that is wrong.
    """
    if depth > _DEPTH_MAX:
        raise UsageError(f"A filter cannot be nested more than {_DEPTH_MAX} deep.")
    if not isinstance(filters, Mapping):
        raise UsageError(f"A filter is a dictionary, not {filters!r}.")
    parts: list[Filter] = []
    for name, wanted in filters.items():
        if name in ("$and", "$or", "$nor"):
            parts.append(_joined(name, wanted, depth))
        elif str(name).startswith("$"):
            raise _no_operator(name, "$and, $or, $nor; others belong behind a field")
        else:
            parts.append(_conditions(parse_field(str(name)), name, wanted, depth))
    return Every(tuple(parts))


def _joined(name: str, wanted: Any, depth: int) -> Filter:
    if not isinstance(wanted, list | tuple) or not wanted:
        raise UsageError(f"{name!r} takes a list of filters, not {wanted!r}.")
    parts = tuple(parse_filter(each, depth + 1) for each in wanted)
    if name == "$and":
        return Every(parts)
    return Some(parts) if name == "$or" else Not(Some(parts))


def _conditions(field: Field, name: str, wanted: Any, depth: int) -> Filter:
    if not isinstance(wanted, Mapping) or not any(str(key).startswith("$") for key in wanted):
        return _condition(field, name, "$eq", wanted)
    parts: list[Filter] = []
    for sign, operand in wanted.items():
        if sign == "$options":
            continue
        if sign == "$not":
            parts.append(Not(_nested(field, name, operand, depth)))
        elif sign == "$regex":
            parts.append(Condition(field, sign, _regex(name, operand, wanted.get("$options", ""))))
        else:
            parts.append(_condition(field, name, sign, operand))
    return Every(tuple(parts))


def _nested(field: Field, name: str, operand: Any, depth: int) -> Filter:
    if depth >= _DEPTH_MAX or not isinstance(operand, Mapping):
        raise UsageError(f"'$not' of {name!r} takes a dictionary of operators, not {operand!r}.")
    return _conditions(field, name, operand, depth + 1)


def _condition(field: Field, name: str, sign: str, operand: Any) -> Filter:
    if sign in _NEGATIONS:
        return Not(_condition(field, name, _NEGATIONS[sign], operand))
    if sign not in _OPERATORS:
        raise _no_operator(sign, ", ".join(_OPERATORS))
    if sign == "$in":
        if not isinstance(operand, list | tuple):
            raise UsageError(f"'$in' and '$nin' of {name!r} take a list, not {operand!r}.")
        return Condition(field, sign, [_value(field, one) for one in operand])
    if sign == "$exists":
        return Condition(field, sign, bool(operand))
    value = _value(field, operand)
    if sign in _ORDERED and rank(value) is None:
        raise UsageError(f"{sign!r} of {name!r} takes a number or a text, not {operand!r}.")
    return Condition(field, sign, value)


def _value(field: Field, operand: Any) -> Any:
    """Return what a field is compared with; times are given as ISO 8601 (UTC where no zone is named)."""
    is_time = field.column in _TIMES and isinstance(operand, str)
    return parse_time(operand, zone=UTC) if is_time else operand


def _regex(name: str, operand: Any, options: Any) -> re.Pattern[str]:
    flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
    try:
        chosen = [flags[letter] for letter in options]
        return re.compile(operand, sum(chosen))
    except (re.error, TypeError, KeyError, RecursionError, OverflowError) as exc:
        raise UsageError(
            f"'$regex' of {name!r} takes a regular expression, not {operand!r}: {exc}."
        ) from None


def _no_operator(sign: Any, known: str) -> UsageError:
    return UsageError(f"There is no filter operator {sign!r}.", hint=f"There are {known}.")
