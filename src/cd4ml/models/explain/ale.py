"""Accumulated local effects: how the prediction changes along one feature, all else as it is in the rows.

Unlike partial dependence they never ask the model about combinations that no row comes near: each row is
moved only within its own bin.

References
----------
.. [1] Apley, Zhu, 2020, Visualizing the Effects of Predictor Variables in Black Box Supervised Learning
   Models, JRSS B 82(4); its supplement for the order of categories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cd4ml.domain.bootstrap import Interval, Resampling
from cd4ml.models.data import FloatArray, IntArray, Matrix

__all__ = ["MAX_BINS", "Effect", "accumulated_effect"]

MAX_BINS = 20
MAX_LEVELS = 24
_DISTANCE_BINS = 12
Predict = Callable[[Matrix], FloatArray]


@dataclass(frozen=True)
class Effect:
    """The effect of one feature, centred: its mean over the rows is 0.

    Attributes
    ----------
    at : array of shape (m,)
        Bin edges of a number, rising; codes of a category, similar ones side by side.
    rows : array of shape (m,)
        Rows of each category; of a number, rows of the bin that ends there (0 at the first edge).
    values : tuple of Interval
        What is added to the mean prediction, in its units.
    left_out : int
        Rows without a value, or of one of the rarest categories.
    """

    at: FloatArray
    rows: IntArray
    values: tuple[Interval, ...]
    left_out: int


def accumulated_effect(
    predict: Predict, X: Matrix, index: int, design: Resampling, *, nominal: bool = False
) -> Effect | None:
    """Return the accumulated local effect of one feature; None where it has fewer than two values.

    Parameters
    ----------
    predict : callable
        Features (n, k) -> predictions (n,).
    X : float32 array of shape (n, k)
        Rows to average over.
    design : Resampling
        Of these rows, for the intervals.
    nominal : bool
        Whether the feature's numbers are codes without an order.
    """
    values = X[:, index]
    if nominal:
        levels, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_LEVELS])
        points = levels[kept]
    else:
        points = _edges(values[~np.isnan(values)])
    if len(points) < 2:
        return None
    if nominal:
        points = points[_order(X, index, points)]
        return _of_category(predict, X, index, design, points)
    return _of_number(predict, X, index, design, points)


def _edges(known: Matrix) -> Matrix:
    """Return the values themselves where they are few, else quantiles of them.

    Where many rows share a value (no capital gain), quantiles fall together: those that are left over are
    taken of the other values.
    """
    distinct = np.unique(known)
    if len(distinct) <= MAX_BINS + 1:
        return distinct
    edges = np.unique(np.quantile(known, np.linspace(0, 1, MAX_BINS + 1), method="inverted_cdf"))
    more, rest = MAX_BINS + 1 - len(edges), known[~np.isin(known, edges)]
    if more and rest.size:
        inner = np.quantile(rest, np.arange(1, more + 1) / (more + 1), method="inverted_cdf")
        edges = np.unique(np.concatenate([edges, inner]))
    return edges


def _difference(predict: Predict, X: Matrix, index: int, low: Matrix, high: Matrix) -> FloatArray:
    """Return by how much each row's prediction grows from one value of a feature to another."""
    moved = np.concatenate([X, X])
    moved[: len(X), index], moved[len(X) :, index] = low, high
    found = predict(moved)
    return np.asarray(found[len(X) :] - found[: len(X)], dtype=np.float64)


def _of_number(predict: Predict, X: Matrix, index: int, design: Resampling, edges: Matrix) -> Effect:
    rows = np.flatnonzero(~np.isnan(X[:, index]))
    bins = np.clip(np.searchsorted(edges, X[rows, index], side="left"), 1, len(edges) - 1) - 1
    change = _difference(predict, X[rows], index, edges[bins], edges[bins + 1])
    part, count = design.subset(rows), len(edges) - 1
    tables = (part.totals(change, bins, count), part.totals(np.ones(len(rows)), bins, count))
    along = (X[rows, index] - edges[bins]) / (edges[bins + 1] - edges[bins])  # a row lies between two edges
    shares = np.bincount(bins, weights=1 - along, minlength=len(edges))
    shares += np.bincount(bins + 1, weights=along, minlength=len(edges))
    own = np.bincount(bins, minlength=count)
    values = _intervals(part, tables, shares / len(rows))
    return Effect(edges.astype(np.float64), np.r_[0, own], values, len(X) - len(rows))


