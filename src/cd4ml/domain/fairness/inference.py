"""Intervals and p-values of slices against a limit, from clustered resamples.

Percentiles of 1000 resamples cannot reach 0.05 / 400, the first step of Holm's correction over 400 slices, so
p-values are Student's with the clusters of the smaller side less 1 degrees of freedom, on the scale where
noise is most even: the logarithm of a ratio, the difference as it is. Normal p-values would give two to five
times the promised false alarms at 28 days.

References
----------
.. [1] Cameron, Gelbach, Miller, 2008, Bootstrap-Based Improvements for Inference with Clustered Errors.
.. [2] Agresti, Coull, 1998, Approximate Is Better than "Exact" for Interval Estimation of Binomial
   Proportions (a share of 0 or 1 is not certain).
.. [3] Morris, 1983, Parametric Empirical Bayes Inference; DerSimonian, Laird, 1986 (variance between slices).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtr

from cd4ml.domain.bootstrap import FEW_CLUSTERS, FloatArray, IntArray, expanded_quantile
from cd4ml.domain.fairness.measure import Compare
from cd4ml.domain.fairness.resampling import Replicates

__all__ = ["Inference", "Limits", "floored", "infer", "shrink", "spread", "variance_floor"]

BoolArray = npt.NDArray[np.bool_]

FEW_EVENTS = 10.0


@dataclass(frozen=True)
class Limits:
    """What is right: `low` and `high` of what is judged (None: no such end), and the one that is told."""

    low: float | None
    high: float | None
    margin: float

    @classmethod
    def of(cls, compare: Compare, ratio: float, error: float, difference: float) -> Limits:
        """Return the limits of a way to compare, from the least ratio of rates, the largest ratio of errors
        and the largest difference."""
        if compare == "rate_ratio":
            return cls(ratio, 1 / ratio, ratio)
        if compare == "error_ratio":
            return cls(None, error, error)
        return cls(-difference if compare == "difference" else None, difference, difference)


@dataclass(frozen=True)
class Inference:
    """What is judged of each slice, arrays of shape (S,).

    Attributes
    ----------
    estimate, low, high : array
        On the scale of the ratio, difference or distance; NaN where unknown.
    p : array
        Probability of an estimate as far out if the true one were at its limit; NaN where it is not tested.
    within : array of bool
        Whether the whole interval keeps the limits.
    """

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray
    within: BoolArray


def infer(found: Replicates, limits: Limits, clusters: IntArray, level: float) -> Inference:
    """Return the interval of each slice and the p-value of keeping its limits.

    Parameters
    ----------
    clusters : array of shape (S,)
        Clusters of the smaller side of each comparison.
    level : float
        Coverage of the intervals.
    """
    ratio = found.measure.compare in ("rate_ratio", "error_ratio")
    estimate = found.contrast[0]
    work = _work(found, ratio)
    floor = _floor(found)
    error, floored_up = _error(work[1:], floor, clusters)
    low, high = _interval(found, work, np.where(floored_up, error, 0.0), clusters, level)
    centre = _centre(found, work)
    p = _p_value(centre, error, *_ends(limits, ratio), clusters)
    untested = ~np.isfinite(estimate) | ~np.isfinite(error) | ~np.isfinite(low + high)
    within = np.ones(estimate.size, dtype=np.bool_)
    for end, limit, sign in ((low, limits.low, 1), (high, limits.high, -1)):
        within &= True if limit is None else sign * (end - limit) >= 0
    nothing = np.nan
    return Inference(
        np.where(np.isfinite(estimate), estimate, nothing),
        np.where(untested, nothing, low),
        np.where(untested, nothing, high),
        np.where(untested, nothing, p),
        within & ~untested,
    )


def floored(rate: FloatArray, support: FloatArray) -> FloatArray:
    """Return rates of 0 as half a row in their support: nobody of 1000 is not a rate of exactly 0."""
    least = np.divide(0.5, support, out=np.zeros(support.shape), where=support > 0)
    return np.where(np.isnan(rate), np.nan, np.maximum(rate, least))


def variance_floor(rate: FloatArray, support: FloatArray, logarithm: bool) -> FloatArray:
    """Return the variance that a share near 0 or 1 has at least, (S,); 0 elsewhere and for what is no share.

    A share of 0 or 1 is the same in each resample, and yet not certain; with ten rows of either kind the
    resamples see it. p = (successes + 1/2) / (rows + 1), rows taken for independent.
    """
    share = np.isfinite(support) & (support > 0) & (rate >= 0) & (rate <= 1)
    share &= np.minimum(rate, 1 - rate) * np.where(share, support, 1.0) < FEW_EVENTS
    rows = np.where(share, support, 1.0)
    p = (np.where(share, rate, 0.5) * rows + 0.5) / (rows + 1)
    least = (1 - p) / (rows * p) if logarithm else p * (1 - p) / rows
    return np.asarray(np.where(share, least, 0.0))


def spread(resampled: FloatArray, clusters: IntArray) -> FloatArray:
    """Return the standard error of each column of (R, S); NaN where most resamples have no value."""
    finite = np.isfinite(resampled)
    count = finite.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, resampled, 0.0).sum(axis=0) / count
        squares = (np.where(finite, resampled - mean, 0.0) ** 2).sum(axis=0)
        error = np.sqrt(squares / (count - 1) * (clusters / (clusters - 1)))
    return np.where((2 * count >= len(resampled)) & (count > 1) & (clusters > 1), error, np.nan)


def shrink(found: Replicates, clusters: IntArray, members: BoolArray) -> FloatArray:
    """Return each slice's value drawn to the mean of the column's slices, (S,); NaN where it has none.

    value = mean + (estimate - mean) * between / (between + own variance), where `between` is the variance of
    the true values by the method of moments; 0 of it draws all to the mean, a slice of many rows stays.

    Parameters
    ----------
    members : array of bool
        Slices that enter the mean: those that part the rows.
    """
    if found.value is None:
        return np.full(found.contrast.shape[1], np.nan)
    value, error = found.value[0], spread(found.value[1:], clusters)
    variance = error**2 + variance_floor(value, found.support, logarithm=False) * (error == 0)
    used = members & np.isfinite(value) & (variance > 0)
    if used.sum() < 2:
        return np.where(np.isfinite(value), value, np.nan)
    weight = 1 / variance[used]
    centre = (weight * value[used]).sum() / weight.sum()
    excess = (weight * (value[used] - centre) ** 2).sum() - (used.sum() - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    between = max(0.0, float(excess / scale))
    mean = (value[used] / (between + variance[used])).sum() / (1 / (between + variance[used])).sum()
    keep = np.divide(between, between + variance, out=np.ones(value.size), where=(variance > 0))
    return np.where(np.isfinite(value) & np.isfinite(variance), mean + (value - mean) * keep, np.nan)


def _work(found: Replicates, ratio: bool) -> FloatArray:
    """Return what is judged on the scale where it is tested; a rate of 0 is half a row."""
    if not ratio:
        return found.contrast
    value, other = found.value, found.other
    with np.errstate(divide="ignore", invalid="ignore"):
        if found.measure.compare == "rate_ratio" and value is not None and other is not None:
            above, below = floored(value, found.support), floored(other, found.other_support)
            return np.asarray(np.log(above) - np.log(below))
        return np.asarray(np.log(found.contrast))


def _floor(found: Replicates) -> FloatArray:
    """Return the least variance of what is tested; 0 for errors, distances and pairs on the same rows."""
    value, other, compare = found.value, found.other, found.measure.compare
    judged = compare in ("rate_ratio", "difference") and found.against != "champion"
    if value is None or other is None or not judged:
        return np.zeros(found.contrast.shape[1])
    logarithm = compare == "rate_ratio"
    own = variance_floor(value[0], found.support, logarithm)
    return own + variance_floor(other[0], found.other_support, logarithm)


def _error(resampled: FloatArray, floor: FloatArray, clusters: IntArray) -> tuple[FloatArray, BoolArray]:
    """Return standard errors, and whether each is the floor's."""
    error, least = spread(resampled, clusters), np.sqrt(floor)
    return np.maximum(error, least), np.asarray(least > error)


