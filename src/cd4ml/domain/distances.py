"""Distances between two distributions, from their counts: 0 means equal in all of them.

Counts stand along the last axis, so that many columns or windows are compared at once. Distances are effect
sizes: with a million rows a p-value calls a shift of 0.02 standard deviations certain, and it is nothing.

Two snapshots are compared by their stored profiles alone: quantile edges with counts, or categories with
counts. Between edges a profile is taken for even, so its distribution function is a line of pieces and the
distances between two profiles with different edges are exact for those.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cd4ml.errors import DataError, UsageError

__all__ = [
    "category_distances",
    "histogram",
    "jensen_shannon",
    "kolmogorov_smirnov",
    "l_infinity",
    "numeric_distances",
    "psi",
    "quantile_edges",
    "wasserstein",
]

FloatArray = npt.NDArray[np.float64]

EMPTY_SHARE = 1e-4  # what an empty bin counts as in psi, so that one such bin weighs about its mass times 9


def psi(reference: npt.ArrayLike, current: npt.ArrayLike) -> FloatArray:
    """Return the population stability index, the sum of (q - p) ln(q / p) over bins; counts (..., B).

    0 means equal; by custom below 0.1 is little and above 0.25 much. It is the Jeffreys divergence in nats.
    Shares below 1e-4 are taken for 1e-4. References: Siddiqi, 2006, Credit Risk Scorecards; Jeffreys, 1946.
    """
    p, q = (np.maximum(x, EMPTY_SHARE) for x in _shares(reference, current))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def jensen_shannon(reference: npt.ArrayLike, current: npt.ArrayLike) -> FloatArray:
    """Return the Jensen-Shannon divergence in bits (base 2); counts (..., B).

    0 means equal, 1 that they share no bin. It is the divergence, not its square root. References: Lin, 1991,
    Divergence Measures Based on the Shannon Entropy.
    """
    p, q = _shares(reference, current)
    middle = (p + q) / 2
    total = np.zeros(np.broadcast_shapes(p.shape, q.shape))
    for share in (p, q):
        ratio = np.divide(share, middle, out=np.ones_like(total), where=share > 0)
        total = total + share * np.log2(ratio) / 2
    return np.asarray(np.clip(total.sum(axis=-1), 0.0, 1.0))


def l_infinity(reference: npt.ArrayLike, current: npt.ArrayLike) -> FloatArray:
    """Return the largest difference of the shares of one category; counts (..., B), 0 equal, 1 disjoint.

    References: TensorFlow Data Validation, drift and skew comparators.
    """
    p, q = _shares(reference, current)
    return np.asarray(np.abs(p - q).max(axis=-1))


def kolmogorov_smirnov(reference: npt.ArrayLike, current: npt.ArrayLike) -> FloatArray:
    """Return the largest gap of the distribution functions at the edges of ordered bins; counts (..., B).

    0 means equal, 1 that all of one lies below all of the other. References: Kolmogorov, 1933; Smirnov, 1939.
    """
    p, q = _shares(reference, current)
    return np.asarray(np.abs(np.cumsum(p - q, axis=-1)).max(axis=-1).clip(0.0, 1.0))


def wasserstein(reference: npt.ArrayLike, current: npt.ArrayLike, edges: npt.ArrayLike) -> FloatArray:
    """Return the mean distance by which mass must be moved, over the reference's spread; counts (..., B).

    The integral of |F - G| over `edges` (..., B + 1), divided by the interquartile range of the reference
    (the whole range where that is 0): 0 means equal, 1 a shift by as much as the middle half is wide.
    References: Vallender, 1974, Calculation of the Wasserstein Distance Between Probability Distributions
    on the Line.
    """
    p, q = _shares(reference, current)
    at = np.asarray(edges, dtype=np.float64)
    difference = np.cumsum(p - q, axis=-1)
    a = np.abs(np.concatenate([np.zeros_like(difference[..., :1]), difference[..., :-1]], axis=-1))
    b = np.abs(difference)
    crossing = (
        np.concatenate([np.zeros_like(difference[..., :1]), difference[..., :-1]], axis=-1) * difference < 0
    )
    both = np.where(a + b > 0, a + b, 1.0)
    mean = np.where(crossing, (a**2 + b**2) / (2 * both), (a + b) / 2)
    return np.asarray((mean * np.diff(at, axis=-1)).sum(axis=-1) / _spread(p, at))


def _spread(shares: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the interquartile range of binned shares (..., B), or the whole range where it is 0."""
    flat = shares.reshape(-1, shares.shape[-1])
    at = np.broadcast_to(edges, (*shares.shape[:-1], edges.shape[-1])).reshape(-1, edges.shape[-1])
    spreads = []
    for share, edge in zip(flat, at, strict=True):
        rising = np.r_[0.0, np.cumsum(share)]
        low, high = np.interp([0.25, 0.75], rising, edge)
        spreads.append(high - low if high > low else edge[-1] - edge[0])
    return np.asarray(spreads, dtype=np.float64).reshape(shares.shape[:-1])


