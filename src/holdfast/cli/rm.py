"""``holdfast rm``: files of a run into the trash."""

from __future__ import annotations

import click

from holdfast.cli import _output
from holdfast.cli._session import session

_AT_ONCE = 1000
_SHOWN = 10


@click.command
@click.argument("run")
@click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(run: str, patterns: tuple[str, ...], *, yes: bool) -> None:
    """Put files of a run, with all their versions, into the vault's trash. Local files are not touched.

    A folder's name means all that is in it. Pinned versions go too.

    \b
    Example:
        holdfast rm me/mnist/a1b2c3d4 'debug/**'
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.restoring.files import select_files

    with session() as now:
        path = now.run_path(run)
        names = [info.name for info in select_files(now.vault, path, patterns)]
        if not yes:
            for name in names[:_SHOWN]:
                _output.note(f"    {name}")
            if len(names) > _SHOWN:
                _output.note(f"    and {len(names) - _SHOWN:,} more")
            click.confirm(f"Delete {_output.count_text(len(names), 'file')} of {path}?", abort=True, err=True)
        gone = 0
        for start in range(0, len(names), _AT_ONCE):
            gone += len(now.vault.delete_files(path, names[start : start + _AT_ONCE]).deleted)
    _output.note(f"{_output.count_text(gone, 'file')} of {path} deleted.")
