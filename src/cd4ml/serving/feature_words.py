"""Features in words: what a person who never saw the problem file can read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cd4ml.features.plan import (
    TARGET,
    AgeFeature,
    CalendarFeature,
    CategoryFeature,
    LagFeature,
    NumberFeature,
    Plan,
    RollingFeature,
    SeasonalFeature,
)

__all__ = ["describe_feature", "describe_value"]

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September"]
_MONTHS += ["October", "November", "December"]
_STATISTICS = {"std": "spread", "share_nonzero": "share above 0", "min": "least", "max": "most"}
_UNITS = ((86_400 * 7, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def describe_feature(plan: Plan, feature: Any, step_seconds: int) -> str:
    """Return a feature of the plan in a few words, e.g. "mean of log_sales over 4 weeks"."""
    match feature:
        case NumberFeature() | CategoryFeature():
            return feature.column
        case CalendarFeature():
            return feature.part.replace("_", " ")
        case AgeFeature():
            return "time since it was first seen"
        case _:
            return _historic(plan, feature, step_seconds)


def _historic(plan: Plan, feature: Any, step_seconds: int) -> str:
    of = _of(plan, feature.series)
    match feature:
        case LagFeature():
            return f"{of} {_span(feature.delay, step_seconds)} before"
        case RollingFeature():
            word = _STATISTICS.get(feature.statistic, feature.statistic)
            return f"{word} of {of} over {_span(feature.size, step_seconds)}"
        case SeasonalFeature():
            first, count = feature.delays[0], len(feature.delays)
            every = _span(feature.delays[1] - first if count > 1 else first, step_seconds)
            return f"mean of {of} at the last {count} same times, {every} apart"
    return str(feature.name)


def describe_value(feature: Any, value: float | None) -> float | str | None:
    """Return a feature's number, or the name of the day or month that it stands for."""
    if isinstance(feature, CalendarFeature) and value is not None:
        if feature.part == "day_of_week" and 0 <= value < len(_WEEKDAYS):
            return _WEEKDAYS[int(value)]
        if feature.part == "month" and 1 <= value <= len(_MONTHS):
            return _MONTHS[int(value) - 1]
    return value


def _of(plan: Plan, number: int) -> str:
    series = plan.series[number]
    of = plan.problem.target.column if series.of == TARGET else series.of
    if series.by == tuple(plan.problem.entity):
        return of
    return f"{of} of the same {' and '.join(series.by)}" if series.by else f"{of} overall"


def _span(steps: int, step_seconds: int) -> str:
    seconds = int(timedelta(seconds=steps * step_seconds).total_seconds())
    size, unit = next(pair for pair in _UNITS if seconds % pair[0] == 0)
    count = seconds // size
    return f"{count} {unit}s" if count != 1 else f"1 {unit}"
