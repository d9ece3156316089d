"""``holdfast verify``: do the local files and the stored versions have the same bytes?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from holdfast.cli import _output
from holdfast.cli._session import Session, session, settings_in_force
from holdfast.errors import IntegrityError, UsageError
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo
from holdfast.settings import Settings


@click.command
@click.argument("target", metavar="RUN|DIR")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Where the files of RUN are; the working directory if none is given.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(target: str, *, root: Path, as_json: bool) -> None:
    """Compare local files with the newest stored versions by hash.

    For a run directory DIR the local files are those that were saved and those in its files/; for a RUN they are the
    files of its names below --root. Each file is one of: same, older (the local content is an earlier version), differs,
    missing (only stored), local (only here). Ends with exit code 6 unless all are the same.

    \b
    Examples:
        holdfast verify me/mnist/a1b2c3d4 --root restored
        holdfast verify holdfast/run-20171023_105053-3o4933r0
    """  # noqa: D301 - click needs the backspace itself
    settings = settings_in_force()
    directory = Path(target)
    if (directory / "journal.jsonl").exists():
        settings, run_text, local = _of_directory(settings, directory.absolute())
    else:
        run_text, local = target, None
    with session(settings) as now:
        run = now.run_path(run_text)
        results = sorted(_compared(now, run, local, root))
    if as_json:
        _output.data_json([{"name": name, "verdict": verdict} for name, verdict in results])
    else:
        for name, verdict in results:
            if verdict != "same":
                _output.data(f"{verdict:8} {name}")
    different = sum(verdict != "same" for _, verdict in results)
    _output.note(
        f"{_output.count_text(len(results) - different, 'file')} the same, {different} not, of {run}"
    )
    if different:
        raise click.exceptions.Exit(IntegrityError.exit_code)


def _of_directory(settings: Settings, path: Path) -> tuple[Settings, str, dict[str, Path]]:
    """Return the settings that lead to a run directory's vault, its run, and its local files by name."""
    from holdfast.cli._directories import standing_of
    from holdfast.rundir.layout import RunDirectory
    from holdfast.sync.watch import find_files

    standing = standing_of(RunDirectory(path))
    if standing is None:
        raise UsageError(f"{path} is a run directory in which no run was opened.")
    registered = standing.facts.registered
    base_url = registered.base_url if registered else standing.opened.base_url
    settings = replace(
        settings, base_url=base_url, home=Path(standing.opened.home), project=standing.opened.project
    )
    found = (file for file in find_files(standing.directory.files) if not standing.facts.ignores(file.name))
    local = {file.name: Path(file.path) for file in found}
    for file in standing.facts.files.values():
        if file.path is not None and os.path.lexists(file.path):
            local[file.name] = Path(file.path)
    return settings, standing.run, local


def _compared(
    now: Session, run: RunPath, local: dict[str, Path] | None, root: Path
) -> Iterator[tuple[str, str]]:
    from holdfast.restoring.files import select_files

    stored = {info.name: info for info in select_files(now.vault, run)}
    for info in stored.values():
        path = root / info.name if local is None else local.get(info.name)
        yield info.name, "missing" if path is None else _verdict(now, run, info, path)
    for name in set(local or ()) - set(stored):
        yield name, "local"


def _verdict(now: Session, run: RunPath, info: FileInfo, path: Path) -> str:
    found = _digest(path)
    if found is None:
        return "missing"
    if found == info.digest:
        return "same"
    is_older = any(version.digest == found for version in now.vault.list_versions(run, info.name))
    return "older" if is_older else "differs"


def _digest(path: Path) -> bytes | None:
    from holdfast.restoring.disk import file_digest

    try:
        with path.open("rb") as file:
            return file_digest(file.fileno())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