def _centre(found: Replicates, work: FloatArray) -> FloatArray:
    """Return what the test rests on; what noise raises a distance by is taken off."""
    if found.measure.compare != "distance":
        return np.asarray(work[0])
    finite = np.isfinite(work[1:])
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, work[1:], 0.0).sum(axis=0) / count
    return np.asarray(np.maximum(2 * work[0] - mean, 0.0))


def _ends(limits: Limits, ratio: bool) -> tuple[float, float]:
    low, high = limits.low, limits.high
    if ratio:
        low, high = (None if end is None else float(np.log(end)) for end in (low, high))
    return -np.inf if low is None else low, np.inf if high is None else high


def _p_value(
    centre: FloatArray, error: FloatArray, low: float, high: float, clusters: IntArray
) -> FloatArray:
    """Return the p-value of low <= true value <= high: the chance at the nearer end of being as far out."""
    beyond = np.maximum(centre - high, low - centre)
    far = beyond + (high - low)
    freedom = np.maximum(clusters - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(freedom, -beyond / error) + stdtr(freedom, -far / error)
    certain = np.where(beyond > 0, 0.0, 1.0)
    found = np.where(error > 0, p, np.where(np.isnan(error), np.nan, certain))
    return np.asarray(np.minimum(found, 1.0))


def _interval(
    found: Replicates, work: FloatArray, widened: FloatArray, clusters: IntArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Return the expanded percentile interval, at least as wide as the floor of the error asks."""
    estimate, resampled = found.contrast[0], found.contrast[1:]
    quantile = expanded_quantile(np.maximum(clusters, 2), level)
    ordered = np.sort(np.where(np.isfinite(resampled), resampled, np.nan), axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    low, high = _percentile(ordered, count, ndtr(quantile)), _percentile(ordered, count, ndtr(-quantile))
    few = clusters < FEW_CLUSTERS
    if few.any():
        half = -quantile * np.nanstd(np.where(count > 0, ordered, 0.0), axis=0)
        low, high = np.where(few, estimate - half, low), np.where(few, estimate + half, high)
    if found.measure.compare == "distance":
        low, high = np.maximum(2 * estimate - high, 0.0), np.maximum(2 * estimate - low, 0.0)
    elif found.measure.compare != "difference":
        low = np.maximum(low, 0.0)
    ends = work[0] + quantile * widened, work[0] - quantile * widened
    if found.measure.compare in ("rate_ratio", "error_ratio"):
        ends = np.exp(ends[0]), np.exp(ends[1])
    wide = widened > 0
    low, high = np.where(wide, np.minimum(low, ends[0]), low), np.where(wide, np.maximum(high, ends[1]), high)
    known = (2 * count >= len(resampled)) & (clusters > 1)
    return np.where(known, np.minimum(low, estimate), np.nan), np.where(
        known, np.maximum(high, estimate), np.nan
    )


def _percentile(ordered: FloatArray, count: IntArray, tail: FloatArray) -> FloatArray:
    """Return the quantile of each column of sorted (R, S), of which the first `count` have values."""
    place = tail * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    columns = np.arange(ordered.shape[1])
    share = place - below
    return np.asarray(ordered[below, columns] * (1 - share) + ordered[above, columns] * share)
