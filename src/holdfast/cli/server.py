"""``holdfast server``: the vault for other machines."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.settings import load_settings


@click.command
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the vault; the embedded vault of this user if none is given.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8420, show_default=True, help="The port; 0 picks a free one.")
@click.option("--catalog", metavar="URL", help="A database: postgresql+psycopg://user@host/name.")
@click.option(
    "--blobs",
    metavar="URL",
    help="A store: s3://bucket/prefix (its keys and region as AWS_... in the environment).",
)
@click.option(
    "--reserve",
    "reserve_bytes",
    type=int,
    metavar="BYTES",
    help="Room on the disk that uploads must leave.  [default: 5 %, at least 2 GiB]",
)
@click.option(
    "--show-key", is_flag=True, help="Print a key that was just made even where nobody is at a terminal."
)
def command(
    data: Path | None,
    host: str,
    port: int,
    *,
    catalog: str | None,
    blobs: str | None,
    reserve_bytes: int | None,
    show_key: bool,
) -> None:
    """Serve a vault until the process is told to stop.

    The first start makes an API key and logs in the user who started it.

    \b
    Example:
        holdfast server --data /big/disk --host 0.0.0.0
        holdfast server --catalog postgresql+psycopg://holdfast@db/holdfast --blobs s3://bucket/runs
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.server.serve import serve

    settings = load_settings()
    serve(
        data or settings.vault_dir,
        host,
        port,
        home=settings.home,
        catalog=catalog,
        blobs=blobs,
        reserve_bytes=reserve_bytes,
        show_key=show_key,
    )
