"""Who a run is: its id, name, notes and tags, and where it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import UsageError
from holdfast.rundir.facts import Described, Opened, Registered, to_record
from holdfast.rundir.records import RecordWriter
from holdfast.training.absent import WITHOUT_EFFECT, Absences

T = TypeVar("T")

_NAME_WAIT_S = 5.0


class Description:
    """What the user says of a run while it goes on: name, notes and tags. It reaches the vault through the journal.

    Args:
        journal: The journal; None: keep it in memory alone.
        complain: Told when the journal cannot be written now.
    """

    def __init__(self, journal: RecordWriter | None, complain: Callable[[str], None]) -> None:
        self._journal = journal
        self._complain = complain
        self._is_dirty = False
        self.now = Described()

    def change(self, **fields: Any) -> None:
        """Set some of the fields of `Described`."""
        self.now = dataclasses.replace(self.now, **fields)
        self._is_dirty = True
        self.flush()

    def flush(self) -> None:
        """Write what an earlier call could not."""
        if not self._is_dirty or self._journal is None:
            return
        try:
            self._journal.append(to_record(self.now))
        except OSError as exc:
            self._complain(
                f"The run's name, notes and tags cannot be written now ({exc}); they are kept in memory."
            )
        else:
            self._is_dirty = False


class Identity:
    """The part of a run that says who it is. What only the vault knows is waited for, a few seconds at most."""

    def __init__(self, opened: Opened, description: Description) -> None:
        self._opened = opened
        self._description = description
        self._absences = Absences()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in WITHOUT_EFFECT:
                return self._absences.call(name)
            raise AttributeError(f"A run of Holdfast has no {name!r}; the guide tells what it has.")

    def _await_registration(self, timeout_s: float) -> Registered | None:
        """Wait until the vault has the run, has refused it, or the time is up."""
        raise NotImplementedError

    def _check_running(self) -> None:
        """Raise `UsageError` if the run is finished."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        return self._opened.run_id

    @property
    def project(self) -> str:
        return self._opened.project

    @property
    def mode(self) -> str:
        """online, offline or disabled."""
        return self._opened.mode

    @property
    def offline(self) -> bool:
        """Whether the run is kept on this machine alone until `holdfast sync`."""
        return self.mode == "offline"

    @property
    def disabled(self) -> bool:
        """Whether nothing at all is kept."""
        return self.mode == "disabled"

    @property
    def rank(self) -> int:
        """Which of the processes that share the run this is; 0 if it has the run for itself."""
        return self._opened.rank

    @property
    def start_time(self) -> float:
        """When `init` was called, in seconds since the epoch."""
        return self._opened.started_at

    @property
    def entity(self) -> str | None:
        """The entity that the run belongs to; waits a few seconds if only the server knows, then is None."""
        return self._opened.entity or self._from_vault(lambda found: found.entity)

    @property
    def path(self) -> str:
        """``entity/project/id``; without an entity while that is not known."""
        return "/".join(part for part in (self.entity, self.project, self.id) if part)

    @property
    def url(self) -> str | None:
        """The run's page on the server; None if there is no server."""
        entity = self.entity if self._opened.base_url else None
        return f"{self._opened.base_url}/{entity}/{self.project}/runs/{self.id}" if entity else None

    @property
    def resumed(self) -> bool:
        """Whether the run had been begun before; waits a few seconds for the vault to tell."""
        return bool(self._from_vault(lambda found: found.resumed))

    @property
    def name(self) -> str | None:
        """The readable name; may be set. If the vault gives it, this waits a few seconds for it, and then is None."""
        own = self._description.now.name or self._opened.name
        return own or self._from_vault(lambda found: found.name)

    @name.setter
    def name(self, name: str) -> None:
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"A run cannot be named {name!r}.", hint="Give it some text.")
        self._describe(name=name)

    @property
    def notes(self) -> str | None:
        """Notes on the run; may be set. Those of a resumed run are there again."""
        own = self._description.now.notes
        own = self._opened.notes if own is None else own
        return own if own is not None else self._from_past(lambda found: found.notes)

    @notes.setter
    def notes(self, notes: str | None) -> None:
        if notes is not None and not isinstance(notes, str):
            raise UsageError(f"Notes are text, not {notes!r}.")
        self._describe(notes=notes or "")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the run; may be set, so ``run.tags += ("best",)`` works. Those of a resumed run are there again."""
        own = self._description.now.tags
        own = self._opened.tags if own is None else own
        return tuple((self._from_past(lambda found: found.tags) or ()) if own is None else own)

    @tags.setter
    def tags(self, tags: Iterable[str] | str | None) -> None:
        given = [tags] if isinstance(tags, str) else list(tags or ())
        if not all(isinstance(tag, str) and tag for tag in given):
            raise UsageError(f"Tags are texts, not {tags!r}.")
        self._describe(tags=list(dict.fromkeys(given)))

    @property
    def group(self) -> str | None:
        """The group of the run."""
        return self._opened.group or self._from_past(lambda found: found.group)

    @property
    def job_type(self) -> str | None:
        """The job type of the run."""
        return self._opened.job_type or self._from_past(lambda found: found.job_type)

    def _describe(self, **fields: Any) -> None:
        self._check_running()
        self._description.change(**fields)

    def _from_vault(self, get: Callable[[Registered], T]) -> T | None:
        found = self._await_registration(_NAME_WAIT_S)
        return None if found is None else get(found)

    def _from_past(self, get: Callable[[Registered], T]) -> T | None:
        """Return what the run had before; only a run that is resumed waits for it."""
        return None if self._opened.resume is None else self._from_vault(get)
