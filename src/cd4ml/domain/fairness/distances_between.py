"""Distances between the distributions of two groups, from counts over shared bins.

Sums have bins along their last axis, and any shape before it. Where a group has no row the distance is NaN.
Distances are never negative, so noise alone makes them larger than 0: about 0.9 sqrt(1 / a + 1 / b) for the
Kolmogorov-Smirnov distance of groups of a and b rows that are alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cd4ml.domain import distances
from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.bins import CELL_BINS, GROUPS
from cd4ml.domain.fairness.measure import Measure, Sums, define, divide
from cd4ml.domain.fairness.terms import (
    ROWS,
    SCORE_BIN_ROWS,
    SCORE_BIN_SUM,
    SCORE_CELL_ROWS,
    SCORE_CELL_SUM,
    SCORE_CENTRED,
    SCORE_CENTRED_SQUARE,
)

__all__ = [
    "SCORE_DISTANCES",
    "ks_distance",
    "pooled_deviation",
    "score_ks",
    "score_ks_within_deciles",
    "score_wasserstein",
    "score_wasserstein_within_deciles",
    "wasserstein_distance",
    "where_both",
]


def where_both(
    distance: Callable[[FloatArray, FloatArray], FloatArray], own: FloatArray, other: FloatArray
) -> FloatArray:
    """Return the distance of counts (..., k), NaN where either group is empty."""
    both = (own.sum(axis=-1) > 0) & (other.sum(axis=-1) > 0)
    safe = [np.where(both[..., None], counts, 1.0) for counts in (own, other)]
    return np.where(both, distance(*safe), np.nan)


def ks_distance(own: FloatArray, other: FloatArray) -> FloatArray:
    """Return sup |F_own - F_other| of counts over rising bins (..., k)."""
    return where_both(distances.kolmogorov_smirnov, own, other)


def wasserstein_distance(
    own: FloatArray, other: FloatArray, own_sum: FloatArray, other_sum: FloatArray
) -> FloatArray:
    """Return the integral of |F_own - F_other|, each bin standing at the mean of the values in it.

    Parameters
    ----------
    own, other : array of shape (..., k)
        Rows per bin.
    own_sum, other_sum : array of shape (..., k)
        Sums of the values per bin.

    Returns
    -------
    array of shape (...,)
        In units of the values; exact where a bin holds one distinct value.

    References
    ----------
    .. [1] Vallender, 1974, Calculation of the Wasserstein Distance Between Probability Distributions on the
       Line.
    """
    shares = [divide(counts, counts.sum(axis=-1, keepdims=True)) for counts in (own, other)]
    gap = np.abs(np.cumsum(shares[0] - shares[1], axis=-1))[..., :-1]
    at = divide(own_sum + other_sum, own + other)
    # An empty bin moves nothing: it stands where the next one does. After the last the gap is 0.
    at = np.where(np.isnan(at), np.inf, at)[..., ::-1]
    at = np.minimum.accumulate(at, axis=-1)[..., ::-1]
    steps = np.diff(np.where(np.isfinite(at), at, 0.0), axis=-1)
    empty = np.isnan(shares[0]).any(axis=-1) | np.isnan(shares[1]).any(axis=-1)
    return np.where(empty, np.nan, (gap * steps).sum(axis=-1))


def pooled_deviation(own: Sums, other: Sums, rows: str, total: str, square: str) -> FloatArray:
    """Return the standard deviation within the two groups, pooled by their rows; NaN where it is 0.

    Parameters
    ----------
    rows, total, square : str
        Keys of the sums of 1, of the centred values and of their squares.
    """
    inside = np.asarray(0.0)
    for s in (own, other):
        inside = inside + s[square] - np.nan_to_num(divide(s[total] ** 2, s[rows]))
    squares = own[square] + other[square]
    inside = np.where(inside > 1e-12 * squares, inside, np.nan)
    return np.sqrt(divide(inside, own[rows] + other[rows]))


def _score_deviation(own: Sums, other: Sums) -> FloatArray:
    return pooled_deviation(own, other, "rows", "score_centred", "score_centred_square")


def score_ks(own: Sums, other: Sums) -> FloatArray:
    """Largest gap of the distribution functions of the predictions (statistical parity).

    sup over z of |F_slice(z) - F_others(z)|, in [0, 1]; 0 means that no threshold treats the groups apart. Up
    to 50 distinct predictions it is exact, of more it is taken at 50 quantiles.

    Source: Agarwal, Dudik, Wu, 2019, Fair Regression: Quantitative Definitions and Reduction-Based
    Algorithms.
    """
    return ks_distance(own["score_bin_rows"], other["score_bin_rows"])


def score_wasserstein(own: Sums, other: Sums) -> FloatArray:
    """Mean distance by which predictions must be moved to make the groups alike, in standard deviations.

    integral of |F_slice - F_others| / s, with s the standard deviation of predictions within the groups; in
    [0, inf). 0 means statistical parity. Up to 50 distinct predictions it is exact, of more each of 50 bins
    stands at its mean.

    Source: Jiang et al., 2020, Wasserstein Fair Classification; Chzhen et al., 2020, Fair Regression with
    Wasserstein Barycenters.
    """
    names = ("score_bin_rows", "score_bin_sum")
    distance = wasserstein_distance(own[names[0]], other[names[0]], own[names[1]], other[names[1]])
    return distance / _score_deviation(own, other)


def _by_decile(sums: FloatArray) -> FloatArray:
    return sums.reshape(*sums.shape[:-1], GROUPS, CELL_BINS)


def _mean_over_deciles(value: FloatArray, own: FloatArray) -> FloatArray:
    """Return the mean of values (..., deciles) weighted by the slice's rows (..., deciles, bins)."""
    weight = np.where(np.isnan(value), 0.0, own.sum(axis=-1))
    return divide((np.nan_to_num(value) * weight).sum(axis=-1), weight.sum(axis=-1))


