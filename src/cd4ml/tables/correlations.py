"""Correlations of a table's numbers, in one pass over its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

__all__ = ["correlations"]

_BLOCK_ROWS = 1 << 18
_SMALLEST_VARIANCE = 1e-9
"""Relative to the sum of squares: below it a column is constant, and what is left is rounding."""

Matrix = NDArray[np.float64]


def correlations(frame: pl.DataFrame, centres: Mapping[str, tuple[float, float]]) -> list[list[float | None]]:
    """Return Pearson's correlation of each pair of columns, on rows where both have a finite value.

    None stands where one of the two is constant or fewer than 2 rows have both.

    Parameters
    ----------
    frame : DataFrame
    centres : mapping of str to (float, float)
        For each column, in the order of the result, its mean and its standard deviation: numbers are centred
        and scaled by them, so that sums of squares lose no digits.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers beyond 1e150; they have no correlation
        return _matrix(frame, centres)


def _matrix(frame: pl.DataFrame, centres: Mapping[str, tuple[float, float]]) -> list[list[float | None]]:
    size = len(centres)
    both, sums, squares, products = (np.zeros((size, size)) for _ in range(4))
    for start in range(0, frame.height, _BLOCK_ROWS):
        values = _standardised(frame.slice(start, _BLOCK_ROWS), centres)
        known = np.isfinite(values).astype(np.float64)
        values = np.where(known > 0, values, 0.0)
        both += known @ known.T
        sums += values @ known.T
        squares += (values**2) @ known.T
        products += values @ values.T
    rows = np.maximum(both, 1)
    variance = squares - sums**2 / rows
    constant = (both < 2) | (variance <= _SMALLEST_VARIANCE * squares)
    covariance = products - sums * sums.T / rows
    scale = np.sqrt(np.where(constant, 1, variance))
    matrix = np.where(constant | constant.T, np.nan, covariance / (scale * scale.T))
    return [[_rounded(value) for value in row] for row in matrix.clip(-1, 1).tolist()]


def _standardised(frame: pl.DataFrame, centres: Mapping[str, tuple[float, float]]) -> Matrix:
    import polars as pl

    rows = [
        (frame.get_column(name).cast(pl.Float64).fill_null(math.nan).to_numpy() - mean) / (std or 1.0)
        for name, (mean, std) in centres.items()
    ]
    return np.stack(rows)


def _rounded(value: Any) -> float | None:
    """Return a correlation to 6 digits: what is behind them depends on the order of summation."""
    return round(float(value), 6) if math.isfinite(value) else None
