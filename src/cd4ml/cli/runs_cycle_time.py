"""`cd4ml runs cycle-time`: how long a change takes from its commit to all of its users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.table import sparkline, table
from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from cd4ml.domain.cycle_time import Journey, Stage, Trend, Typical

__all__ = ["cycle_time"]


def cycle_time(
    model: Annotated[str, typer.Option("--model", "-m", help="Only versions of this model.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many versions at most, the newest.")] = 50,
    repository: Annotated[
        Path | None, typer.Option(help="Its history tells when commits were made; the current folder's.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Draw it: write a page to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Show the time from commit to champion by stage, for each version, with median and 90th percentile.

    "-" stands for what nobody recorded; it is no 0. A time that ends with "!" was earlier than the one before
    it: clocks differ, and it is left out of what is typical.

    Example: cd4ml runs cycle-time --model bike-demand
    """
    from cd4ml.adapters.storage import open_store
    from cd4ml.domain.cycle_time import typical_stages, typical_trend
    from cd4ml.steps.cycle_time import journeys

    if html is not None and html.is_dir():
        raise UsageError(f"--html must be a file such as {html / 'cycle-time.html'}; found a folder")
    found = journeys(open_store(), model, repository)[-limit:]
    typical, trend = typical_stages(found), typical_trend(found)
    if html is not None:
        from cd4ml.adapters.storage.atomic import write_text
        from cd4ml.reports.cycle_time import cycle_time_page

        write_text(html, cycle_time_page(found, typical, trend))
        note(f"wrote {html}")
    value = {
        "versions": [one.to_dict() for one in found],
        "stages": [asdict(one) for one in typical],
        "trend": None if trend is None else asdict(trend),
    }
    emit(value, as_json, _lines(found, typical, trend))


def _lines(found: Sequence[Journey], typical: Sequence[Typical], trend: Trend | None) -> Iterator[str]:
    from cd4ml.domain.cycle_time import MILESTONES, TOTAL
    from cd4ml.reports.formats import duration

    rows = [
        (f"{one.model}@{one.version}", _commit(one), *map(_cell, one.stages[1:]), _cell(one.total))
        for one in found
    ]
    yield from table(("version", "commit", *MILESTONES[1:], TOTAL), rows)
    yield ""
    shown = [
        (
            one.name,
            one.known,
            one.missing,
            one.backwards,
            *(None if value is None else duration(value) for value in (one.median_seconds, one.p90_seconds)),
        )
        for one in typical
    ]
    yield from table(("stage", "known", "missing", "backwards", "median", "90th percentile"), shown)
    totals = [one.total.seconds for one in found if one.total.seconds is not None]
    if len(totals) > 1:
        yield ""
        yield f"total, the oldest first: {sparkline(totals)}"
    if trend is not None:
        low, high = duration(trend.low), duration(trend.high)
        yield f"each day it changes by {duration(trend.seconds_per_day)} ({low} to {high})"


def _commit(one: Journey) -> str:
    return one.commit[:8] + ("+changes" if one.dirty else "")


def _cell(stage: Stage) -> str:
    from cd4ml.reports.formats import duration

    if stage.backwards_seconds:
        return f"-{duration(stage.backwards_seconds)}!"
    return "" if stage.seconds is None else duration(stage.seconds)
