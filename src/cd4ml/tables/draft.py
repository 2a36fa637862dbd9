"""Draft a problem file from a sample: a beginning that runs, for a person to correct."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cd4ml.errors import SourceError, UsageError, nearest
from cd4ml.problem import duration_text

if TYPE_CHECKING:
    import polars as pl

__all__ = ["draft_problem"]

_SAMPLE_ROWS = 200_000
_FEW_VALUES = 50
_DATE_FORMATS = ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d")
_TIMESTAMP_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M")


def draft_problem(sample: Path, target: str, time: str, entity: list[str], horizon: str) -> str:
    """Return the YAML of a problem that fits a sample file.

    Parameters
    ----------
    sample : Path
        CSV, CSV.gz or Parquet with a header; the first 200,000 rows are looked at.
    target : str
        Column to predict. Two distinct values make a classification, numbers a regression.
    time : str
        Date or timestamp column; "" for a problem without time.
    entity : list of str
        Columns that tell series apart.
    horizon : str
        Duration such as "7d"; used with `time` alone.

    Raises
    ------
    SourceError
        When the file cannot be read.
    UsageError
        When a named column does not exist.
    """
    frame = _read(sample)
    for name in [target, *entity, *([time] if time else [])]:
        if name not in frame.columns:
            raise UsageError(f"{sample} has no column '{name}'{nearest(name, frame.columns)}")
    columns = {name: _column(frame[name]) for name in frame.columns}
    columns[target].pop("nulls", None)
    document = _document(sample, frame, columns, target)
    others = [name for name in frame.columns if name not in (target, time, *entity)]
    if time:
        _add_time(document, frame, columns, target, time, entity, horizon)
    else:
        document |= {"split": {"kind": "random", "holdout": 0.2, "folds": 3}}
        document["features"] = _plain_features(columns, others + entity)
    if not document["features"]:
        raise UsageError(f"{sample} has no column to predict from; found only {', '.join(frame.columns)}")
    order = ["name", "description", "task", "tables", "facts", "time", "entity", "panel", "target", "horizon"]
    order += ["features", "split", "candidates", "metrics", "baselines", "gates"]
    head = f"# Drafted from {sample.name}. Correct what is wrong: ranges, what is known ahead, gates.\n"
    ordered = {key: document[key] for key in order if key in document}
    return head + yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=110)


def _read(sample: Path) -> pl.DataFrame:
    import polars as pl

    if not sample.is_file():
        raise SourceError(
            f"expected a file; {sample} {'is a directory' if sample.is_dir() else 'does not exist'}"
        )
    try:
        if sample.suffix == ".parquet":
            frame = pl.read_parquet(sample, n_rows=_SAMPLE_ROWS)
        else:
            frame = pl.read_csv(sample, n_rows=_SAMPLE_ROWS, infer_schema_length=_SAMPLE_ROWS)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{sample} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if frame.is_empty():
        raise SourceError(f"{sample} has no rows; expected a sample with a header and at least one row")
    return frame


def _column(values: pl.Series) -> dict[str, Any]:
    import polars as pl

    column: dict[str, Any] = {"type": "text"}
    if values.dtype.is_integer():
        column = {"type": "integer"}
    elif values.dtype.is_numeric():
        column = {"type": "number"}
    elif values.dtype == pl.Boolean:
        column = {"type": "boolean"}
    elif values.dtype in (pl.Date, pl.Datetime):
        column = {"type": "date" if values.dtype == pl.Date else "timestamp"}
    elif values.dtype == pl.String:
        column = _textual(values)
    if values.null_count():
        column["nulls"] = True
    return column


def _textual(values: pl.Series) -> dict[str, Any]:
    import polars as pl

    known = values.drop_nulls()
    for kind, dtype, formats in (
        ("date", pl.Date, _DATE_FORMATS),
        ("timestamp", pl.Datetime, _TIMESTAMP_FORMATS),
    ):
        for form in formats:
            if known.len() and known.str.strptime(dtype, form, strict=False).null_count() == 0:
                return {"type": kind} | ({} if form == formats[0] else {"format": form})
    distinct = known.unique()
    if distinct.len() <= max(_FEW_VALUES, known.len() // 20):
        return {"type": "category"}
    return {"type": "text"}


def _document(
    sample: Path, frame: pl.DataFrame, columns: dict[str, dict[str, Any]], target: str
) -> dict[str, Any]:
    stem = sample.name.split(".")[0]
    table = re.sub(r"\W+", "_", stem).strip("_").lower() or "facts"
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "problem"
    name = name if name[0].isalpha() else f"p{name}"
    distinct = frame[target].drop_nulls().unique().sort().to_list()
    two = len(distinct) == 2
    if not two and columns[target]["type"] not in ("integer", "number"):
        raise UsageError(
            f"the target '{target}' must be a number or have two values; found {len(distinct)} values"
        )
    document: dict[str, Any] = {"name": name, "description": f"Predict {target}"}
    document["task"] = "classification" if two else "regression"
    document["tables"] = {table: {"file": sample.name, "columns": columns}}
    document["facts"] = table
    document["target"] = {"column": target} | ({"positive": distinct[1]} if two else {})
    document["candidates"] = [
        {
            "name": "boosting",
            "family": "gradient_boosting",
            "search": {"learning_rate": [0.1, 0.05], "max_leaf_nodes": [31, 15], "max_iter": [150, 300]},
        },
        {"name": "linear", "family": "logistic" if two else "ridge", "tries": 1},
    ]
    document["metrics"] = (
        {"primary": "roc_auc", "also": ["log_loss", "brier", "f1"]}
        if two
        else {"primary": "mae", "also": ["rmse", "r2", "bias"]}
    )
    document["baselines"] = [{"name": "mean", "kind": "mean"}]
    document["gates"] = {"baseline_margin_fraction": 0.0}
    return document


def _plain_features(columns: dict[str, dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    numbers = [name for name in names if columns[name]["type"] in ("integer", "number", "boolean")]
    categories = [name for name in names if columns[name]["type"] == "category"]
    features: list[dict[str, Any]] = [{"kind": "columns", "columns": numbers}] if numbers else []
    return features + ([{"kind": "category", "columns": categories}] if categories else [])


def _add_time(
    document: dict[str, Any],
    frame: pl.DataFrame,
    columns: dict[str, dict[str, Any]],
    target: str,
    time: str,
    entity: list[str],
    horizon: str,
) -> None:
    """Make a forecast of the draft: only the target's past and the calendar are known ahead for sure."""
    if columns[time]["type"] not in ("date", "timestamp"):
        raise UsageError(
            f"the time column '{time}' must hold dates or timestamps; found {columns[time]['type']}"
        )
    times = frame[time]
    if times.dtype.is_temporal() is False:
        import polars as pl

        forms = {"date": _DATE_FORMATS[0], "timestamp": _TIMESTAMP_FORMATS[0]}
        form = columns[time].get("format", forms[columns[time]["type"]])
        times = times.str.strptime(pl.Datetime, form, strict=False)
    moments = times.drop_nulls().unique().sort()
    gaps = moments.diff().drop_nulls()
    step = gaps.mode().sort()[0] if gaps.len() else timedelta(days=1)
    season = timedelta(days=7) if step <= timedelta(days=7) else step
    span = moments[-1] - moments[0]
    document["time"] = {"column": time, "step": duration_text(step)}
    document["entity"] = entity
    document["panel"] = {"absent": "missing"}
    document["horizon"] = horizon
    parts = ["day_of_week", "month", "trend"] + (["hour"] if step < timedelta(days=1) else [])
    document["features"] = [
        *([{"kind": "category", "columns": list(entity)}] if entity else []),
        {"kind": "calendar", "parts": parts},
        {"kind": "seasonal", "of": target, "period": duration_text(season), "cycles": [1, 4]},
        {"kind": "rolling", "of": target, "windows": [duration_text(season)]},
    ]
    holdout = max(span // 5 // step, 1) * step
    document["split"] = {"kind": "time", "holdout": duration_text(holdout), "folds": 2}
    document["metrics"]["cluster"] = "day"
    document["baselines"] = [
        {"name": "last_season", "kind": "seasonal_naive", "period": duration_text(season)}
    ]
