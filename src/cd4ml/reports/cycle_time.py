"""The page of the time from commit to champion."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cd4ml.domain.cycle_time import MILESTONES, TOTAL, Journey, Stage, Trend, Typical
from cd4ml.reports.figures import Series, lines
from cd4ml.reports.formats import counted, dash, duration
from cd4ml.reports.page import Cell, Figure, Grid, Section, Status, render

__all__ = ["cycle_time_page"]

_HOUR_SECONDS = 3600.0


def cycle_time_page(journeys: Sequence[Journey], typical: Sequence[Typical], trend: Trend | None) -> str:
    """Return the page: what is typical by stage, the total over time, each version.

    Parameters
    ----------
    journeys, typical, trend
        As `cd4ml.domain.cycle_time` gives them.
    """
    models = sorted({one.model for one in journeys})
    lead = [
        f"{counted(len(journeys), 'version')} of {', '.join(models)}: from the commit to all of its users."
    ]
    return render(
        "From commit to champion", lead, [_stages(typical), _over_time(journeys, trend), _each(journeys)]
    )


def _stages(typical: Sequence[Typical]) -> Section:
    rows: list[list[Cell]] = [
        [
            one.name,
            *(
                dash(None if value is None else duration(value))
                for value in (one.median_seconds, one.p90_seconds)
            ),
            *map(str, (one.known, one.missing, one.backwards)),
        ]
        for one in typical
    ]
    head = ("stage", "median", "90th percentile", "known", "missing", "backwards")
    intro = (
        "A stage is the time since the last milestone before it that is known. What is missing is no 0. Where"
        " clocks contradict each other a stage goes backwards, and is left out of what is typical."
    )
    return Section("stages", "By stage", [intro], tables=[Grid("By stage", head, rows, frozenset(head[:1]))])


def _over_time(journeys: Sequence[Journey], trend: Trend | None) -> Section:
    known = [
        (one.total.at_seconds, one.total.seconds)
        for one in journeys
        if one.total.at_seconds is not None and one.total.seconds is not None
    ]
    known.sort()
    if not known:
        return Section("trend", "Over time", absent="no version is known from its commit to champion.")
    at = [datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") for moment, _ in known]
    one = Series("commit to champion", [seconds / _HOUR_SECONDS for _, seconds in known])
    svg = lines(at, [one], label="From commit to champion over time", unit="hours", zero=True, points=True)
    section = Section("trend", "Over time", figures=[Figure(svg, "From commit to champion")])
    if trend is not None:
        low, high = duration(trend.low), duration(trend.high)
        section.intro.append(f"Each day it changes by {duration(trend.seconds_per_day)} ({low} to {high}).")
    return section


def _each(journeys: Sequence[Journey]) -> Section:
    head = ("version", "commit", *MILESTONES[1:], TOTAL)
    rows: list[list[Cell]] = [
        [
            f"{one.model}@{one.version}",
            one.commit[:10] + (" (changed files)" if one.dirty else "") or "–",
            *map(_cell, (*one.stages[1:], one.total)),
        ]
        for one in reversed(journeys)
    ]
    grid = Grid("Versions, the newest first", head, rows, frozenset(head[:2]), stacked=True)
    return Section("versions", "Versions", tables=[grid])


def _cell(stage: Stage) -> Cell:
    if stage.backwards_seconds:
        return Status("warn", f"{duration(stage.backwards_seconds)} before {stage.since}")
    return dash(None if stage.seconds is None else duration(stage.seconds))