def _of_category(predict: Predict, X: Matrix, index: int, design: Resampling, levels: Matrix) -> Effect:
    """Average the step between two neighbouring categories over the rows of both."""
    place = _places(X[:, index], levels)
    rows = np.flatnonzero(place >= 0)
    upper = rows[place[rows] < len(levels) - 1]  # rows that can be moved on to the next category
    lower = rows[place[rows] > 0]
    moved = np.concatenate([upper, lower])
    step = np.concatenate([place[upper], place[lower] - 1])
    change = _difference(predict, X[moved], index, levels[step], levels[step + 1])
    part = design.subset(moved)
    count = len(levels) - 1
    own = np.bincount(place[rows], minlength=len(levels))
    tables = (part.totals(change, step, count), part.totals(np.ones(len(moved)), step, count))
    values = _intervals(part, tables, own / own.sum())
    return Effect(levels.astype(np.float64), own, values, len(X) - len(rows))


def _intervals(
    design: Resampling, tables: tuple[FloatArray, FloatArray], shares: FloatArray
) -> tuple[Interval, ...]:
    """Accumulate mean changes (sums and counts by group and bin), centre them, and resample both."""
    sums, counts = (table.sum(axis=0) for table in tables)
    mean = sums / np.maximum(counts, 1)
    drawn_sums, drawn_counts = (design.replicate(table) for table in tables)
    # A bin of which a resample has no row tells it nothing: it keeps what all rows say.
    drawn = np.where(drawn_counts > 0, drawn_sums / np.maximum(drawn_counts, 1), mean)
    estimate, replicates = _centred(mean, shares), _centred(drawn, shares)
    return tuple(design.interval(float(one), replicates[:, i]) for i, one in enumerate(estimate))


def _centred(steps: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the sums of steps (..., K) from 0 on, (..., K + 1), less their mean by shares (K + 1,)."""
    curve = np.concatenate([np.zeros_like(steps[..., :1]), np.cumsum(steps, axis=-1)], axis=-1)
    return np.asarray(curve - (curve @ shares)[..., None])


def _places(values: Matrix, levels: Matrix) -> IntArray:
    """Return the place of each value among the levels, in their order; -1 for others."""
    order = np.argsort(levels)
    found = np.clip(np.searchsorted(levels[order], values), 0, len(levels) - 1)
    return np.where(levels[order][found] == values, order[found], -1)


def _order(X: Matrix, index: int, levels: Matrix) -> IntArray:
    """Order categories so that those whose rows look alike in the other features stand side by side.

    The distance of two categories is the sum over the other features of the largest difference of their
    distribution functions; its first principal coordinate (classical scaling) gives the order.
    """
    place = _places(X[:, index], levels)
    rows = np.flatnonzero(place >= 0)
    size = np.bincount(place[rows], minlength=len(levels))[:, None]
    distance = np.zeros((len(levels), len(levels)))
    for other in range(X.shape[1]):
        if other != index:
            bins = _binned(X[rows, other])
            width = int(bins.max()) + 1
            table = np.bincount(place[rows] * width + bins, minlength=len(levels) * width)
            share = np.cumsum(table.reshape(len(levels), width) / size, axis=1)
            distance += np.abs(share[:, None, :] - share[None, :, :]).max(axis=2)
    centring = np.eye(len(levels)) - 1 / len(levels)
    _, vectors = np.linalg.eigh(-centring @ (distance**2) @ centring / 2)
    first = np.round(vectors[:, -1], 9)
    return np.argsort(first * (-1.0 if first[np.argmax(np.abs(first))] < 0 else 1.0), kind="stable")


def _binned(values: Matrix) -> IntArray:
    """Return a bin for each value, of about as many rows each; 0 for no value."""
    known = values[~np.isnan(values)]
    if not known.size:
        return np.zeros(len(values), dtype=np.int64)
    edges = np.unique(
        np.quantile(known, np.arange(1, _DISTANCE_BINS) / _DISTANCE_BINS, method="inverted_cdf")
    )
    return np.where(np.isnan(values), 0, np.searchsorted(edges, values, side="left") + 1).astype(np.int64)
