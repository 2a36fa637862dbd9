"""Which part of one set of rows is in another, told from few of their hashes.

References
----------
.. [1] Broder, 1997, On the Resemblance and Containment of Documents (the k smallest hashes of a set).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cd4ml.errors import UsageError

__all__ = ["RowSketch", "shared_fraction", "sketch"]

SKETCH_HASHES = 1024
"""The standard error of a fraction is at most about 0.03."""


@dataclass(frozen=True)
class RowSketch:
    """How many different rows there are, and the smallest of their hashes: uint64, sorted, all different."""

    rows: int
    smallest: NDArray[np.uint64]


def sketch(hashes: NDArray[np.uint64]) -> RowSketch:
    """Return the sketch of rows with these hashes, shape (n,); equal ones count once."""
    distinct = np.unique(np.asarray(hashes, dtype=np.uint64))
    return RowSketch(len(distinct), distinct[:SKETCH_HASHES])


def shared_fraction(rows: RowSketch, other: RowSketch) -> float:
    """Return the fraction of `rows` that `other` has too: exact for small sets, else estimated.

    Raises
    ------
    UsageError
        If `rows` is empty.
    """
    if not rows.rows:
        raise UsageError("expected rows to compare; found none")
    both = np.intersect1d(rows.smallest, other.smallest, assume_unique=True)
    if max(rows.rows, other.rows) <= SKETCH_HASHES:
        return len(both) / rows.rows
    union = np.union1d(rows.smallest, other.smallest)[:SKETCH_HASHES]
    resemblance = len(np.intersect1d(both, union, assume_unique=True)) / len(union)
    shared = resemblance / (1 + resemblance) * (rows.rows + other.rows)
    return float(min(1.0, shared / rows.rows))
