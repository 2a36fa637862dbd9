"""Rules that nobody has to write down: columns that say nothing, a target or a time that teaches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.plan import target_values
from cd4ml.problem import duration_text
from cd4ml.tables.anomalies import Anomaly, TableReport, table_severity
from cd4ml.tables.columns import to_columns

if TYPE_CHECKING:
    from cd4ml.problem import Problem

__all__ = ["MAX_CATEGORIES", "judge_facts"]

MAX_CATEGORIES = 1000
"""A category column with more values than this, and fewer than two rows a value, is an identifier."""


def judge_facts(
    problem: Problem, folder: Path, profile: Mapping[str, Any], reports: Mapping[str, TableReport]
) -> Iterator[Anomaly]:
    """Yield what makes a snapshot useless for its problem, whatever its own rules say.

    Parameters
    ----------
    problem : Problem
    folder : Path
        Holds `<table>.parquet` with the right rows.
    profile : mapping
        As `cd4ml.tables.profile.profile_tables`.
    reports : mapping
        What was found so far. A table that is refused for its columns or its rows is not judged again.
    """
    tables = profile["tables"]
    for name in problem.tables:
        if tables[name]["rows"]:
            yield from _empty_columns(problem, name, tables[name])
            yield from _identifiers(problem, name, tables[name])
    for name in problem.facts:
        yield from _all_set_aside(name, reports[name])
    facts = [tables[name] for name in problem.facts]
    if all(found["rows"] for found in facts):
        yield from _target(problem, folder, facts)
        yield from _span(problem, facts)


def _empty_columns(problem: Problem, name: str, profile: Mapping[str, Any]) -> Iterator[Anomaly]:
    rows = profile["rows"]
    for column, declared in problem.tables[name].columns.items():
        if profile["columns"][column]["nulls"] == rows:
            detail = (
                f"expected values; found none in all {rows} rows. Leave the column out of the problem, or"
                " give it `severity: warn` where that is right"
            )
            kind, severity = "FEATURE_TYPE_LOW_FRACTION_PRESENT", table_severity(declared.severity)
            yield Anomaly(name, column, kind, severity, rows, detail, None, 0.0)


def _identifiers(problem: Problem, name: str, profile: Mapping[str, Any]) -> Iterator[Anomaly]:
    for column, declared in problem.tables[name].columns.items():
        found = profile["columns"][column]
        distinct, known = found["distinct"], found["count"] - found["nulls"]
        if declared.type == "category" and distinct > MAX_CATEGORIES and distinct * 2 > known:
            detail = (
                f"expected categories that repeat; found {distinct} different values in {known} rows."
                " Declare an identifier as `type: text`"
            )
            yield Anomaly(
                name, column, "FEATURE_TYPE_HIGH_UNIQUE", "refuse", 0, detail, MAX_CATEGORIES, distinct
            )


def _all_set_aside(name: str, report: TableReport) -> Iterator[Anomaly]:
    kind = "DATASET_LOW_NUM_EXAMPLES"
    refused = any(found.kind == kind and found.severity == "refuse" for found in report.anomalies)
    if report.rows_in and not report.rows_accepted and not refused:
        detail = f"all {report.rows_in} rows of the facts are in quarantine{report.most_frequent_reason()}"
        yield Anomaly(name, "", kind, "refuse", report.rows_in, detail, 1, 0)


def _target(problem: Problem, folder: Path, facts: list[Mapping[str, Any]]) -> Iterator[Anomaly]:
    """Yield a refusal when the target is constant, or all rows or none are of the positive class."""
    column, kind = problem.target.column, "FEATURE_TYPE_LOW_UNIQUE"
    if problem.task == "classification":
        values = [_is_positive(problem, folder / f"{name}.parquet") for name in problem.facts]
        positive, rows = sum(int(found.sum()) for found in values), sum(len(found) for found in values)
        constant = positive in (0, rows)
        wanted, shown = "both classes", f"{problem.target.positive!r} in {positive} of {rows} rows"
    else:
        low, high = (
            choose(one["columns"][column][choose.__name__] for one in facts) for choose in (min, max)
        )
        constant, wanted, shown = low == high, "a target that varies", f"{low} in all rows"
    if constant:
        detail = f"expected {wanted}; found {shown}, so there is nothing to learn"
        yield Anomaly(problem.facts[0], column, kind, "refuse", 0, detail, 2, 1)


def _is_positive(problem: Problem, path: Path) -> NDArray[np.bool_]:
    import polars as pl

    column = problem.target.column
    table = problem.fact.model_copy(update={"columns": {column: problem.fact.columns[column]}})
    values = target_values(problem, to_columns(pl.read_parquet(path, columns=[column]), table))
    return np.asarray(values == 1)


def _span(problem: Problem, facts: list[Mapping[str, Any]]) -> Iterator[Anomaly]:
    """Yield a refusal when the facts are of one step, or of no more time than a holdout by time alone."""
    times = [found["time"] for found in facts]
    if problem.time is None or not all(times):
        return
    step, holdout = problem.time.step, problem.split.holdout
    first = datetime.fromisoformat(min(found["first"] for found in times))
    last = datetime.fromisoformat(max(found["last"] for found in times))
    need = (holdout if isinstance(holdout, timedelta) else step) + step
    span = last - first + step
    if span < need:
        detail = (
            f"expected facts of at least {duration_text(need)}, a step more than what is held out; found"
            f" {duration_text(span)}, {first} to {last}"
        )
        limit, measured = int(need.total_seconds()), int(span.total_seconds())
        kind, column = "DATASET_SHORT_TIME", problem.time.column
        yield Anomaly(problem.facts[0], column, kind, "refuse", 0, detail, limit, measured)
