"""Tells the vault of the run itself: that it is there, that it lives, its config and summary, and how it ended."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from holdfast.errors import HoldfastError, UsageError
from holdfast.names import RunPath
from holdfast.protocol.messages import Resume, RunInfo, RunSpec, RunState, RunUpdate
from holdfast.protocol.vault import Vault
from holdfast.rundir.facts import Described, Opened
from holdfast.sync.watch import Signature, look
from holdfast.sync.workers import Report, Worker
from holdfast.training.records import last_step

log = logging.getLogger(__name__)

HEARTBEAT_S = 30.0
CHANGES_S = 2.0


@dataclass(frozen=True, slots=True)
class RunIsOpen:
    """The vault has the run."""

    info: RunInfo


@dataclass(frozen=True, slots=True)
class RunIsTold:
    """The vault knows the run's state as of some update."""

    state: RunState | None


class Herald:
    """Speaks to the vault about one run, by a worker of its own so that a long upload does not silence it.

    Args:
        vault: The vault.
        files: ``run.dir``, where the run's own records lie.
        reports: Where `RunIsOpen`, `RunIsTold` and errors are reported.
    """

    def __init__(self, vault: Vault, files: Path, reports: SimpleQueue[Report]) -> None:
        self.worker = Worker("holdfast-herald", reports)
        self._vault = vault
        self._records = OwnRecords(files)
        self._attempt: str | None = None
        self._described: Described | None = None
        self._next_heartbeat = 0.0
        self._next_look = 0.0

    def open(self, opened: Opened, entity: str | None) -> None:
        """Begin to open the run.

        Args:
            opened: What the trainer wants.
            entity: Where it goes; None: to the entity of whoever syncs.
        """

        def errand() -> Iterator[RunIsOpen]:
            owner = entity or self._vault.whoami().entity
            config = self._records.changes().get("config") or {}
            self._records.forget()  # `keep` tells the rest
            yield RunIsOpen(self._vault.open_run(_spec(opened, owner, config)))

        self._attempt = opened.attempt
        self._records.take_names(opened)
        self._next_heartbeat = time.monotonic() + HEARTBEAT_S
        self.worker.give(errand)

    def keep(self, run: RunPath, described: Described | None) -> None:
        """Tell what has changed, or give a sign of life, if it is time for that and the worker is free."""
        now = time.monotonic()
        if self.worker.is_busy or now < min(self._next_look, self._next_heartbeat):
            return
        self._next_look = now + CHANGES_S
        records, description = self._records.changes(), self._news(described)
        if records or description or now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_S
            self.worker.give(self._update(run, records, description))

    def end(self, run: RunPath, described: Described | None, state: RunState, exit_code: int | None) -> None:
        """Begin to tell how the run ended. The worker must be free."""
        self._forget()
        said = {**self._news(described), "state": state, "exit_code": exit_code}
        self.worker.give(self._update(run, self._records.changes(), said))

    def _news(self, described: Described | None) -> dict[str, Any]:
        """Return what the user has said of the run, if the vault has not been told."""
        if described is None or described == self._described:
            return {}
        self._described = described
        return {"name": described.name, "notes": described.notes, "tags": described.tags}

    def _forget(self) -> None:
        """Let everything be told anew."""
        self._described = None
        self._records.forget()

    def _update(
        self, run: RunPath, records: dict[str, Any], said: dict[str, Any]
    ) -> Callable[[], Iterator[RunIsTold]]:
        said = {"attempt": self._attempt, **said}

        def errand() -> Iterator[RunIsTold]:
            try:
                self._vault.update_run(run, RunUpdate(**records, **said))
            except (HoldfastError, ValueError) as exc:
                if getattr(exc, "retryable", False) or not records:
                    self._forget()
                    raise
                log.warning("The vault does not take the run's config or summary: %s", exc)
                self._vault.update_run(run, RunUpdate(**said))
            yield RunIsTold(said.get("state"))

        return errand


class OwnRecords:
    """The run's own files in ``run.dir``: ``config.yaml``, ``summary.json``, ``history.jsonl``.

    Args:
        files: ``run.dir``.
    """

    def __init__(self, files: Path) -> None:
        self._files = files
        self._seen: dict[str, Signature] = {}
        self._own_name: Callable[[str], str] = str

    def take_names(self, opened: Opened) -> None:
        """Learn which names the files of this rank have, and return everything anew."""
        self._own_name = opened.own_name
        self.forget()

    def forget(self) -> None:
        """Let `changes` return everything anew."""
        self._seen.clear()

    def changes(self) -> dict[str, Any]:
        """Return the fields of a `RunUpdate` whose file changed since the last call and can be read."""
        readers = {
            "config": ("config.yaml", _read_yaml),
            "summary": ("summary.json", _read_json),
            "step": ("history.jsonl", last_step),
        }
        found: dict[str, Any] = {}
        for field, (name, read) in readers.items():
            path = self._files / self._own_name(name)
            seen = look(path)
            if seen is None or seen == self._seen.get(name):
                continue
            self._seen[name] = seen
            try:
                value = read(path)
            except (OSError, ValueError) as exc:
                log.warning("%s cannot be read: %s", path, exc)
                continue
            if value is not None:
                found[field] = value
        return found


def _read_yaml(path: Path) -> dict[str, Any] | None:
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from exc
    return value if isinstance(value, dict) else None


def _read_json(path: Path) -> dict[str, Any] | None:
    value = json.loads(path.read_text(encoding="utf-8"))
    return value if isinstance(value, dict) else None


def _spec(opened: Opened, entity: str, config: dict[str, Any]) -> RunSpec:
    """Return the request that opens the run. Raises `UsageError` for what no vault takes."""
    try:
        return _checked_spec(opened, entity, config)
    except ValueError as exc:
        raise UsageError(f"The run cannot be opened: {exc}") from exc


def _checked_spec(opened: Opened, entity: str, config: dict[str, Any]) -> RunSpec:
    known = {item.value for item in Resume}
    return RunSpec(
        entity=entity,
        project=opened.project,
        run_id=opened.run_id,
        attempt=opened.attempt,
        rank=opened.rank,
        resume=Resume(opened.resume) if opened.resume in known else None,
        name=opened.name,
        notes=opened.notes,
        tags=opened.tags,
        group=opened.group,
        job_type=opened.job_type,
        config=config,
        started_at=opened.started_at,
        host=opened.host,
        program=opened.program,
    )
