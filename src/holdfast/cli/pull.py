"""``holdfast pull``: files, folders or whole runs to the local disk."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from holdfast.cli import _output
from holdfast.cli._session import Session, session
from holdfast.errors import StoredFileNotFoundError, UsageError
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef
from holdfast.restoring.report import FileResult, Outcome, RestoreProgress, RestoreReport


@click.command
@click.argument("run")
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The folder to restore below; the working directory if none is given.",
)
@click.option("--replace", is_flag=True, help="Overwrite files that have other content.")
@click.option("--version", help="Restore this version (a number or a time) of the one file that is named.")
@click.option("--at", help="Restore the files as they were at this time, such as 2026-11-22T18:00.")
@click.option("--json", "as_json", is_flag=True, help="Write what became of each file as JSON.")
def command(
    run: str,
    patterns: tuple[str, ...],
    *,
    root: Path,
    replace: bool,
    version: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Restore files of a run, each verified before it gets its name.

    Without a PATTERN the whole run is restored; a folder's name means all that is in it. Files that are there already
    with the right content are not fetched again; those with other content are skipped unless --replace is given. A
    pull that was cut goes on where it stopped when it is called again. A time without a zone is this machine's.

    \b
    Example:
        holdfast pull me/mnist/a1b2c3d4 'checkpoints/**' --root restored
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.restoring.files import restore_files

    with session() as now:
        path = now.run_path(run)
        files = _chosen(now, path, patterns, version) if at is None else _as_of(now, path, patterns, at)
        counts = RestoreProgress()
        with _output.progress("Restoring", lambda: _meter(counts)):
            report = restore_files(now.vault, path, files, root=root, replace=replace, progress=counts)
    if as_json:
        _output.data_json([_record(result) for result in report.files])
    _tell(report, root)


def _chosen(now: Session, path: RunPath, patterns: tuple[str, ...], version: str | None) -> list[FileInfo]:
    from holdfast.restoring.files import select_files
    from holdfast.restoring.versions import refer

    if version is None:
        return select_files(now.vault, path, patterns)
    if len(patterns) != 1:
        raise UsageError("--version needs the name of exactly one file.")
    return now.vault.get_files(path, [refer(patterns[0], version)])


def _as_of(now: Session, path: RunPath, patterns: tuple[str, ...], at: str) -> list[FileInfo]:
    """Return the versions as of a time of those files that were there then."""
    from holdfast.restoring.files import select_files
    from holdfast.times import last_moment, parse_time

    when = last_moment(parse_time(at))
    found = []
    for newest in select_files(now.vault, path, patterns):
        if newest.created_at <= when:
            found.append(newest)
            continue
        with contextlib.suppress(StoredFileNotFoundError):
            found += now.vault.get_files(path, [FileRef(name=newest.name, at=when)])
    if not found:
        raise StoredFileNotFoundError(f"The run {path} had none of these files at {at}.")
    return found


def _meter(counts: RestoreProgress) -> _output.Meter:
    return _output.Meter(counts.files_done, counts.files_total, counts.bytes_done, counts.bytes_total)


def _record(result: FileResult) -> dict[str, Any]:
    return {
        "name": result.info.name,
        "version": result.info.version,
        "size": result.info.size,
        "digest": result.info.digest.hex(),
        "path": str(result.path),
        "outcome": result.outcome.value,
        "code": result.error.code if result.error else None,
        "reason": result.error.message if result.error else None,
    }


def _tell(report: RestoreReport, root: Path) -> None:
    for result in sorted(report.failed, key=lambda result: result.info.name):
        assert result.error is not None
        _output.note(f"skipped  {result.info.name}: {result.error.message}")
    restored = [result.info.size for result in report.files if result.outcome is Outcome.RESTORED]
    unchanged = sum(result.outcome is Outcome.UNCHANGED for result in report.files)
    parts = [f"{_output.count_text(len(restored), 'file')} restored ({_output.size_text(sum(restored))})"]
    parts += [f"{unchanged:,} unchanged"] if unchanged else []
    parts += [f"{len(report.failed):,} skipped"] if report.failed else []
    _output.note(f"{', '.join(parts)} in {root.absolute()}")
    for result in report.failed:
        assert result.error is not None
        hint = result.error.hint.replace("replace=True", "--replace").replace("root=", "--root")
        _output.error(f"{_output.count_text(len(report.failed), 'file')} could not be restored.", hint)
        raise click.exceptions.Exit(result.error.exit_code)
