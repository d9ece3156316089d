"""``holdfast status --explain FILE``: which rules took or left out a file, and what became of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.cli import _output
from holdfast.cli._directories import Standing
from holdfast.patterns import IgnoreRules, Pattern
from holdfast.rundir.facts import Fact, Ignored, NotStored, Restored, Saved, Stored, Watched, from_records
from holdfast.rundir.records import RecordReader
from holdfast.sync.watch import look

_UNTAKEN = "no save call named it, and it is not in run.dir"


def explain(text: str, standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return what is known of a file, for each run directory that knows it.

    Args:
        text: A local path, or a name within the run.
        standings: The run directories, oldest first. If none knows the file, the newest one says so.
    """
    known = [_Known(standing) for standing in standings]
    found = [record for item in known for record in item.explain(text)]
    return found or [item.untaken(text) for item in known[-1:]]


def tell(records: Sequence[dict[str, Any]]) -> None:
    """Show the explanations to the user."""
    for record in records:
        version = f" as version {record['version']}" if record["version"] else ""
        why = f": {record['why']}" if record["why"] else ""
        _output.data(f"{record['run']}  {record['name']}: {record['state']}{version}{why}")
        for rule in record["rules"]:
            _output.data(f"    {_rule_text(rule)}")
        if record["path"]:
            _output.data(f"    {record['path']}")


def _rule_text(rule: dict[str, Any]) -> str:
    match rule["rule"]:
        case "ignore_globs":
            return f"left out by the ignore glob {rule['glob']!r}" + _of(rule["source"])
        case "save":
            return f"named by save({rule['pattern'] or '...'!r}, policy={rule['policy']!r})"
        case "watched":
            return f"matches the watched pattern {rule['pattern']!r}, policy {rule['policy']!r}"
        case "restored":
            return "restored into run.dir: no file of this run until it changes"
    return "lies in run.dir, all of which is stored when the run ends"


def _of(source: str | None) -> str:
    return f" ({source})" if source else ""


@dataclass(frozen=True, slots=True)
class _Named:
    """A name within the run, and the local file that it stands for."""

    name: str
    path: str


class _Known:
    """What the logs of one run directory say, by file."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._files = standing.directory.files
        self._journal: list[Fact] = list(from_records(RecordReader(standing.directory.journal).read()))
        self._ignore = IgnoreRules(standing.opened.ignore_globs)

    def explain(self, text: str) -> list[dict[str, Any]]:
        """Return what is known of each file that the text may mean; nothing if it means none."""
        meant: dict[str, _Named] = {}
        for named in self._meant(text):
            meant.setdefault(named.name, named)
        return [self._record(meant[name]) for name in sorted(meant)]

    def untaken(self, text: str) -> dict[str, Any]:
        """Return the record of a file that nothing took."""
        path = _absolute(text)
        glob = self._ignore.matching(os.path.normpath(text).lstrip("/"))
        would = f"; save() would leave it out by the ignore glob {glob!r}" if glob else ""
        shown = str(path) if path.exists() else None
        return self._as_record(text, shown, [], "not taken", why=f"{_UNTAKEN}{would}")

    def _meant(self, text: str) -> Iterator[_Named]:
        """Yield the files that a local path or a name means."""
        path, name = _absolute(text), os.path.normpath(text)
        for saved, source in self._named():
            if saved == name or source == str(path):
                yield _Named(saved, source)
        if path.is_relative_to(self._files):
            name = path.relative_to(self._files).as_posix()
        place = _absolute(self._files / name)
        if place.is_file() and place.is_relative_to(self._files):
            yield _Named(name, str(place.resolve()))
        elif name in self._standing.facts.files:
            yield _Named(name, str(place))

    def _named(self) -> Iterator[tuple[str, str]]:
        for fact in self._journal:
            if isinstance(fact, Saved):
                yield from ((file.name, file.path) for file in fact.files)
            elif isinstance(fact, Ignored):
                yield from fact.paths.items()

    def _record(self, named: _Named) -> dict[str, Any]:
        rules = list(self._rules(named.name))
        state, why = self._state(named, rules)
        return self._as_record(named.name, named.path, rules, state, why=why)

    def _as_record(
        self, name: str, path: str | None, rules: list[dict[str, Any]], state: str, *, why: str | None
    ) -> dict[str, Any]:
        standing = self._standing
        file = standing.facts.files.get(name)
        return {
            "run": standing.run,
            "directory": str(standing.directory.path),
            "name": name,
            "path": path,
            "state": state,
            "version": file.stored.version if file is not None and file.stored is not None else None,
            "why": why,
            "rules": rules,
        }

    def _rules(self, name: str) -> Iterator[dict[str, Any]]:
        glob = self._ignore.matching(name)
        if glob is not None:
            yield {"rule": "ignore_globs", "glob": glob, "source": self._standing.opened.ignore_source}
        calls = {
            (fact.pattern, fact.policy): None
            for fact in self._journal
            if (isinstance(fact, Saved) and any(file.name == name for file in fact.files))
            or (isinstance(fact, Ignored) and name in fact.files)
        }
        yield from ({"rule": "save", "pattern": pattern, "policy": policy} for pattern, policy in calls)
        place = self._files / name
        if not place.is_file() or (calls and place.is_symlink()):
            return
        for fact in self._journal:
            if isinstance(fact, Watched) and Pattern(fact.pattern).matches(name):
                yield {"rule": "watched", "pattern": fact.pattern, "policy": fact.policy}
            elif isinstance(fact, Restored) and fact.name == name:
                yield {"rule": "restored"}
        yield {"rule": "run.dir", "policy": "end"}

    def _state(self, named: _Named, rules: list[dict[str, Any]]) -> tuple[str, str | None]:
        standing = self._standing
        file = standing.facts.files.get(named.name)
        if any(rule["rule"] == "ignore_globs" for rule in rules):
            return "ignored", None
        if named.name in standing.unstored:
            reason = self._complaint(named.name) or standing.unstored[named.name]
            next_step = f"`holdfast sync {standing.directory.path}`" if self._needs_sync else None
            return "not stored", "; ".join(part for part in (reason, standing.trouble, next_step) if part)
        if file is None or file.stored is None:
            return "not stored", "it has not changed since it was restored" if self._is_restored(
                rules
            ) else None
        seen = look(named.path)
        is_same = seen is None or (seen.size, seen.mtime_ns) == (file.stored.size, file.stored.mtime_ns)
        return "stored", None if is_same or file.policy == "now" else "the local file has changed since"

    @property
    def _needs_sync(self) -> bool:
        return self._standing.state in ("offline", "incomplete", "refused")

    @staticmethod
    def _is_restored(rules: list[dict[str, Any]]) -> bool:
        return any(rule["rule"] == "restored" for rule in rules)

    def _complaint(self, name: str) -> str | None:
        """Return what the syncer last said of a file, if that was a complaint."""
        said = [
            fact
            for fact in from_records(RecordReader(self._standing.directory.sync_log).read())
            if isinstance(fact, Stored | NotStored) and fact.name == name
        ]
        return said[-1].message if said and isinstance(said[-1], NotStored) else None


def _absolute(path: str | Path) -> Path:
    """Return the path from the top, without ``..``, links left as they are."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))
