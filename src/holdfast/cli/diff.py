"""``holdfast diff``: what differs between two versions of a file, or between the same file of two runs."""

from __future__ import annotations

import sys

import click

from holdfast.cli import _output
from holdfast.cli._session import Session, session
from holdfast.errors import UsageError
from holdfast.names import RunPath
from holdfast.protocol.messages import FileInfo, FileRef

_DIFFERENT = 1
_COLORS = {"+": "green", "-": "red", "@": "cyan"}


@click.command
@click.argument("run")
@click.argument("rest", metavar="NAME [VERSION [VERSION]] | RUN NAME", nargs=-1, required=True)
def command(run: str, rest: tuple[str, ...]) -> None:
    """Compare two versions of a file, or the newest versions of the same file of two runs.

    Without a VERSION the newest version is compared with the one before, with one VERSION that one with the newest. A
    VERSION is a number or a time. Text is compared line by line, up to 8 MiB. Ends with exit code 0 if the two have
    the same bytes, and 1 if not.

    \b
    Examples:
        holdfast diff me/mnist/a1b2c3d4 config.yaml 1 3
        holdfast diff me/mnist/a1b2c3d4 me/mnist/b2c3d4e5 config.yaml
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.restoring.content import iter_content
    from holdfast.restoring.diffs import compare

    with session() as now:
        (old_run, old), (new_run, new) = _two(now, run, rest)
        labels = f"{old_run}/{old.name} v{old.version}", f"{new_run}/{new.name} v{new.version}"
        runs = {id(old): old_run, id(new): new_run}
        found = compare(
            *(old, new), lambda info: b"".join(iter_content(now.vault, runs[id(info)], info)), labels=labels
        )
    if found.is_same:
        _output.note(f"{labels[0]} and {labels[1]} are the same.")
        return
    if found.reason is not None:
        _output.data(f"{labels[0]} and {labels[1]} differ ({found.reason}).")
    _show(found.text)
    raise click.exceptions.Exit(_DIFFERENT)


def _two(
    now: Session, run: str, rest: tuple[str, ...]
) -> tuple[tuple[RunPath, FileInfo], tuple[RunPath, FileInfo]]:
    from holdfast.restoring.versions import is_version, refer

    path = now.run_path(run)
    match rest:
        case (name,):
            return _newest_two(now, path, name)
        case (name, version) if is_version(version):
            refs = [refer(name, version), FileRef(name=name)]
        case (other, name):
            [old] = now.vault.get_files(path, [FileRef(name=name)])
            other_path = now.run_path(other)
            [new] = now.vault.get_files(other_path, [FileRef(name=name)])
            return (path, old), (other_path, new)
        case (name, first, second):
            refs = [refer(name, first), refer(name, second)]
        case _:
            raise UsageError("diff compares two: RUN NAME [VERSION [VERSION]], or RUN RUN NAME.")
    old, new = now.vault.get_files(path, refs)
    return (path, old), (path, new)


def _newest_two(
    now: Session, path: RunPath, name: str
) -> tuple[tuple[RunPath, FileInfo], tuple[RunPath, FileInfo]]:
    [newest] = now.vault.get_files(path, [FileRef(name=name)])
    older = [info for info in now.vault.list_versions(path, name) if info.version != newest.version]
    if not older:
        raise UsageError(
            f"{name!r} of the run {path} has one version.", hint="Name another run to compare with."
        )
    return (path, max(older, key=lambda info: (info.attempt, info.version))), (path, newest)


def _show(text: str) -> None:
    is_colored = sys.stdout.isatty()
    for line in text.splitlines():
        _output.data(click.style(line, fg=_COLORS.get(line[:1])) if is_colored else line)
