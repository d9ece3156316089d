"""What the two logs of a run directory say together: which saves are open and what is stored. Pure.

Facts may be taken in any order that keeps the order of each log: the journal first and the sync log after it when a
syncer starts, each as it comes later on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.patterns import IgnoreRules, Pattern
from holdfast.rundir.facts import (
    Described,
    Ended,
    Fact,
    Finished,
    Ignored,
    NotStored,
    Opened,
    Refused,
    Registered,
    Removed,
    Restored,
    Saved,
    SavedFile,
    Stored,
    SyncerStarted,
    Watched,
)


@dataclass(frozen=True, slots=True)
class OneSave:
    """One file of one `save` call."""

    save_id: str
    policy: str
    file: SavedFile


@dataclass(slots=True)
class FileState:
    """One name within the run."""

    name: str
    path: str | None = None
    """Where the file is; None: not known in this life of the syncer."""
    is_saved: bool = False
    """A `save` call named it; else it was only found in ``run.dir``."""
    live: bool = False
    once: bool = False
    """Found in ``run.dir`` and watched with policy ``now``: stored once for each inode."""
    end: bool = False
    open: list[OneSave] = field(default_factory=list)
    """Saves that no version fulfils yet, oldest first."""
    fulfilled: list[OneSave] = field(default_factory=list)
    stored: Stored | None = None
    """The newest version."""
    refusal: NotStored | None = None
    """Why the file can never be stored."""

    @property
    def policy(self) -> str:
        """The strongest policy that was asked for."""
        return "live" if self.live else "end" if self.end else "now"

    def adopt(self, path: str, policy: str) -> None:
        """Note a file that was found in ``run.dir`` under this name."""
        if not self.is_saved:
            self.path = path
        self.live |= policy == "live"
        self.once |= policy == "now"
        self.end |= policy == "end"

    def open_now(self) -> list[OneSave]:
        """Return the open saves of policy ``now``, oldest first."""
        return [save for save in self.open if save.policy == "now"]

    def open_later(self, *, is_ending: bool) -> list[OneSave]:
        """Return the open saves that any version read from now on fulfils; those of ``end`` only at the end."""
        return [save for save in self.open if save.policy == "live" or (save.policy == "end" and is_ending)]


class RunState:
    """All that is known of the run of one directory.

    Args:
        ignore_globs: What is not stored, besides what the run itself ignores.
    """

    def __init__(self, ignore_globs: Iterable[str] = ()) -> None:
        self._more_globs = tuple(ignore_globs)
        self._ignore = IgnoreRules(self._more_globs)
        self.ignored: dict[str, str] = {}
        """What was left out: the ignore glob by name."""
        self.opened: Opened | None = None
        self.described: Described | None = None
        self.finished: Finished | None = None
        self.registered: Registered | None = None
        self.refused: Refused | None = None
        self.ended: Ended | None = None
        self.files: dict[str, FileState] = {}
        self.watched: list[tuple[Pattern, str]] = []
        self.restored: dict[str, Restored] = {}
        self.removed: dict[str, Removed] = {}
        """The last time that a local file was removed, by name."""
        self.may_remove = False
        """Some save wants its files to be removed once they are stored."""
        self.saves = 0
        """How many facts there were of saves and watches."""
        self._wishes: dict[str, bool] = {}
        """Of each saved path whether all saves of it want that."""
        self._watch_wishes: list[tuple[Pattern, bool]] = []

    def file(self, name: str) -> FileState:
        """Return the state of a name, made if it was unknown."""
        return self.files.setdefault(name, FileState(name))

    def take(self, fact: Fact) -> list[OneSave]:
        """Take in one fact of either log, and return the saves that it fulfils."""
        match fact:
            case Opened():
                self._open(fact)
            case Saved():
                self._save(fact)
            case Ignored():
                self.ignored.update(fact.files)
            case Watched():
                self._watch(fact)
            case Restored():
                self.restored[fact.name] = fact
            case Described():
                self.described = fact
            case Finished():
                self.finished = fact
            case Registered():
                self._register(fact)
            case Refused():
                self.refused = fact
            case Stored():
                return self._store(fact)
            case NotStored():
                if not fact.retrying:
                    self.file(fact.name).refusal = fact
            case Removed():
                self.removed[fact.name] = fact
            case Ended():
                self.ended = fact
            case SyncerStarted():
                pass
        return []

    def ignores(self, name: str) -> bool:
        """Tell whether a name is ignored, and if so, note it."""
        glob = self._ignore.matching(name)
        if glob is not None:
            self.ignored[name] = glob
        return glob is not None

    def try_again(self) -> None:
        """Forget what was refused: the user has had time to mend it."""
        self.refused = None
        for file in self.files.values():
            file.refusal = None

    def stored_count(self) -> int:
        """Return how many names have a version."""
        return sum(file.stored is not None for file in self.files.values())

    def watch_policy(self, name: str) -> str | None:
        """Return the strongest policy that a pattern gives a name of ``run.dir``, or None."""
        found = {policy for pattern, policy in self.watched if pattern.matches(name)}
        return next((policy for policy in ("live", "now", "end") if policy in found), None)

    def may_go(self, file: FileState) -> bool:
        """Tell whether all who saved a file want it to be removed once it is stored."""
        watches = [wish for pattern, wish in self._watch_wishes if pattern.matches(file.name)]
        saved = self._wishes.get(file.path or "")
        wishes = watches if saved is None else [*watches, saved]
        return bool(wishes) and all(wishes)

    def _watch(self, fact: Watched) -> None:
        self.saves += 1
        pattern, wish = Pattern(fact.pattern), fact.keep_local == "until_stored"
        self.watched.append((pattern, fact.policy))
        self._watch_wishes.append((pattern, wish))
        self.may_remove |= wish

    def _open(self, fact: Opened) -> None:
        if self.opened is None:
            self.opened = fact
            self._ignore = IgnoreRules([*fact.ignore_globs, *self._more_globs])

    def _save(self, fact: Saved) -> None:
        self.saves += 1
        for item in fact.files:
            if self.ignores(item.name):
                continue
            file = self.file(item.name)
            file.path, file.is_saved = item.path, True
            wish = fact.keep_local == "until_stored"
            self._wishes[item.path] = wish and self._wishes.get(item.path, True)
            self.may_remove |= wish
            file.live |= fact.policy == "live"
            file.end |= fact.policy == "end"
            file.open.append(OneSave(fact.save_id, fact.policy, item))

    def _store(self, fact: Stored) -> list[OneSave]:
        file = self.file(fact.name)
        file.stored, file.refusal = fact, None
        done = [save for save in file.open if save.save_id in fact.saves]
        file.open = [save for save in file.open if save.save_id not in fact.saves]
        file.fulfilled += done
        return done

    def _register(self, fact: Registered) -> None:
        before, self.registered, self.refused = self.registered, fact, None
        if before is None or _target(before) == _target(fact):
            return
        for file in self.files.values():  # another vault has nothing of what the first one has
            file.open = file.fulfilled + file.open
            file.fulfilled, file.stored = [], None


def _target(fact: Registered) -> tuple[str | None, str, str, str]:
    return fact.base_url, fact.entity, fact.project, fact.run_id
