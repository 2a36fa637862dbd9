"""Columns as a few named groups, by which errors are shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.columns import CategoryArray, ColumnLike, as_category, as_float

__all__ = ["slice_column"]

_MAX_VALUES = 24
_RANGES = 5


def slice_column(column: ColumnLike, train: NDArray[np.bool_]) -> CategoryArray:
    """Return a column's groups [n]; null stays null.

    Texts and whole numbers of few values are groups as they are. Times are grouped by month. Other numbers are cut
    into up to five ranges of about as many training rows; 17 to 25 includes 17 and not 25.
    """
    if isinstance(column, CategoryArray):
        return column
    if column.dtype.kind == "M":
        return as_category(column.astype("datetime64[M]"))
    values = as_float(column)
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    if len(distinct) <= _MAX_VALUES and np.array_equal(distinct, np.floor(distinct)):
        return as_category(column)
    return _ranges(values, train & ~np.isnan(values))


def _ranges(values: NDArray[np.float64], train: NDArray[np.bool_]) -> CategoryArray:
    chosen = values[train] if train.any() else values[~np.isnan(values)]
    quantiles = np.quantile(chosen, np.arange(1, _RANGES) / _RANGES, method="higher")
    edges = np.unique(quantiles)
    edges = edges[edges > chosen.min()]
    if not edges.size:  # most rows have the smallest value
        edges = np.array([chosen.min()])
        edges = np.nextafter(edges, np.inf) if chosen.max() > chosen.min() else edges
        labels = [f"up to {_text(chosen.min())}", f"above {_text(chosen.min())}"]
    else:
        between = [f"{_text(low)} to {_text(high)}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
        labels = [f"below {_text(edges[0])}", *between, f"{_text(edges[-1])} and above"]
    codes = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right")).astype(np.int32)
    return CategoryArray(codes, tuple(labels))


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.4g}"
