"""``holdfast cat``: the bytes of one file."""

from __future__ import annotations

import sys

import click

from holdfast.cli._session import session


@click.command
@click.argument("run")
@click.argument("name")
@click.option("--version", type=int, help="The version; the newest if none is given.")
def command(run: str, name: str, version: int | None) -> None:
    """Write the content of a file to standard output, every chunk verified.

    \b
    Example:
        holdfast cat me/mnist/a1b2c3d4 history.jsonl | tail -1
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.protocol.messages import FileRef
    from holdfast.restoring.content import iter_content

    with session() as now:
        path = now.run_path(run)
        [info] = now.vault.get_files(path, [FileRef(name=name, version=version)])
        for piece in iter_content(now.vault, path, info):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
