"""``holdfast restore``: the code of a run, on a git branch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli import _output
from holdfast.cli._session import session
from holdfast.errors import IncompleteError

if TYPE_CHECKING:
    from holdfast.checkout.restore import RestoredCode
    from holdfast.names import RunPath


@click.command
@click.argument("run")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="A new or empty folder: makes a work tree of the repository you are in, or else a clone of the run's remote.",
)
@click.option("-b", "--branch", help="Name of the new branch; holdfast/<run id> if none is given.")
@click.option("--stash", is_flag=True, help="Put uncommitted changes aside first, with git stash.")
@click.option(
    "--version", type=int, help="Version of code/state.json: the code of an earlier attempt of the run."
)
@click.option("--json", "as_json", is_flag=True, help="Write what was done as JSON.")
def command(
    run: str, *, into: Path | None, branch: str | None, stash: bool, version: int | None, as_json: bool
) -> None:
    """Bring back the code of a run as it was when the run began.

    Makes a branch at the commit of the run and checks it out, with what was staged, what was not, and the small files
    that git did not follow. The commit is fetched when it is not here. Changes of yours that are not committed are
    never touched: without --stash they are a reason to stop. When something goes wrong everything is as it was; ends
    with exit code 9 when a part was left out when the run began, or is not stored.

    \b
    Examples:
        holdfast restore me/mnist/a1b2c3d4
        holdfast restore a1b2c3d4 --into ../as-it-was
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.checkout.fetching import fetch_parts, fetch_state
    from holdfast.checkout.restore import restore_code
    from holdfast.restoring.report import RestoreProgress

    with session() as now, tempfile.TemporaryDirectory() as scratch:
        path = now.run_path(run)
        state = fetch_state(now.vault, path, Path(scratch), version=version)
        counts = RestoreProgress()
        parts = fetch_parts(now.vault, path, state, Path(scratch), counts)
        result = restore_code(
            state,
            parts,
            folder=Path.cwd(),
            into=into,
            branch=branch or f"holdfast/{path.run_id}",
            stash=stash,
            tell=_output.note,
        )
    if as_json:
        _output.data_json(
            {
                "folder": str(result.folder),
                "branch": result.branch,
                "commit": result.commit,
                "notes": result.notes,
                "missing": result.missing,
            }
        )
    _tell(result, path)


def _tell(result: RestoredCode, run: RunPath) -> None:
    for note in result.notes:
        _output.note(note)
    if result.branch is not None:
        at = f"at {result.commit[:12]}" if result.commit else "without a commit yet"
        _output.note(f"The code of {run} is in {result.folder}, on branch {result.branch} {at}.")
    elif not result.missing:
        _output.note(f"The program of {run} is in {result.folder}.")
    if result.missing:
        for text in result.missing:
            _output.note(f"missing  {text}")
        _output.error(f"{_output.count_text(len(result.missing), 'part')} of the code could not be restored.")
        raise click.exceptions.Exit(IncompleteError.exit_code)
