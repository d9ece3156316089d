"""``holdfast pin``: versions that are kept whatever happens."""

from __future__ import annotations

import click

from holdfast.cli import _output
from holdfast.cli._session import session


@click.command
@click.argument("run")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Take the pin away.")
def command(run: str, name: str, version: str | None, *, remove: bool) -> None:
    """Keep a version of a file (the newest if none is given) until it is unpinned.

    Neither thinning nor a retention rule takes a pinned version. VERSION is a number or a time.

    \b
    Examples:
        holdfast pin me/mnist/a1b2c3d4 model.pt 3
        holdfast pin --remove me/mnist/a1b2c3d4 model.pt 3
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.protocol.messages import PinUpdate
    from holdfast.restoring.versions import refer

    with session() as now:
        path = now.run_path(run)
        [info] = now.vault.pin_versions(path, PinUpdate(refs=[refer(name, version)], pinned=not remove))
    _output.note(f"{path}/{name} v{info.version} is {'no longer pinned' if remove else 'pinned'}.")
