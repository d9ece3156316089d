"""``holdfast ls``: projects, runs, files, versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from pydantic import BaseModel

from holdfast.cli import _output
from holdfast.cli._session import Session, session
from holdfast.names import RunPath
from holdfast.protocol.messages import Fidelity, FileInfo, ProjectInfo, RunInfo

_PAGE = 1000


@click.command
@click.argument("path", default="")
@click.option("-v", "versions", is_flag=True, help="List every version of the files.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(path: str, *, versions: bool, as_json: bool) -> None:
    """List what is stored: projects, the runs of a project, the files of a run.

    PATH is nothing, entity, entity/project, entity/project/run_id or entity/project/run_id/NAME, where NAME may be a
    pattern or a folder.

    \b
    Examples:
        holdfast ls me/mnist
        holdfast ls -v me/mnist/a1b2c3d4/model.pt
    """  # noqa: D301 - click needs the backspace itself
    with session() as now:
        parts = _parts(path)
        if len(parts) < 2:
            _show(list(_projects(now, *parts)), _project_row, (1,), as_json=as_json)
        elif len(parts) == 2:
            _show(list(_runs(now, *parts)), run_row, (3, 4), as_json=as_json)
        else:
            files = _files(now, RunPath(*parts[:3]), parts[3:], versions=versions)
            _show(files, version_row if versions else _file_row, (0, 1), as_json=as_json)


def _parts(path: str) -> list[str]:
    if "://" in path:
        run = RunPath.parse(path)
        return [run.entity, run.project, run.run_id]
    return [part for part in path.split("/", 3) if part]


def _projects(now: Session, entity: str | None = None) -> Iterator[ProjectInfo]:
    after = None
    while True:
        page = now.vault.list_projects(entity, after=after, limit=_PAGE)
        yield from page.projects
        after = page.next
        if after is None:
            return


def _runs(now: Session, entity: str, project: str) -> Iterator[RunInfo]:
    after = None
    while True:
        page = now.vault.list_runs(entity, project, after=after, limit=_PAGE)
        yield from page.runs
        after = page.next
        if after is None:
            return


def _files(now: Session, run: RunPath, names: list[str], *, versions: bool) -> list[FileInfo]:
    from holdfast.restoring.files import select_files

    found = select_files(now.vault, run, names)
    if not versions:
        return found
    return [version for info in found for version in now.vault.list_versions(run, info.name)]


def _show(items: list[Any], row: Any, right: tuple[int, ...], *, as_json: bool) -> None:
    if as_json:
        _output.data_json([record(item) for item in items])
    else:
        _output.table([row(item) for item in items], right=right)
        if not items:
            _output.note("Nothing is stored there. `holdfast ls` lists the projects, each as entity/project.")


def record(item: BaseModel) -> dict[str, Any]:
    """Return a message as data for JSON, the digest of a file in hexadecimal."""
    record = item.model_dump(mode="json")
    if isinstance(item, FileInfo):
        record["digest"] = item.digest.hex()
    return record


def _project_row(item: ProjectInfo) -> list[str]:
    return [
        f"{item.entity}/{item.project}",
        _output.count_text(item.run_count, "run"),
        _output.time_text(item.created_at),
    ]


def run_row(item: RunInfo) -> list[str]:
    """Return the cells of a run: path, name, state, files, bytes, begin."""
    return [
        str(item.path),
        item.name,
        item.state.value,
        _output.count_text(item.file_count, "file"),
        _output.size_text(item.size_bytes),
        _output.time_text(item.created_at),
    ]


def _file_row(item: FileInfo) -> list[str]:
    return [
        _output.size_text(item.size),
        f"v{item.version}",
        _output.time_text(item.created_at),
        item.name + _mark(item),
    ]


def version_row(item: FileInfo) -> list[str]:
    """Return the cells of a version: bytes, number, time, policy, digest, name."""
    return [
        _output.size_text(item.size),
        f"v{item.version}",
        _output.time_text(item.created_at),
        item.policy,
        item.digest.hex()[:16],
        item.name + _mark(item),
    ]


def _mark(item: FileInfo) -> str:
    marks = [] if item.fidelity is Fidelity.EXACT else [item.fidelity.value]
    marks += ["pinned"] if item.pinned else []
    return f"  ({', '.join(marks)})" if marks else ""
