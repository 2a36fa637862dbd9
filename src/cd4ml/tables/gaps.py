"""Steps of the calendar that no row has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Problem

__all__ = ["fact_times", "gaps"]

_SHOWN = 20


def fact_times(problem: Problem, frame: pl.DataFrame) -> Any:
    """Return the time of each fact as datetime64[s], derived where the problem derives it."""
    from cd4ml.features.expressions import Expression
    from cd4ml.tables.columns import to_columns

    assert problem.time is not None
    columns: dict[str, Any] = dict(to_columns(frame, problem.fact))
    for name, text in problem.derived.items():
        if problem.time.column in columns:
            break
        expression = Expression.parse(text, ("derived", name))
        if expression.columns <= set(columns):
            columns[name] = expression.evaluate(columns)
    return columns.get(problem.time.column)


def gaps(problem: Problem, name: str, frame: pl.DataFrame) -> dict[str, Any]:
    """Return which steps between the first and the last have no row.

    Facts are looked at on the problem's own calendar, other tables by days of their first date column.

    Returns
    -------
    dict
        "time": {"column", "step_seconds", "first", "last", "expected_steps", "missing_steps", "longest_gap_steps"},
        None for tables without a time; "gaps": the first 20 holes as {"after", "steps"}.
    """
    table = problem.tables[name]
    if name in problem.facts and problem.time is not None:
        column, step = problem.time.column, int(problem.time.step.total_seconds())
        times = fact_times(problem, frame)
    else:
        dated = [key for key, declared in table.columns.items() if declared.type == "date"]
        column, step = (dated[0] if dated else ""), 86400
        times = frame.get_column(column).to_numpy().astype("datetime64[s]") if dated else None
    seconds = times[~np.isnat(times)].astype(np.int64) if times is not None else np.empty(0)
    if not len(seconds):
        return {"time": None, "gaps": []}
    steps = np.unique(seconds // step)
    jumps = np.diff(steps)
    holes = np.flatnonzero(jumps > 1)[:_SHOWN].tolist()
    expected = int(steps[-1] - steps[0] + 1)
    return {
        "time": {
            "column": column,
            "step_seconds": step,
            "first": _stamp(steps[0], step),
            "last": _stamp(steps[-1], step),
            "expected_steps": expected,
            "missing_steps": expected - len(steps),
            "longest_gap_steps": int(jumps.max() - 1) if len(jumps) else 0,
        },
        "gaps": [{"after": _stamp(steps[i], step), "steps": int(jumps[i] - 1)} for i in holes],
    }


def _stamp(step: int, step_seconds: int) -> str:
    return str(np.datetime64(int(step) * step_seconds, "s"))
