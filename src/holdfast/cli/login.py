"""``holdfast login``: which server the user's runs go to, with which API key."""

from __future__ import annotations

import sys

import click

from holdfast.cli import _output
from holdfast.connect import log_in
from holdfast.credentials import server_url
from holdfast.errors import UsageError
from holdfast.settings import Settings, load_settings


@click.command
@click.argument("url")
@click.option("--key", help="The API key. Else HOLDFAST_API_KEY, or one line of standard input, or a prompt.")
def command(url: str, key: str | None) -> None:
    """Log in to a server: check the API key, keep it, and let all runs of this user go there from now on.

    The key is kept in the file `credentials` of the user's Holdfast folder, readable by the user alone.

    \b
    Example:
        holdfast login http://training-server:8420
    """  # noqa: D301 - click needs the backspace itself
    settings = load_settings()
    url = server_url(url)
    identity = log_in(settings, url, key or _asked_for(settings, url))
    _output.note(f"You are {identity.user} at {url}. Runs go to {identity.entity}/<project> from now on.")


def _asked_for(settings: Settings, url: str) -> str:
    if settings.api_key:
        return settings.api_key
    if sys.stdin.isatty():
        text: str = click.prompt(f"API key for {url}", hide_input=True, err=True)
    else:
        text = sys.stdin.readline()
    if not text.strip():
        raise UsageError("No API key was given.", hint="Pass --key, or write it to standard input.")
    return text.strip()
