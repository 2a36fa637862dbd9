"""The flip test: would people of one group have been decided on otherwise, had they been of another?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray
from cd4ml.errors import DataError, UsageError

__all__ = ["FlipTest", "flip_test"]

BLOCK_ROWS = 20_000


@dataclass(frozen=True)
class FlipTest:
    """How the decisions of a slice compare with those of the nearest others.

    Attributes
    ----------
    rows : int
        Rows of the slice.
    to_positive, to_negative : int
        Rows called negative (positive) whose neighbours are called positive (negative).
    """

    rows: int
    to_positive: int
    to_negative: int

    @property
    def net(self) -> float:
        """(to_positive - to_negative) / rows in [-1, 1]: above 0 the slice fares worse."""
        return (self.to_positive - self.to_negative) / self.rows

    @property
    def flipped(self) -> float:
        """(to_positive + to_negative) / rows in [0, 1]: 0 means that no decision depends on it."""
        return (self.to_positive + self.to_negative) / self.rows


def flip_test(
    features: npt.NDArray[np.floating],
    decision: npt.ArrayLike,
    inside: npt.NDArray[np.bool_],
    neighbours: int = 5,
) -> FlipTest:
    """Compare each row of a slice with its nearest rows among the others (FT).

    A row flips if most of its k nearest others are decided on otherwise. Distance is Euclidean over features
    that have unit variance, so that no unit of measurement outweighs another (Clarify takes them as they
    are); missing values count as the mean. It is a point without an interval: neighbours change with every
    resample, and nearness stands in for the causal question.

    Parameters
    ----------
    features : array of shape (n, k)
        What people are alike in; the sensitive columns and their copies left out.
    decision : array of shape (n,)
        0 or 1.
    inside : mask of shape (n,)
        Rows of the slice; the others are the reference.
    neighbours : int
        An odd number; 1 with fewer than 10 others.

    Raises
    ------
    DataError
        If the slice or the others have no row.
    UsageError
        If `neighbours` is even, so that a vote may be tied.

    References
    ----------
    .. [1] Black, Yeom, Fredrikson, 2020, FlipTest: Fairness Testing via Optimal Transport.
    .. [2] Clarify, Counterfactual Fliptest (FT).
    """
    from scipy.spatial import cKDTree

    called = np.asarray(decision) > 0.5
    others = int((~inside).sum())
    if not inside.any() or not others:
        found = f"{int(inside.sum())} and {others}"
        raise DataError(f"a flip test needs rows inside and outside of the slice; found {found}")
    if neighbours % 2 == 0:
        raise UsageError(f"neighbours must be odd, so that no vote is tied; found {neighbours}")
    count = neighbours if others >= max(10, neighbours) else 1
    scaled = _scaled(features)
    tree, votes = cKDTree(scaled[~inside]), called[~inside]
    rows = np.flatnonzero(inside)
    nearest = [
        tree.query(scaled[rows[start : start + BLOCK_ROWS]], k=np.arange(1, count + 1))[1]
        for start in range(0, rows.size, BLOCK_ROWS)
    ]
    expected = votes[np.concatenate(nearest)].mean(axis=1) > 0.5
    own = called[inside]
    return FlipTest(int(rows.size), int((expected & ~own).sum()), int((~expected & own).sum()))


def _scaled(features: npt.NDArray[np.floating]) -> FloatArray:
    table = np.array(features, dtype=np.float64)
    known = np.isfinite(table)
    rows = np.maximum(known.sum(axis=0), 1)
    table = np.where(known, table - np.where(known, table, 0.0).sum(axis=0) / rows, 0.0)
    spread = table.std(axis=0)
    return np.asarray(table / np.where(spread > 0, spread, 1.0))
