"""Steps of the calendar that no row has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.operations import run_operations
from cd4ml.features.plan import compile_plan
from cd4ml.tables.columns import to_columns
from cd4ml.tables.writer import read_frames

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Problem

__all__ = ["gaps", "time_sources"]

_SHOWN = 20
_DAY_SECONDS = 86_400

Times = Callable[["pl.DataFrame"], NDArray[np.datetime64]]


def time_sources(problem: Problem) -> list[str]:
    """Return the columns of the facts that their time is made of, sorted; none without a time."""
    if problem.time is None:
        return []
    return sorted(compile_plan(problem).facts_for([problem.time.column]))


def gaps(problem: Problem, name: str, path: Path) -> dict[str, Any]:
    """Return which steps between the first and the last have no row.

    Facts are looked at on the problem's own calendar, other tables by days of their first date column.

    Parameters
    ----------
    problem : Problem
    name : str
        The table.
    path : Path
        Its rows as Parquet; they are read by parts.

    Returns
    -------
    dict
        "time": {"column", "step_seconds", "first", "last", "expected_steps", "missing_steps",
        "longest_gap_steps"}, None for tables without a time; "gaps": the first 20 as {"after", "steps"}.
    """
    table = problem.tables[name]
    if name in problem.facts and problem.time is not None:
        column, sources = problem.time.column, time_sources(problem)
        step, times = int(problem.time.step.total_seconds()), _fact_times(problem, sources)
    else:
        dated = [key for key, declared in table.columns.items() if declared.type == "date"]
        if not dated:
            return {"time": None, "gaps": []}
        column, sources, step = dated[0], dated[:1], _DAY_SECONDS
        times = _dates
    steps = _steps(path, sources, step, times)
    return _holes(column, steps, step) if len(steps) else {"time": None, "gaps": []}


def _fact_times(problem: Problem, sources: list[str]) -> Times:
    """Return what makes the time of facts, derived where the problem derives it, from their columns."""
    assert problem.time is not None
    name = problem.time.column
    operations = compile_plan(problem).operations_for([name])
    chosen = {column: problem.fact.columns[column] for column in sources}
    table = problem.fact.model_copy(update={"columns": chosen})

    def times(frame: pl.DataFrame) -> NDArray[np.datetime64]:
        found: Any = run_operations(operations, (), to_columns(frame, table), {})[name]
        return np.asarray(found, dtype="datetime64[s]")

    return times


def _dates(frame: pl.DataFrame) -> NDArray[np.datetime64]:
    return frame.to_series().to_numpy().astype("datetime64[s]")


def _steps(path: Path, columns: list[str], step: int, times: Times) -> NDArray[np.int64]:
    """Return the steps that have a row, sorted."""
    found = [np.empty(0, np.int64)]
    for frame in read_frames(path, columns):
        known = times(frame)
        found.append(np.unique(known[~np.isnat(known)].astype(np.int64) // step))
    return np.unique(np.concatenate(found))


def _holes(column: str, steps: NDArray[np.int64], step: int) -> dict[str, Any]:
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
