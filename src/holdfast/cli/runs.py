"""``holdfast runs``: runs of a project by filters, in an order."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import click

from holdfast.cli import _output
from holdfast.cli._session import settings_in_force
from holdfast.errors import UsageError


@click.command
@click.argument("project", required=False)
@click.option("--filter", "filters", metavar="JSON", help="Conditions, as the Run API takes them.")
@click.option(
    "--order", default="-created_at", help="A field, with + or - in front; -created_at if none is given."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, help="At most so many; 100 if none is given."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(project: str | None, *, filters: str | None, order: str, limit: int, as_json: bool) -> None:
    """List the runs of PROJECT (entity/project or project) that match a filter.

    \b
    Examples:
        holdfast runs me/mnist --order -summary_metrics.accuracy
        holdfast runs mnist --filter '{"state": "finished", "config.lr": {"$gt": 0.1}}'
    """  # noqa: D301 - click needs the backspace itself
    from holdfast.api.client import Api
    from holdfast.cli.ls import run_row

    with Api(settings_in_force()) as api:
        runs = api.runs(project, _parsed(filters), order, per_page=min(limit, 1000))
        found = [run.info for run in islice(runs, limit)]
        more = len(runs) - len(found)
    if as_json:
        _output.data_json([info.model_dump(mode="json") for info in found])
    else:
        _output.table([run_row(info) for info in found], right=(3, 4))
        if not found:
            _output.note(
                "No run is listed. `holdfast ls` lists the projects; name one: holdfast runs PROJECT"
            )
    if more > 0:
        _output.note(f"{_output.count_text(more, 'run')} more; --limit shows them.")


def _parsed(filters: str | None) -> dict[str, Any] | None:
    if filters is None:
        return None
    try:
        found = json.loads(filters)
    except ValueError as exc:
        raise UsageError(
            f"--filter is not JSON: {exc}.", hint='Write it like \'{"state": "finished"}\'.'
        ) from None
    if not isinstance(found, dict):
        raise UsageError("--filter is not a JSON object.", hint='Write it like \'{"state": "finished"}\'.')
    return found
