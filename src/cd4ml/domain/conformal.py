"""Intervals around predictions from a holdout that the model never learnt from: split conformal prediction.

Errors are looked at apart for small and large predictions (Mondrian categories), and apart below and above
the prediction: sales are skewed, and their errors grow with them.

What the level promises. If the holdout's rows and the new one are exchangeable (any order of them is as
likely), at least `level` of the new rows fall into their intervals, on average over holdouts, whatever the
model and the distribution are. Over time they are not exchangeable: the world drifts, and rows of one day
share its weather. Then the level is what was covered in the holdout's weeks, and no promise for the next.
Watch it on what comes true. Within a group of predictions the promise holds nearly as well; for one product
alone there is none.

References
----------
.. [1] Vovk, Gammerman, Shafer, 2005, Algorithmic Learning in a Random World, sections 4.1 and 4.5 (inductive
   and Mondrian conformal predictors).
.. [2] Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, 2018, Distribution-Free Predictive Inference for
   Regression, JASA 113, theorem 2.2.
.. [3] Romano, Patterson, Candès, 2019, Conformalized Quantile Regression, NeurIPS, theorem 2 (each end by
   its own).
.. [4] Barber, Candès, Ramdas, Tibshirani, 2023, Conformal Prediction beyond Exchangeability, Annals of
   Statistics 51 (what is lost where rows are not exchangeable).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cd4ml.errors import UsageError

__all__ = ["Intervals"]

FloatArray = NDArray[np.float64]
_ROWS_OF_A_GROUP = 100
"""Fewer rows make the ends jump from one holdout to the next."""


@dataclass(frozen=True)
class Intervals:
    """How far below and above its prediction a value may lie, by the prediction's size.

    Attributes
    ----------
    level : float
        Share of values that shall fall inside, e.g. 0.9.
    edges : array of shape (groups - 1,)
        A prediction up to edges[0] is of group 0, and so on; ascending.
    below, above : array of shape (groups,)
        From the prediction to each end; 0 or more.
    rows : array of shape (groups,)
        How many holdout rows each group's ends come from.
    minimum : float or None
        No value is below.
    """

    level: float
    edges: FloatArray
    below: FloatArray
    above: FloatArray
    rows: NDArray[np.int64]
    minimum: float | None = None

    @classmethod
    def fit(
        cls,
        prediction: ArrayLike,
        actual: ArrayLike,
        level: float = 0.9,
        groups: int = 10,
        minimum: float | None = None,
    ) -> Intervals | None:
        """Return the intervals of a holdout; None where it has too few rows for the level.

        Rows whose prediction or value is not finite are left out. An end at level a needs
        ceil((n + 1) (1 + a) / 2) <= n rows: 19 of them for 0.9.

        Parameters
        ----------
        prediction, actual : array of shape (n,)
            Of rows that the model was not fitted on.
        level : float
            Between 0 and 1, both excluded.
        groups : int
            Most groups of predictions, about equally large; a group has at least 100 rows, if there are so
            many.
        minimum : float, optional
            The smallest value there can be: no interval reaches below.

        Raises
        ------
        UsageError
            If the arrays differ in length or the level is no level.
        """
        f, y = np.asarray(prediction, dtype=np.float64), np.asarray(actual, dtype=np.float64)
        if f.shape != y.shape or f.ndim != 1:
            raise UsageError(f"expected a value for each prediction; found shapes {f.shape} and {y.shape}")
        if not 0 < level < 1:
            raise UsageError(f"expected a level between 0 and 1, such as 0.9; found {level:g}")
        known = np.isfinite(f) & np.isfinite(y)
        f, y = f[known], y[known]
        if _rank(len(f), level) is None:
            return None
        edges = _edges(f, groups, level)
        group = np.searchsorted(edges, f, side="left")
        parts = [np.flatnonzero(group == number) for number in range(len(edges) + 1)]
        return cls(
            level=level,
            edges=edges,
            below=np.array([_end(f[rows] - y[rows], level) for rows in parts]),
            above=np.array([_end(y[rows] - f[rows], level) for rows in parts]),
            rows=np.array([len(rows) for rows in parts]),
            minimum=minimum,
        )

    def around(self, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the low and the high end around predictions, each of their shape.

        The prediction itself is never outside: a holdout on which the model was biased widens an interval
        and does not move it off the point. NaN for a prediction that is not finite.
        """
        f = np.asarray(prediction, dtype=np.float64)
        group = np.searchsorted(self.edges, f, side="left")
        low, high = f - self.below[group], f + self.above[group]
        if self.minimum is not None:
            low = np.maximum(low, np.minimum(self.minimum, f))
        strange = ~np.isfinite(f)
        return np.where(strange, np.nan, low), np.where(strange, np.nan, high)


def _rank(rows: int, level: float) -> int | None:
    """Return which of the sorted errors is the end: half of what may be outside is beyond it."""
    rank = math.ceil((rows + 1) * (1 + level) / 2 - 1e-9)
    return rank if 0 < rank <= rows else None


def _end(errors: FloatArray, level: float) -> float:
    rank = _rank(len(errors), level)
    assert rank is not None  # `_edges` makes no group that is too small
    return max(0.0, float(np.partition(errors, rank - 1)[rank - 1]))


def _edges(prediction: FloatArray, groups: int, level: float) -> FloatArray:
    """Return the upper ends of all groups but the last; many equal predictions stay in one group."""
    size = max(_ROWS_OF_A_GROUP, math.ceil(2 / (1 - level)))
    count = max(1, min(groups, len(prediction) // size))
    edges = np.unique(np.quantile(prediction, np.arange(1, count) / count, method="lower"))
    while len(edges):
        found = np.bincount(np.searchsorted(edges, prediction, side="left"), minlength=len(edges) + 1)
        small = int(found.argmin())
        if _rank(int(found[small]), level) is not None:
            break
        edges = np.delete(edges, min(small, len(edges) - 1))  # join the group with a neighbour
    return edges
