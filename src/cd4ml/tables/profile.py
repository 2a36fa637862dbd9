"""What the columns of a table look like: counts, quantiles, categories, gaps, outliers, correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain import distances
from cd4ml.tables.correlations import correlations
from cd4ml.tables.gaps import gaps

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Column, Problem, Table

__all__ = ["PROFILED_ROWS", "profile_tables"]

PROFILED_ROWS = 5_000_000
"""Longer tables are profiled by every k-th row, so that no more than this many are looked at."""

_COUNTED_ROWS = 20_000_000
_QUANTILES = 20
_TOP = 100
_BARS = 30
_LARGEST = 1e300
"""Numbers beyond have no histogram: the difference of two of them may not be a float."""
_DATES = ("date", "timestamp")


def profile_tables(problem: Problem, folder: Path) -> dict[str, Any]:
    """Return the profile of a snapshot's tables; the same content gives the same profile.

    Parameters
    ----------
    problem : Problem
    folder : Path
        Holds `<table>.parquet`.

    Returns
    -------
    dict
        {"problem", "tables": {table: {"rows", "rows_profiled", "sampled", "columns": {...}, "correlations",
        "time"}}}; see docs/data.md for the entries of a column.
    """
    return {
        "problem": problem.name,
        "tables": {
            name: _profile_table(problem, name, folder / f"{name}.parquet") for name in problem.tables
        },
    }


def _profile_table(problem: Problem, name: str, path: Path) -> dict[str, Any]:
    import polars as pl
    import pyarrow.parquet as pq

    table, scan = problem.tables[name], pl.scan_parquet(path)
    rows = pq.read_metadata(path).num_rows
    every = max(1, math.ceil(rows / PROFILED_ROWS))
    frame = (scan if every == 1 else scan.gather_every(every)).collect()
    exact = _exact(frame.lazy() if every == 1 else scan, table, rows)
    target = problem.target.column if name in problem.facts else None
    found = {
        column: _profile_column(frame.get_column(column), declared, exact[column])
        for column, declared in table.columns.items()
    }
    return {
        "rows": rows,
        "rows_profiled": frame.height,
        "sampled": every > 1,
        "columns": found,
        "correlations": _correlations(frame, table, found, target),
        **gaps(problem, name, path),
    }


def _exact(scan: pl.LazyFrame, table: Table, rows: int) -> dict[str, dict[str, Any]]:
    """Return count, nulls, min, max and the number of distinct values over all rows, however many.

    Above 20 million rows the distinct values are estimated, within a tenth or so: they would fill the memory.
    """
    import polars as pl

    wanted = []
    for name, column in table.columns.items():
        known = pl.col(name).drop_nulls()
        distinct = known.approx_n_unique() if rows > _COUNTED_ROWS else known.n_unique()
        wanted += [pl.col(name).null_count().alias(f"nulls {name}"), distinct.alias(f"distinct {name}")]
        if column.type not in ("text", "category"):
            wanted += [known.min().alias(f"min {name}"), known.max().alias(f"max {name}")]
    found = scan.select(wanted).collect(engine="streaming").row(0, named=True)
    return {
        name: {
            "count": rows,
            "nulls": int(found[f"nulls {name}"]),
            "distinct": int(found[f"distinct {name}"]),
            "min": _plain(found.get(f"min {name}")),
            "max": _plain(found.get(f"max {name}")),
        }
        for name in table.columns
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool):
        return int(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _profile_column(series: pl.Series, column: Column, exact: dict[str, Any]) -> dict[str, Any]:
    known = series.drop_nulls()
    found: dict[str, Any] = {
        "type": column.type,
        "description": column.description,
        **exact,
    }
    if column.type in ("integer", "number"):
        found |= _numeric(known.to_numpy().astype(np.float64))
    elif column.type in _DATES:
        found["histogram"] = _date_histogram(known)
    else:
        found |= _top(known)
    return found


def _numeric(values: NDArray[np.float64]) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {"mean": None, "std": None, "median": None, "outliers": 0, "histogram": None}
    drawn = float(np.abs(values).max()) <= _LARGEST
    with np.errstate(over="ignore", invalid="ignore"):  # a moment that is no float any more becomes null
        found = {"mean": values.mean(), "std": values.std(), "median": np.median(values)}
    return {
        **{name: _plain(float(value)) for name, value in found.items()},
        "outliers": _outliers(values) if drawn else 0,
        "histogram": _histogram(values) if drawn else None,
    }


def _histogram(values: NDArray[np.float64]) -> dict[str, Any]:
    low, high = float(values.min()), float(values.max())
    bars, edges = _edges(low, high, _BARS), _edges(low, high, 1)
    quantiles = np.quantile(values, np.linspace(0, 1, _QUANTILES + 1))
    if low < high:
        edges = distances.quantile_edges(quantiles, _QUANTILES)
    return {
        "edges": bars.tolist(),
        "counts": np.histogram(values, bins=bars)[0].tolist(),
        "quantiles": quantiles.tolist(),
        "quantile_edges": edges.tolist(),
        "quantile_counts": distances.histogram(values, edges).tolist(),
    }


def _edges(low: float, high: float, count: int) -> NDArray[np.float64]:
    """Return the edges of at most `count` bars of one width; neighbouring floats have fewer between them."""
    if low == high:
        half = max(0.5, float(np.spacing(abs(low))))
        low, high = low - half, high + half
    return np.unique(np.linspace(low, high, count + 1))


def _outliers(values: NDArray[np.float64]) -> int:
    """Count values beyond 4.5 interquartile ranges (3 x 1.5) from the quartiles; 0 when the range is 0."""
    first, third = np.quantile(values, [0.25, 0.75]).tolist()
    reach = 4.5 * (third - first)
    return int(((values < first - reach) | (values > third + reach)).sum()) if reach else 0


def _date_histogram(known: pl.Series) -> dict[str, Any] | None:
    import polars as pl

    if not len(known):
        return None
    seconds = known.cast(pl.Datetime("us")).dt.epoch("s").to_numpy().astype(np.int64)
    low = int(seconds.min())
    past = seconds - low
    counts, edges = np.histogram(past, bins=_BARS, range=(0, max(int(past.max()), _BARS)))
    stamps = (edges.astype(np.int64) + low).astype("datetime64[s]")
    return {"edges": [str(stamp) for stamp in stamps], "counts": counts.tolist()}


def _top(known: pl.Series) -> dict[str, Any]:
    import polars as pl

    counts = known.cast(pl.String).alias("value").to_frame().group_by("value").len("rows")
    counts = counts.sort(["rows", "value"], descending=[True, False])
    shown = counts.head(_TOP)
    return {
        "top": [[value, int(rows)] for value, rows in shown.iter_rows()],
        "other": len(known) - sum(shown.get_column("rows").to_list()),
    }


def _correlations(
    frame: pl.DataFrame, table: Table, profiles: Mapping[str, Any], target: str | None
) -> dict[str, Any]:
    """Return Pearson correlations among numbers, on rows where both are known; null where one is constant."""
    names = [name for name, column in table.columns.items() if column.type in ("integer", "number")]
    if len(names) < 2 or frame.height < 2:
        return {"columns": [], "matrix": [], "target": {}}
    centres = {name: (profiles[name]["mean"] or 0.0, profiles[name]["std"] or 0.0) for name in names}
    matrix = correlations(frame, centres)
    with_target = dict(zip(names, matrix[names.index(target)], strict=True)) if target in names else {}
    with_target.pop(target or "", None)
    return {"columns": names, "matrix": matrix, "target": with_target}
