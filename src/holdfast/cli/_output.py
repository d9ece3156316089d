"""What the terminal shows. Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import click

_REDRAW_S = 0.1
_LINE_S = 5.0


def data(text: str) -> None:
    """Write a line of data."""
    click.echo(text)


def data_json(value: Any) -> None:
    """Write data as JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Write rows as columns; those numbered in ``right`` are aligned to the right."""
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        data("  ".join(cells).rstrip())


def note(text: str) -> None:
    """Tell the user something that is not data."""
    click.echo(text, err=True)


def error(message: str, hint: str = "") -> None:
    """Tell of an error in one line, and in another what to do next."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)


def size_text(size: float) -> str:
    """Return a size as people read it: ``512 B``, ``1.5 MB``."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}"


def time_text(at: float) -> str:
    """Return a time in the zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def count_text(count: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Meter(NamedTuple):
    """How far something is."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


@contextlib.contextmanager
def progress(label: str, meter: Callable[[], Meter]) -> Iterator[None]:
    """Show how far something is while the block runs: a bar on a terminal, a line every few seconds elsewhere.

    Args:
        label: What is done: "Restoring".
        meter: Asked again and again, from a thread of its own.
    """
    stop = threading.Event()
    show = _show_bar if sys.stderr.isatty() else _show_lines
    thread = threading.Thread(target=show, args=(label, meter, stop), name="holdfast-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _show_bar(label: str, meter: Callable[[], Meter], stop: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as SpeedColumn

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[files]}")),
        *(DownloadColumn(), SpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, files="", total=None)
        while not stop.wait(_REDRAW_S):
            now = meter()
            bar.update(
                task,
                completed=now.bytes_done,
                total=now.bytes_total or None,
                files=f"{now.files_done}/{now.files_total} files",
            )


def _show_lines(label: str, meter: Callable[[], Meter], stop: threading.Event) -> None:
    before, at = meter().bytes_done, time.monotonic()
    while not stop.wait(_LINE_S):
        now = meter()
        rate = (now.bytes_done - before) / (time.monotonic() - at)
        before, at = now.bytes_done, time.monotonic()
        left = f", {(now.bytes_total - now.bytes_done) / rate:.0f} s left" if rate > 0 else ""
        note(
            f"{label}: {now.files_done} of {count_text(now.files_total, 'file')}, "
            f"{size_text(now.bytes_done)} of {size_text(now.bytes_total)}, {size_text(rate)}/s{left}"
        )
