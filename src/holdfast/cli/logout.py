"""``holdfast logout``: forgets the API key of a server."""

from __future__ import annotations

import click

from holdfast.cli import _output
from holdfast.connect import log_out
from holdfast.errors import UsageError
from holdfast.settings import load_settings


@click.command
@click.argument("url", required=False)
def command(url: str | None) -> None:
    """Forget the API key of a server (the configured one by default).

    If runs go to that server by the settings of this user, they go to the embedded vault from now on.

    \b
    Example:
        holdfast logout http://training-server:8420
    """  # noqa: D301 - click needs the backspace itself
    settings = load_settings()
    target = url or settings.base_url
    if target is None:
        raise UsageError("No server is configured.", hint="Name it: holdfast logout URL.")
    known = log_out(settings, target)
    _output.note(
        f"The API key for {target} is forgotten." if known else f"There was no API key for {target}."
    )
