"""``holdfast versions``: the versions of one file."""

from __future__ import annotations

import click

from holdfast.cli import _output
from holdfast.cli._session import session


@click.command
@click.argument("run")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(run: str, name: str, *, as_json: bool) -> None:
    """List the versions of a file that are kept, the newest first.

    \b
    Example:
        holdfast versions me/mnist/a1b2c3d4 model.pt
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.cli.ls import record, version_row

    with session() as now:
        found = now.vault.list_versions(now.run_path(run), name)
    if as_json:
        _output.data_json([record(info) for info in found])
    else:
        _output.table([version_row(info) for info in found], right=(0, 1))
