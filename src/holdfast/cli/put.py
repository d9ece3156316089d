"""``holdfast put``: local files into a run, from outside its training."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.cli import _output
from holdfast.cli._session import settings_in_force


@click.command
@click.argument("run")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The folder that the names are relative to; the working directory if none is given.",
)
@click.option("--name", help="The name within the run, for one file.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(run: str, files: tuple[Path, ...], *, root: Path, name: str | None, as_json: bool) -> None:
    """Add local files to a run, also to one that has ended. Each is durable when its line is printed.

    \b
    Example:
        holdfast put me/mnist/a1b2c3d4 report.pdf
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.api.client import Api
    from holdfast.cli.ls import record
    from holdfast.errors import UsageError

    if name is not None and len(files) != 1:
        raise UsageError("--name is for exactly one FILE.")
    with Api(settings_in_force()) as api:
        to = api.run(run)
        stored = []
        for path in files:
            file = to.upload_file(path, root, name=name)
            stored.append(record(file.info))
            if not as_json:
                _output.data(f"{file.name}  v{file.version}  {_output.size_text(file.size)}")
    if as_json:
        _output.data_json(stored)
