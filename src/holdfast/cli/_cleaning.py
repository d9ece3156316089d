"""The second half of ``holdfast sync --clean``: which run directories may go, the question, and what became of them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from holdfast.cleaning.clean import Cleaned, clean_directory, why_held
from holdfast.cleaning.survey import Survey
from holdfast.cli import _output
from holdfast.cli._directories import Standing, standing_of
from holdfast.errors import HoldfastError, IncompleteError, UsageError
from holdfast.protocol.vault import Vault
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.trash import empty_trash
from holdfast.settings import Settings

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_age(_context: click.Context, _option: click.Parameter, text: str | None) -> float:
    """Return the seconds of an age such as ``24h`` or ``7d``."""
    if text is None:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is not an age; write 30m, 24h or 7d.")
    return float(found[1]) * _UNITS_S[found[2]]


@dataclasses.dataclass(slots=True)
class Item:
    """One run directory, and what became of it."""

    standing: Standing
    cleaned: Cleaned
    error: HoldfastError | None = None

    @property
    def exit_code(self) -> int:
        """0 also for a directory that is kept although nothing in it is missing on the vault."""
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.cleaned.is_proven else IncompleteError.exit_code

    def record(self) -> dict[str, Any]:
        """Return what became of it."""
        is_gone = self.error is None and self.cleaned.kept is None
        return {
            "run": self.standing.run,
            "directory": str(self.standing.directory.path),
            "removed": is_gone,
            "files": self.cleaned.files,
            "freed_bytes": self.cleaned.freed_bytes if is_gone else 0,
            "kept_because": self.error.message if self.error is not None else self.cleaned.kept,
        }


class Cleaning:
    """Cleans run directories one after the other.

    Args:
        directories: The run directories.
        settings: The settings in force.
        older_than_s: How long ago a run must have ended.
        dry_run: Only tell what would go.
        named: The user named the directories: also one that ``resume="auto"`` would go on with may go.
    """

    def __init__(
        self,
        directories: Sequence[RunDirectory],
        settings: Settings,
        *,
        older_than_s: float,
        dry_run: bool,
        named: bool,
    ) -> None:
        self._settings = settings
        self._older_than_s = older_than_s
        self._dry_run = dry_run
        self.items = [
            Item(standing, Cleaned())
            for directory in directories
            if (standing := standing_of(directory)) is not None
        ]
        if not dry_run:
            for root in {settings.run_root, *(directory.path.parent for directory in directories)}:
                empty_trash(root)
        held_for_resume = set() if named else set(_to_be_resumed(self.items))
        for item in self.items:
            item.cleaned = self._glance(item.standing, item.standing.directory.path in held_for_resume)

    def run(self, *, ask: bool) -> None:
        """Remove what is proven to be stored; whatever prevents it is kept for the report.

        Args:
            ask: Let the user decide first, after showing what may go.
        """
        may_go = [item for item in self.items if item.cleaned.kept is None]
        if ask and may_go and not _is_wanted(may_go):
            for item in may_go:
                item.cleaned = dataclasses.replace(item.cleaned, kept="you said no")
            return
        with contextlib.ExitStack() as stack:
            vaults: dict[tuple[Path, str | None], Vault] = {}
            for item in may_go:
                try:
                    self._clean(item, stack, vaults)
                except HoldfastError as exc:
                    item.error = exc

    @property
    def exit_code(self) -> int:
        return next((item.exit_code for item in self.items if item.exit_code), 0)

    def record(self) -> dict[str, Any]:
        """Return what became of all."""
        records = [item.record() for item in self.items]
        return {
            "dry_run": self._dry_run,
            "directories": records,
            "freed_bytes": sum(record["freed_bytes"] for record in records),
        }

    def tell(self) -> None:
        """Show what became of all."""
        if not self.items:
            _output.note("There are no run directories to clean.")
            return
        for item in self.items:
            if item.error is not None:
                _output.error(f"{item.standing.directory.path}: {item.error.message}", item.error.hint)
            elif item.cleaned.kept is not None:
                _output.data(f"kept {item.standing.directory.path}: {item.cleaned.kept}")
            else:
                _output.data(_line("would remove" if self._dry_run else "removed", item))
        freed = _output.size_text(self.record()["freed_bytes"])
        _output.data(f"{freed} would be freed" if self._dry_run else f"{freed} freed")

    def _glance(self, standing: Standing, is_to_be_resumed: bool) -> Cleaned:
        """Return what can be said without asking the vault: why it is kept, or what there is to free."""
        directory = standing.directory
        try:
            survey = Survey(directory)
            reason = why_held(directory, standing.facts, self._older_than_s)
        except OSError as exc:
            return Cleaned(kept=f"{exc.filename} cannot be read: {exc.strerror}")
        if reason is None and standing.state != "stored":
            names = next(iter(standing.unstored), None)
            what = f": {names!r} is not stored" if names else ""
            found = Cleaned(kept=f"its state is {standing.state}{what}", is_proven=False)
        elif reason is None and is_to_be_resumed:
            found = Cleaned(kept='resume="auto" would go on with it; name the directory to remove it')
        else:
            found = Cleaned(kept=reason)
        return dataclasses.replace(found, files=len(survey.user_files()), freed_bytes=survey.freed_bytes())

    def _clean(
        self, item: Item, stack: contextlib.ExitStack, vaults: dict[tuple[Path, str | None], Vault]
    ) -> None:
        from holdfast.connect import open_vault
        from holdfast.syncer import settings_for

        registered = item.standing.facts.registered
        opened = dataclasses.replace(
            item.standing.opened, base_url=None if registered is None else registered.base_url
        )
        settings = settings_for(opened, self._settings)
        key = (settings.home, settings.base_url)
        if key not in vaults:
            vaults[key] = open_vault(settings)
            stack.callback(vaults[key].close)
        item.cleaned = clean_directory(
            item.standing.directory,
            vaults[key],
            base_url=opened.base_url,
            older_than_s=self._older_than_s,
            dry_run=self._dry_run,
        )


def check_asking(*, yes: bool, dry_run: bool, is_terminal: bool) -> None:
    """Raise `UsageError` if nobody can be asked and nothing says that the answer is yes."""
    if not (yes or dry_run or is_terminal):
        raise UsageError(
            "`holdfast sync --clean` asks before it removes anything, and there is no terminal to ask at.",
            hint="Pass --yes to remove without being asked, or --dry-run to see what would go.",
        )


def _is_wanted(items: Sequence[Item]) -> bool:
    for item in items:
        _output.note(_line("may go", item))
    directories = "1 run directory" if len(items) == 1 else f"{len(items)} run directories"
    total = _output.size_text(sum(item.cleaned.freed_bytes for item in items))
    return click.confirm(
        f"Remove {directories} ({total}), each after the vault has confirmed every byte of it?", err=True
    )


def _to_be_resumed(items: Sequence[Item]) -> Iterator[Path]:
    """Yield the directories that ``resume="auto"`` would go on with: of each project in a folder the newest, unless it ended well."""
    newest: dict[tuple[Path, str, int], Standing] = {}
    for item in items:
        standing = item.standing
        key = (standing.directory.path.parent, standing.opened.project, standing.opened.rank)
        if key not in newest or standing.directory.path.name > newest[key].directory.path.name:
            newest[key] = standing
    for standing in newest.values():
        finished = standing.facts.finished
        if finished is None or finished.exit_code:
            yield standing.directory.path


def _line(what: str, item: Item) -> str:
    cleaned = item.cleaned
    return (
        f"{what} {item.standing.directory.path}: {item.standing.run}, "
        f"{_output.count_text(cleaned.files, 'file')}, {_output.size_text(cleaned.freed_bytes)}"
    )
