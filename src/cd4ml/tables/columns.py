"""Between frames and the columns that features know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cd4ml.errors import SourceError, nearest
from cd4ml.features.columns import CategoryArray

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.features.columns import ColumnSet
    from cd4ml.problem import Column, Table

__all__ = ["from_columns", "to_columns"]


def to_columns(frame: pl.DataFrame, table: Table) -> ColumnSet:
    """Return the columns of a table, as declared, in the representation of `cd4ml.features.columns`.

    Integers are int64, or float64 with NaN when one is null; numbers float64; booleans bool, or float64 with
    NaN; dates and timestamps datetime64[s] with NaT; texts and categories codes into sorted categories, -1
    for null. Columns that the table does not declare are left out.

    Raises
    ------
    SourceError
        If a declared column is not in the frame.
    """
    found: dict[str, Any] = {}
    for name, column in table.columns.items():
        if name not in frame.columns:
            raise SourceError(
                f"expected a column '{name}'; found {', '.join(frame.columns)}{nearest(name, frame.columns)}"
            )
        found[name] = _to_array(frame.get_column(name), column)
    return found


def _to_array(series: pl.Series, column: Column) -> Any:
    import polars as pl

    if column.type in ("text", "category"):
        return _categories(series.cast(pl.String))
    if column.type in ("date", "timestamp"):
        # to whole seconds by floor, also before 1970
        return series.cast(pl.Datetime("us")).to_numpy().astype("datetime64[us]").astype("datetime64[s]")
    if column.type == "integer" and not series.null_count():
        return series.cast(pl.Int64).to_numpy()
    if column.type == "boolean" and not series.null_count():
        return series.cast(pl.Boolean).to_numpy()
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _categories(series: pl.Series) -> CategoryArray:
    import polars as pl

    names = series.drop_nulls().unique().sort()
    codes = series.cast(pl.Enum(names)).to_physical().cast(pl.Int32).fill_null(-1).to_numpy()
    return CategoryArray(np.ascontiguousarray(codes, dtype=np.int32), tuple(names.to_list()))


def from_columns(columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return columns as a frame: codes become texts, NaN in whole numbers and NaT become null."""
    import polars as pl

    found: dict[str, pl.Series] = {}
    for name, values in columns.items():
        if isinstance(values, CategoryArray):
            texts = pl.Series(name, list(values.categories), dtype=pl.String)
            codes = pl.Series(np.where(values.codes < 0, 0, values.codes).astype(np.uint32))
            known = pl.Series(values.codes >= 0)
            if not len(texts):
                found[name] = pl.Series(name, [None] * len(codes), dtype=pl.String)
                continue
            found[name] = pl.select(
                pl.when(known).then(pl.lit(texts).gather(codes)).otherwise(None).alias(name)
            ).to_series()
        elif np.issubdtype(values.dtype, np.datetime64):
            found[name] = pl.Series(name, values.astype("datetime64[ms]"))
        else:
            series = pl.Series(name, values)
            found[name] = series.fill_nan(None) if series.dtype.is_float() else series
    return pl.DataFrame(found)