def score_ks_within_deciles(own: Sums, other: Sums) -> FloatArray:
    """Largest gap of the distribution functions of the predictions among rows of like actual.

    sup over z of |F_slice(z | d) - F_others(z | d)| in each decile d of the actual (each label, for
    classification), averaged by the slice's rows; in [0, 1]. 0 means separation: who turned out alike was
    predicted alike. A decile in which either group is missing is left out.

    Source: Hardt, Price, Srebro, 2016, Equality of Opportunity in Supervised Learning (separation); Agarwal,
    Dudik, Wu, 2019, Fair Regression.
    """
    here, there = _by_decile(own["score_cell_rows"]), _by_decile(other["score_cell_rows"])
    return _mean_over_deciles(ks_distance(here, there), here)


def score_wasserstein_within_deciles(own: Sums, other: Sums) -> FloatArray:
    """Mean distance to move predictions among rows of like actual, in standard deviations.

    integral of |F_slice(z | d) - F_others(z | d)| in each decile d of the actual (each label, for
    classification), averaged by the slice's rows, over the standard deviation of predictions within the
    groups; in [0, inf). 0 means separation. A decile in which either group is missing is left out.

    Source: Hardt, Price, Srebro, 2016, Equality of Opportunity in Supervised Learning (separation); Jiang et
    al., 2020, Wasserstein Fair Classification.
    """
    here, there = _by_decile(own["score_cell_rows"]), _by_decile(other["score_cell_rows"])
    distance = wasserstein_distance(
        here, there, _by_decile(own["score_cell_sum"]), _by_decile(other["score_cell_sum"])
    )
    return _mean_over_deciles(distance, here) / _score_deviation(own, other)


def _of_scores(function: Callable[[Sums, Sums], FloatArray], label: str, cells: bool) -> Measure:
    bins = (SCORE_CELL_ROWS, SCORE_CELL_SUM) if cells else (SCORE_BIN_ROWS, SCORE_BIN_SUM)
    moved = "wasserstein" in function.__name__
    terms = (*bins, ROWS, SCORE_CENTRED, SCORE_CENTRED_SQUARE) if moved else bins[:1]
    return define(
        function,
        label,
        *terms,
        stage="post",
        tasks=("classification", "regression"),
        compare="distance",
        pair=True,
        needs=("score",),
    )


SCORE_DISTANCES: tuple[Measure, ...] = (
    _of_scores(score_ks, "Gap of the distributions of predictions", False),
    _of_scores(score_wasserstein, "Distance of the distributions of predictions", False),
    _of_scores(score_ks_within_deciles, "Gap of predictions among alike actuals", True),
    _of_scores(score_wasserstein_within_deciles, "Distance of predictions among alike actuals", True),
)
