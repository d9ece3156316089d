"""``holdfast status``: what of my runs is safe, what is not, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from holdfast.cli import _output
from holdfast.cli._directories import Standing, known_directories, named_directories, standing_of
from holdfast.cli._session import settings_in_force
from holdfast.rundir.capturing import read_capture

_SHOWN = 10
_NO_DIRECTORIES = "There are no run directories here, and none elsewhere that is not done."


@click.command
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--explain", metavar="FILE", help="Tell which rules took or left out a file, and its state.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with every file that is not stored.")
def command(folders: tuple[Path, ...], *, explain: str | None, as_json: bool) -> None:
    """Show which of my runs are safe on the vault, what is not, and why.

    Looks at the run directories below ./holdfast and at those elsewhere that are not done, or at those in DIR. Like
    every command it first starts the syncers of runs that were left behind. Nothing is asked of the vault. With
    --explain FILE, a local path or a name within the run, it says which save call, watched pattern or ignore glob took
    or left out that file, which version is stored, and if it is not, why.

    \b
    Examples:
        holdfast status
        holdfast status --explain checkpoints/last.pt
    """  # noqa: D301 - click needs the backspace itself
    settings = settings_in_force()
    directories = named_directories(folders) if folders else known_directories(settings)
    standings = [standing for directory in directories if (standing := standing_of(directory)) is not None]
    if explain is not None:
        _explain(explain, standings, as_json=as_json)
        return
    records = [_record(standing) for standing in standings]
    if as_json:
        _output.data_json(records)
        return
    if not records:
        _output.note(_NO_DIRECTORIES)
    for record in records:
        _tell(record)


def _explain(file: str, standings: Sequence[Standing], *, as_json: bool) -> None:
    from holdfast.cli import explain

    records = explain.explain(file, standings)
    if as_json:
        _output.data_json(records)
    elif records:
        explain.tell(records)
    else:
        _output.note(_NO_DIRECTORIES)


def _record(standing: Standing) -> dict[str, Any]:
    facts = standing.facts
    stored = [file.stored for file in facts.files.values() if file.stored is not None]
    captured = read_capture(standing.directory)
    names = {file.name for file in facts.files.values()} | set(standing.unstored)
    return {
        "run": standing.run,
        "name": facts.registered.name if facts.registered else standing.opened.name,
        "directory": str(standing.directory.path),
        "server": standing.opened.base_url,
        "state": standing.state,
        "files_stored": len(names) - len(standing.unstored),
        "files_total": len(names),
        "bytes_stored": sum(fact.size for fact in stored),
        "not_stored": standing.unstored,
        "ignored": facts.ignored,
        "not_captured": {} if captured is None else captured.failures,
        "removed_here": {name: fact.size for name, fact in sorted(facts.removed.items())},
        "trouble": standing.trouble,
    }


def _removed_text(removed: dict[str, int]) -> str:
    if not removed:
        return ""
    return f", {len(removed)} removed here once stored ({_output.size_text(sum(removed.values()))})"


def _tell(record: dict[str, Any]) -> None:
    name = f"  {record['name']}" if record["name"] else ""
    _output.data(
        f"{record['run']}{name}: {record['state']}, {record['files_stored']} of "
        f"{_output.count_text(record['files_total'], 'file')} stored ({_output.size_text(record['bytes_stored'])})"
        + (f", {len(record['ignored'])} ignored" if record["ignored"] else "")
        + _removed_text(record["removed_here"])
    )
    missing = record["not_stored"]
    for file in list(missing)[:_SHOWN]:
        _output.data(f"    {file}: {missing[file]}")
    if len(missing) > _SHOWN:
        _output.data(f"    and {len(missing) - _SHOWN} more (--json lists all)")
    for step, why in record["not_captured"].items():
        _output.data(f"    {step} not captured: {why}")
    if record["trouble"]:
        _output.data(f"    trouble: {record['trouble']}")
    if record["state"] in ("offline", "incomplete", "refused"):
        _output.data(f"    next: holdfast sync {record['directory']}")
