"""The command line: one module a command, loaded when it is called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from holdfast.cli import _output
from holdfast.errors import HoldfastError

COMMANDS = (
    *("cat", "diff", "login", "logout", "ls", "pin", "pull", "put", "restore", "rm", "runs", "server"),
    *("status", "sync", "verify", "versions"),
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"holdfast.cli.{cmd_name}").command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="holdfast", message="%(version)s")
def holdfast() -> None:
    """Save the files of a training run while it runs; get them back, byte for byte, on any machine.

    RUN is entity/project/run_id, a shorter form of it, or the URL of the run's page. Settings come from
    HOLDFAST_... variables and settings files; exit codes are listed in docs/reference/cli.md.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        code = holdfast.main(arguments, prog_name="holdfast", standalone_mode=False)
    except HoldfastError as exc:
        _output.error(exc.message, exc.hint)
        code = exc.exit_code
    except click.ClickException as exc:
        exc.show()
        code = exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        _output.note("Interrupted.")
        code = 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be told, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code if isinstance(code, int) else 0)
