"""Intervals by the clustered Poisson bootstrap.

Rows that share a cluster (a day, a store, a person) share shocks, so a resample keeps or drops them together:
each cluster gets a Poisson(1) weight, and a statistic made of sums is a matrix product of those weights with
the sums per cluster. On a panel with day shocks the clustered interval is about 2.5 times as wide as one that
takes rows for independent, and is the one that covers.

References
----------
.. [1] Chamandy, Muralidharan, Najmi, Naidu, 2012, Estimating Uncertainty for Massive Data Streams (Poisson
   weights in place of multinomial counts).
.. [2] Hesterberg, 2015, What Teachers Should Know About the Bootstrap, The American Statistician 69(4),
   section 5.1 (the expanded percentile interval).
.. [3] Cameron, Gelbach, Miller, 2008, Bootstrap-Based Improvements for Inference with Clustered Errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import UsageError

__all__ = ["FEW_CLUSTERS", "Interval", "Resampling", "expanded_quantile", "resample"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# More clusters than this are first joined at random: independent clusters stay independent, the width keeps
# its mean, and its own noise (1 / sqrt(2 * 2048), 1.6 %) is below that of 1000 resamples.
MAX_GROUPS = 2048
FEW_CLUSTERS = 5  # fewer give so few distinct resamples that percentiles cannot reach the tails
BLOCK_VALUES = 4_000_000  # float64 weights held at a time: 32 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; `low` and `high` are None where the data are too few to say."""

    estimate: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Return the three numbers by name; None becomes null in JSON."""
        return {"estimate": self.estimate, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, value: Mapping[str, float | None]) -> Interval:
        """Return the interval that `to_dict` wrote."""
        estimate = value["estimate"]
        if estimate is None:
            raise UsageError("an interval needs an estimate; found null")
        return cls(float(estimate), value.get("low"), value.get("high"))


@dataclass(frozen=True)
class Resampling:
    """The weights of every resample, and how rows fall into groups; made by `resample`.

    Attributes
    ----------
    groups : array of shape (n,)
        Group of each row, 0 to G - 1.
    cluster_codes : array of shape (n,)
        Cluster of each row; a group holds one cluster, or several when there are more than 2048.
    weights : array of shape (R, G)
        Poisson(1) weight of each group in each resample.
    level : float
        Coverage aimed at, e.g. 0.95.
    """

    groups: IntArray
    cluster_codes: IntArray
    weights: npt.NDArray[np.uint8]
    level: float

    @property
    def clusters(self) -> int:
        """The number of distinct clusters."""
        return int(np.unique(self.cluster_codes).size)

    def subset(self, rows: IntArray) -> Resampling:
        """Return the same resamples seen by some rows alone."""
        present, groups = np.unique(self.groups[rows], return_inverse=True)
        return Resampling(
            groups.astype(np.int64), self.cluster_codes[rows], self.weights[:, present], self.level
        )

    def totals(self, values: FloatArray, bins: IntArray | None = None, bin_count: int = 1) -> FloatArray:
        """Return the sums of `values` (n,) per group and bin, of shape (G, bin_count)."""
        group_count = self.weights.shape[1]
        cell = self.groups if bins is None else self.groups * bin_count + bins
        sums = np.bincount(cell, weights=values, minlength=group_count * bin_count)
        return np.asarray(sums.reshape(group_count, bin_count), dtype=np.float64)

    def replicate(self, totals: FloatArray) -> FloatArray:
        """Return the resampled sums (R, k) of totals (G, k), in blocks that bound memory."""
        resamples, groups = self.weights.shape
        block = max(1, BLOCK_VALUES // max(1, groups))
        parts = [self.weights[i : i + block].astype(np.float64) @ totals for i in range(0, resamples, block)]
        return np.concatenate(parts)

    def interval(self, estimate: float, replicates: FloatArray, reflect: bool = False) -> Interval:
        """Return the expanded percentile interval of `replicates` (R,) round `estimate`.

        The tails are widened from the normal to Student's t with C - 1 degrees of freedom and by
        sqrt(C / (C - 1)) for C clusters [2]_, which matters below some 50. From 2 to 4 clusters it is
        Student's t interval with the standard deviation of the resamples, symmetric, and may reach beyond the
        metric's range; so computed, 95 % intervals cover in 94 to 97 % of simulations from 2 clusters to 60
        (without, in 49 % at 2). Resamples in which the statistic is not defined are left out. There is no
        interval for one cluster, nor where most resamples are undefined.

        Parameters
        ----------
        reflect : bool
            Mirror the interval at the estimate (the basic bootstrap): for statistics that noise biases
            upward, as it does a calibration error, since resamples are biased by as much again.
        """
        from scipy.special import ndtr  # 0.25 s, and a verdict is read without it

        finite = replicates[np.isfinite(replicates)]
        clusters = self.clusters
        if clusters < 2 or 2 * finite.size < replicates.size or finite.size < 2:
            return Interval(estimate)
        quantile = expanded_quantile(np.array(clusters), self.level)
        if clusters < FEW_CLUSTERS:
            half = float(-quantile * finite.std())
            return Interval(estimate, estimate - half, estimate + half)
        tail = float(ndtr(quantile))
        low, high = (float(x) for x in np.quantile(finite, [tail, 1 - tail]))
        if reflect:
            low, high = 2 * estimate - high, 2 * estimate - low
        return Interval(estimate, min(low, estimate), max(high, estimate))


def expanded_quantile(clusters: npt.NDArray[np.integer[Any]], level: float) -> FloatArray:
    """Return how many standard deviations of resamples the low end of an interval is off; negative.

    Student's quantile with C - 1 degrees of freedom times sqrt(C / (C - 1)), for C >= 2 clusters, any shape.
    """
    from scipy.special import stdtrit

    return np.asarray(stdtrit(clusters - 1, (1 - level) / 2) * np.sqrt(clusters / (clusters - 1)))


def resample(
    rows: int,
    cluster: npt.ArrayLike | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Resampling:
    """Draw the weights of `resamples` resamples of `rows` rows by cluster.

    Parameters
    ----------
    rows : int
        Number of rows.
    cluster : array of shape (rows,), optional
        What rows depend on together (any dtype); None takes each row for its own cluster.

    Raises
    ------
    UsageError
        If there are fewer than 100 resamples, the level is outside (0, 1), or lengths differ.
    """
    if resamples < 100:
        raise UsageError(f"resamples must be at least 100, found {resamples}; 1000 is the default")
    if not 0 < level < 1:
        raise UsageError(f"level must be between 0 and 1, found {level}; 0.95 is the default")
    codes = _codes(rows, cluster)
    count = int(codes.max()) + 1 if rows else 0
    rng = np.random.Generator(np.random.PCG64(seed))
    groups = codes if count <= MAX_GROUPS else (rng.permutation(count) % MAX_GROUPS)[codes]
    # Poisson(1) exceeds 255 with a probability below 1e-500: a byte holds it.
    weights = rng.poisson(1.0, size=(resamples, min(count, MAX_GROUPS))).astype(np.uint8)
    return Resampling(groups, codes, weights, level)


def _codes(rows: int, cluster: npt.ArrayLike | None) -> IntArray:
    if cluster is None:
        return np.arange(rows, dtype=np.int64)
    found = np.asarray(cluster)
    if found.shape != (rows,):
        raise UsageError(f"cluster must have one value a row, shape ({rows},); found {found.shape}")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)
