"""What the two logs of a run directory say: one frozen class a fact.

The journal is written by the training process alone, the sync log by the syncer alone; each reads the other's.
A fact is stored as a record ``{"fact": "<name>", ...fields}``. Readers ignore facts and fields that they do not know.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from holdfast.errors import UnauthorizedError
from holdfast.rundir.records import Record

# ---------------------------------------------------------------- the journal


@dataclass(frozen=True, slots=True)
class Opened:
    """The first fact of a journal: which run this directory belongs to, and who writes it."""

    fact: ClassVar[str] = "opened"
    attempt: str
    """Random; names this run directory to the vault."""
    entity: str | None
    """None: the entity of whoever syncs it."""
    project: str
    run_id: str
    mode: str
    """online or offline."""
    base_url: str | None
    """The server; None: the embedded vault of ``home``."""
    home: str
    started_at: float
    host: str
    pid: int
    pid_started: float
    """Start time of the process as the system tells it; with the pid it names the process for ever."""
    resume: str | None = None
    name: str | None = None
    notes: str | None = None
    tags: list[str] | None = None
    group: str | None = None
    job_type: str | None = None
    program: str | None = None
    directory: str | None = None
    """The run directory as the training process sees it."""
    journal_ino: int | None = None
    """Inode number of this journal: another one tells a copy of the directory."""
    boot: str | None = None
    """Which life of which machine, and which pid namespace on it, the pid belongs to."""
    quiet_s: float = 1.0
    live_interval_s: float = 2.0
    rank: int = 0
    """Which of the processes that share the run this is."""
    ignore_globs: list[str] = field(default_factory=list)
    """What is never stored, wherever and whenever this directory is synced; see `holdfast.patterns.IgnoreRules`."""
    ignore_source: str | None = None
    """Where those globs were set."""

    def own_name(self, name: str) -> str:
        """Return the name within the run of a file that Holdfast itself makes, such as ``config.yaml``.

        Every such file is to be named by this, so that processes that share a run do not write each other's: that of
        rank 3 is ``ranks/3/config.yaml``.
        """
        return f"ranks/{self.rank}/{name}" if self.rank else name


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of a `Saved` fact."""

    name: str
    path: str
    """Absolute path of the source, symbolic links of our own making resolved."""
    size: int
    mtime_ns: int
    ino: int
    pin: str | None = None
    """File in ``pins/`` that keeps the bytes of this call alive."""
    pin_is_copy: bool = False
    """The pin shares nothing with the source (copy or reflink), so rewriting the source cannot change it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A `save` call that returned."""

    fact: ClassVar[str] = "saved"
    save_id: str
    policy: str
    files: list[SavedFile]
    pattern: str | None = None
    """What the user gave."""
    keep_local: str = "always"
    """always, or until_stored: the syncer removes the source when it is stored."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Files that a `save` call matched and left out, as the ignore globs want it."""

    fact: ClassVar[str] = "ignored"
    pattern: str
    """What the user gave."""
    policy: str
    files: dict[str, str]
    """The glob that ignores it, by name."""
    paths: dict[str, str] = field(default_factory=dict)
    """Absolute path of the source, by name."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A pattern of names within ``run.dir``: what matches it, now or later, is live (or as ``policy`` says)."""

    fact: ClassVar[str] = "watched"
    pattern: str
    policy: str
    keep_local: str = "always"
    """As in `Saved`."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A file that `restore` put into ``run.dir``: while its content is this, it is not a file of this run."""

    fact: ClassVar[str] = "restored"
    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Described:
    """What the user has said of the run since it was opened: what is not None. The last such fact counts."""

    fact: ClassVar[str] = "described"
    name: str | None = None
    notes: str | None = None
    tags: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The run ended by itself."""

    fact: ClassVar[str] = "finished"
    exit_code: int
    at: float
    rewritten: list[str] = field(default_factory=list)
    """Offline: pins of ``now`` saves whose source was rewritten in place, so that they are not as of the call."""


# ---------------------------------------------------------------- the sync log


@dataclass(frozen=True, slots=True)
class SyncerStarted:
    fact: ClassVar[str] = "syncer_started"
    host: str
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Registered:
    """The run is on the vault."""

    fact: ClassVar[str] = "registered"
    entity: str
    project: str
    run_id: str
    name: str
    base_url: str | None
    resumed: bool
    """Another attempt had made the run."""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    step: int | None = None
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    job_type: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The vault will not take this run as things are (``resume`` forbids it, no right, no key)."""

    fact: ClassVar[str] = "refused"
    code: str
    message: str
    hint: str = ""

    @property
    def is_final(self) -> bool:
        """Nothing more is tried unless the user asks for it; a login may come at any time."""
        return self.code != UnauthorizedError.code


@dataclass(frozen=True, slots=True)
class Stored:
    """A version is durable on the vault, and it fulfils the named saves."""

    fact: ClassVar[str] = "stored"
    name: str
    version: int
    digest: str
    size: int
    mtime_ns: int
    """Of the file as it was read."""
    ino: int
    fidelity: str
    created: bool
    """False: the vault had this content as the newest version already."""
    saves: list[str] = field(default_factory=list)
    """``save_id`` of each `Saved` fact that this fulfils for this name."""
    grown: bool = False
    """Read while it grew: whole records up to some moment. The file is read in full once more at the end of the run."""


@dataclass(frozen=True, slots=True)
class NotStored:
    """A file could not be stored; ``retrying`` tells whether the syncer still tries."""

    fact: ClassVar[str] = "not_stored"
    name: str
    code: str
    message: str
    retrying: bool
    saves: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Removed:
    """A local file was removed after its bytes were stored, as its saves want it."""

    fact: ClassVar[str] = "removed"
    name: str
    path: str
    size: int
    version: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The syncer has done all that it can: the run is over and ``missing`` maps what is not stored to why."""

    fact: ClassVar[str] = "ended"
    state: str
    exit_code: int | None
    stored: int
    missing: dict[str, str]
    at: float


JournalFact = Opened | Saved | Ignored | Watched | Restored | Described | Finished
SyncFact = SyncerStarted | Registered | Refused | Stored | NotStored | Removed | Ended
Fact = JournalFact | SyncFact

_CLASSES: dict[str, type[Fact]] = {
    cls.fact: cls
    for cls in (
        *(Opened, Saved, Ignored, Watched, Restored, Described, Finished),
        *(SyncerStarted, Registered, Refused, Stored, NotStored, Removed, Ended),
    )
}


def to_record(fact: Fact) -> Record:
    """Return the record of a fact."""
    record = {"fact": fact.fact, **_fields(fact)}
    if isinstance(fact, Saved):
        record["files"] = [_fields(file) for file in fact.files]
    return record


def _fields(value: Fact | SavedFile) -> Record:
    """Return the fields of a value as they are: `dataclasses.asdict` copies them, which `save` has no time for."""
    return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}


def from_records(records: Iterable[Record]) -> Iterator[Fact]:
    """Yield the facts of records, leaving out what this version does not know or cannot build."""
    for record in records:
        cls = _CLASSES.get(record.get("fact", ""))
        if cls is None:
            continue
        known = {item.name: record[item.name] for item in dataclasses.fields(cls) if item.name in record}
        if cls is Saved:
            names = {item.name for item in dataclasses.fields(SavedFile)}
            known["files"] = [
                SavedFile(**{key: value for key, value in item.items() if key in names})
                for item in known.get("files", [])
            ]
        try:
            yield cls(**known)
        except TypeError:
            continue  # a field that every version has is missing: written by something else
