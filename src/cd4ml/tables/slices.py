"""Columns as a few named groups, by which errors are shown."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.columns import CategoryArray, ColumnLike, as_category, as_float, number_text

__all__ = ["slice_column"]

_MAX_VALUES = 24
_RANGES = 5


def slice_column(column: ColumnLike, train: NDArray[np.bool_]) -> CategoryArray:
    """Return a column's groups [n]; null stays null.

    Texts and whole numbers of few values are groups as they are. Times are grouped by month. Other numbers
    are cut into up to five ranges of about as many training rows; 17 to 25 includes 17 and not 25.
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
        smallest = chosen.min()
        edges = np.array([np.nextafter(smallest, np.inf)])
        labels = [f"up to {number_text(smallest)}", f"above {number_text(smallest)}"]
    else:
        shown = _shown(edges)
        between = [f"{low} to {high}" for low, high in pairwise(shown)]
        labels = [f"below {shown[0]}", *between, f"{shown[-1]} and above"]
    codes = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right")).astype(np.int32)
    return CategoryArray(codes, tuple(labels))


def _shown(edges: NDArray[np.float64]) -> list[str]:
    """Return the edges as texts, as short as tells them apart."""
    for digits in range(4, 17):
        found = [number_text(edge) if edge.is_integer() else f"{edge:.{digits}g}" for edge in edges]
        if len(set(found)) == len(found):
            return found
    return [repr(float(edge)) for edge in edges]
