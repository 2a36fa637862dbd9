"""Bins of a distribution, the same for every slice, so that distances between slices are sums over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cd4ml.domain.bootstrap import FloatArray, IntArray
from cd4ml.domain.ranking import equal_mass_bins

__all__ = ["CELLS", "CELL_BINS", "FINE_BINS", "GROUPS", "Bins", "cells_within", "fine_bins"]

# A distance is exact for at most so many distinct values; of more, each bin holds about 1/50 of the rows, so
# that a gap of two distribution functions is seen to within one bin of either.
FINE_BINS = 50
GROUPS = 10  # deciles of the actual
CELL_BINS = 20  # bins of the prediction within each of them
CELLS = GROUPS * CELL_BINS


@dataclass(frozen=True)
class Bins:
    """The bin of each row, (n,) from 0, and how many bins there are."""

    codes: IntArray
    count: int


def fine_bins(values: FloatArray, count: int = FINE_BINS) -> Bins:
    """Return bins that rise with the values (n,): one a distinct value, or of equal mass if there are more.

    Rows that are not finite are in bin 0; their amount must be 0.
    """
    finite = np.isfinite(values)
    codes = np.zeros(values.size, dtype=np.int64)
    if finite.any():
        codes[finite] = _rising(values[finite], count)
    return Bins(codes, count)


def _rising(values: FloatArray, count: int) -> IntArray:
    distinct = np.unique(values)
    if distinct.size <= count:
        return np.searchsorted(distinct, values).astype(np.int64)
    return equal_mass_bins(values, count)[0]


def cells_within(given: FloatArray, values: FloatArray) -> Bins:
    """Return bins of `values` within the deciles of `given`: cell = decile * CELL_BINS + bin.

    Each decile has bins of its own, since predictions of alike rows lie close together. At most ten distinct
    values of `given` (a label) are groups of their own.
    """
    group = fine_bins(given, GROUPS).codes
    codes = np.zeros(values.size, dtype=np.int64)
    for number in range(GROUPS):
        rows = group == number
        if rows.any():
            codes[rows] = number * CELL_BINS + fine_bins(values[rows], CELL_BINS).codes
    return Bins(codes, CELLS)
