"""``holdfast cat``: the bytes of one file."""

from __future__ import annotations

import sys

import click

from holdfast.cli._session import session


@click.command
@click.argument("run")
@click.argument("name")
@click.option("--version", help="The version, a number or a time; the newest if none is given.")
def command(run: str, name: str, version: str | None) -> None:
    """Write the content of a file to standard output, every chunk verified.

    \b
    Example:
        holdfast cat me/mnist/a1b2c3d4 history.jsonl | tail -1
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.restoring.content import iter_content
    from holdfast.restoring.versions import refer

    with session() as now:
        path = now.run_path(run)
        [info] = now.vault.get_files(path, [refer(name, version)])
        for piece in iter_content(now.vault, path, info):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