def quantile_edges(values: npt.ArrayLike, bins: int = 20) -> FloatArray:
    """Return at most `bins` + 1 rising edges at the quantiles of the finite values; equal ones are joined.

    A constant gives one bin, half a unit to either side.

    Raises
    ------
    DataError
        If there is no finite value.
    """
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not found.size:
        raise DataError("there is no finite value to take quantiles of; look at the column")
    edges = np.unique(np.quantile(found, np.linspace(0.0, 1.0, bins + 1)))
    return edges if edges.size > 1 else np.array([edges[0] - 0.5, edges[0] + 0.5])


def histogram(values: npt.ArrayLike, edges: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Count values per bin [edge, next edge); those outside fall in the outer bins, NaN in none."""
    found, at = np.asarray(values, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if at.ndim != 1 or at.size < 2 or not (np.diff(at) > 0).all():
        raise UsageError(f"edges must be at least 2 rising numbers; found {at.tolist()}")
    bins = np.searchsorted(at[1:-1], found[~np.isnan(found)], side="right")
    return np.bincount(bins, minlength=at.size - 1).astype(np.int64)


def numeric_distances(
    reference_edges: npt.ArrayLike,
    reference_counts: npt.ArrayLike,
    current_edges: npt.ArrayLike,
    current_counts: npt.ArrayLike,
) -> dict[str, float]:
    """Return psi, jensen_shannon, kolmogorov_smirnov and wasserstein between two numeric profiles.

    psi and jensen_shannon are over the reference's bins, the outer ones reaching to infinity; the other two
    over the edges of both. 0 means equal.
    """
    base, other = (np.asarray(e, dtype=np.float64) for e in (reference_edges, current_edges))
    both = np.union1d(base, other)
    p, q = _spread_over(base, reference_counts, both), _spread_over(other, current_counts, both)
    coarse = _spread_over(other, current_counts, np.r_[-np.inf, base[1:-1], np.inf])
    return {
        "psi": float(psi(reference_counts, coarse)),
        "jensen_shannon": float(jensen_shannon(reference_counts, coarse)),
        "kolmogorov_smirnov": float(kolmogorov_smirnov(p, q)),
        "wasserstein": float(wasserstein(p, q, both)),
    }


def _spread_over(edges: FloatArray, counts: npt.ArrayLike, onto: FloatArray) -> FloatArray:
    """Return the counts over other edges, taking each bin for even."""
    mass = np.asarray(counts, dtype=np.float64)
    if mass.shape != (edges.size - 1,):
        raise UsageError(f"a profile needs one count a bin; found {edges.size} edges and {mass.size} counts")
    return np.diff(np.interp(onto, edges, np.r_[0.0, np.cumsum(mass)]))


def category_distances(reference: Mapping[str, int], current: Mapping[str, int]) -> dict[str, float]:
    """Return psi, jensen_shannon and l_infinity between two counts by category; 0 means equal."""
    names = sorted(set(reference) | set(current))
    p = np.array([reference.get(name, 0) for name in names], dtype=np.float64)
    q = np.array([current.get(name, 0) for name in names], dtype=np.float64)
    return {
        "psi": float(psi(p, q)),
        "jensen_shannon": float(jensen_shannon(p, q)),
        "l_infinity": float(l_infinity(p, q)),
    }


def _shares(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    p, q = (np.asarray(x, dtype=np.float64) for x in (reference, current))
    if not p.ndim or not q.ndim or p.shape[-1] != q.shape[-1] or not p.shape[-1]:
        raise UsageError(f"both distributions must have the same bins; found shapes {p.shape} and {q.shape}")
    for name, counts in (("reference", p), ("current", q)):
        if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts.sum(axis=-1) > 0).all()):
            raise DataError(f"the {name} distribution must have counts of at least 0 that do not all vanish")
    return p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
