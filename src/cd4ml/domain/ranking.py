"""Statistics of binary scores that are not sums: areas under curves, and the curves themselves.

Estimates are exact. Resamples join the scores into at most 256 quantile bins (exact below that many distinct
scores) and are shifted by what binning changed in the estimate: pairs within a bin are 1/256 of all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, IntArray, Resampling

__all__ = [
    "calibration_curve",
    "confusion",
    "equal_mass_bins",
    "pr_area",
    "pr_curve",
    "replicate_area",
    "roc_area",
    "roc_curve",
]

MAX_BINS = 256


def roc_area(positives: FloatArray, negatives: FloatArray) -> FloatArray:
    """Return the area under the ROC curve from counts by ascending score (..., B).

    The probability that a positive scores above a negative, ties counting half: 0.5 is chance, 1 perfect.
    """
    below = np.cumsum(negatives, axis=-1) - negatives
    with np.errstate(divide="ignore", invalid="ignore"):
        area = (positives * (below + negatives / 2)).sum(axis=-1) / (positives.sum(-1) * negatives.sum(-1))
    return np.asarray(area, dtype=np.float64)


def pr_area(positives: FloatArray, negatives: FloatArray) -> FloatArray:
    """Return the average precision from counts by ascending score (..., B).

    Precision at each threshold, weighted by the recall that it adds; no interpolation. 1 is perfect, and the
    share of positives is what chance gives.
    """
    hits = np.cumsum(positives[..., ::-1], axis=-1)[..., ::-1]
    misses = np.cumsum(negatives[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(hits + misses > 0, hits / (hits + misses), 0.0)
        area = (positives * precision).sum(axis=-1) / positives.sum(axis=-1)
    return np.asarray(area, dtype=np.float64)


AREAS = {"roc_auc": roc_area, "pr_auc": pr_area}


def replicate_area(name: str, y: FloatArray, p: FloatArray, design: Resampling) -> tuple[float, FloatArray]:
    """Return the exact area `name` of scores `p` and its replicates (R,)."""
    area = AREAS[name]
    scores, inverse = np.unique(p, return_inverse=True)
    hit = y > 0.5
    exact = float(area(_counts(inverse[hit], scores.size), _counts(inverse[~hit], scores.size)))
    bins, count = (inverse, scores.size) if scores.size <= MAX_BINS else equal_mass_bins(p, MAX_BINS)
    tables = [design.totals(mass, bins, count) for mass in (y, 1 - y)]
    positives, negatives = (design.replicate(table) for table in tables)
    shift = exact - float(area(tables[0].sum(axis=0), tables[1].sum(axis=0)))
    return exact, area(positives, negatives) + shift


def _counts(bins: IntArray, bin_count: int) -> FloatArray:
    return np.bincount(bins, minlength=bin_count).astype(np.float64)


def equal_mass_bins(p: FloatArray, bin_count: int) -> tuple[IntArray, int]:
    """Return the bin of each score and the number of bins, cut at quantiles; equal scores share a bin."""
    edges = np.unique(np.quantile(p, np.arange(1, bin_count) / bin_count, method="inverted_cdf"))
    bins = np.searchsorted(edges, p, side="left").astype(np.int64)
    return bins, edges.size + 1


def confusion(y_true: npt.ArrayLike, p: npt.ArrayLike, threshold: float = 0.5) -> dict[str, int]:
    """Count true and false negatives and positives, positive meaning p >= threshold."""
    actual, called = np.asarray(y_true) > 0.5, np.asarray(p) >= threshold
    return {
        "tn": int((~actual & ~called).sum()),
        "fp": int((~actual & called).sum()),
        "fn": int((actual & ~called).sum()),
        "tp": int((actual & called).sum()),
    }


def roc_curve(y: npt.ArrayLike, p: npt.ArrayLike, points: int = 200) -> list[tuple[float, float, float]]:
    """Return (false positive rate, true positive rate, threshold) from (0, 0) to (1, 1).

    At most `points` points, spread evenly along the curve. The first threshold, at which nothing is called
    positive, is just above the highest score: finite, so that it can be written as JSON.
    """
    thresholds, hits, misses = _cumulated(y, p)
    first = np.nextafter(thresholds[0], np.inf)
    rates = [np.r_[0.0, x / x[-1]] if x[-1] else np.zeros(x.size + 1) for x in (misses, hits)]
    picked = _spread(rates[0] + rates[1], points)
    return _triples(rates[0][picked], rates[1][picked], np.r_[first, thresholds][picked])


def pr_curve(y: npt.ArrayLike, p: npt.ArrayLike, points: int = 200) -> list[tuple[float, float, float]]:
    """Return (recall, precision, threshold) by descending threshold, at most `points` points."""
    thresholds, hits, misses = _cumulated(y, p)
    recall = hits / hits[-1] if hits[-1] else np.zeros(hits.size)
    precision = hits / (hits + misses)
    picked = _spread(np.arange(recall.size) / recall.size + recall, points)
    return _triples(recall[picked], precision[picked], thresholds[picked])


def calibration_curve(y: npt.ArrayLike, p: npt.ArrayLike, bins: int = 15) -> list[tuple[float, float, int]]:
    """Return (mean predicted, share of positives, rows) per equal-mass bin, ascending.

    A calibrated model has the first two equal in every bin.
    """
    scores, actual = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    codes, count = equal_mass_bins(scores, bins)
    rows = np.bincount(codes, minlength=count)
    predicted = np.bincount(codes, weights=scores, minlength=count)
    happened = np.bincount(codes, weights=actual, minlength=count)
    return [(float(predicted[b] / n), float(happened[b] / n), int(n)) for b, n in enumerate(rows) if n]


def _cumulated(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return descending distinct scores and, at or above each, the counts of positives and of negatives."""
    actual = np.asarray(y, dtype=np.float64)
    scores, inverse = np.unique(np.asarray(p, dtype=np.float64), return_inverse=True)
    hits = np.bincount(inverse, weights=actual)[::-1].cumsum()
    rows = np.bincount(inverse)[::-1].cumsum()
    return scores[::-1], hits, rows - hits


def _spread(position: FloatArray, points: int) -> IntArray:
    """Return at most `points` indices evenly spread by a rising position, the ends among them."""
    if position.size <= points:
        return np.arange(position.size)
    wanted = np.linspace(position[0], position[-1], points)
    picked = np.searchsorted(position, wanted).clip(0, position.size - 1)
    picked[-1] = position.size - 1
    return np.unique(picked)


def _triples(a: FloatArray, b: FloatArray, c: FloatArray) -> list[tuple[float, float, float]]:
    return [(float(x), float(y), float(z)) for x, y, z in zip(a, b, c, strict=True)]
