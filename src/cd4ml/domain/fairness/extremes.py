"""The four-fifths rule: the lowest rate among the groups of a column over the highest.

The least of many noisy ratios is too low by chance, the more so the more groups there are, and percentiles
of its resamples are too low again. The interval is therefore that of all pairs of groups at once: each ratio
has Student's interval on its logarithm, at a level shared by the pairs after Bonferroni, and the least of the
true ratios lies between the least of the low ends and the least of the high ends. With two groups it is the
plain interval of their ratio.

References
----------
.. [1] US Equal Employment Opportunity Commission, 1978, Uniform Guidelines on Employee Selection Procedures,
   29 CFR 1607.4 D.
.. [2] Hsu, 1996, Multiple Comparisons: Theory and Methods, chapter 4 (comparisons with the best).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from cd4ml.domain.bootstrap import FloatArray, IntArray
from cd4ml.domain.fairness.inference import floored, variance_floor
from cd4ml.domain.fairness.resampling import Replicates

__all__ = ["Extremes", "find_extremes"]


@dataclass(frozen=True)
class Extremes:
    """The ratio of two groups' rates; `lowest` and `highest` are their positions."""

    lowest: int
    highest: int
    ratio: float
    low: float
    high: float
    p: float


def find_extremes(
    found: Replicates, clusters: IntArray, usable: npt.NDArray[np.bool_], limit: float, level: float
) -> Extremes | None:
    """Return the lowest rate over the highest among the usable slices, None where fewer than two have one.

    Parameters
    ----------
    clusters : array of shape (S,)
        Clusters of each slice.
    usable : array of bool, of shape (S,)
        Slices that part the rows and have enough of them.
    limit : float
        Least ratio that is right: 0.8. `p` is of the ratio being at least that.
    """
    if found.value is None:
        return None
    defined = np.mean(np.isfinite(found.value[1:]), axis=0) >= 0.5
    chosen = np.flatnonzero(usable & np.isfinite(found.value[0]) & defined)
    if chosen.size < 2 or not found.value[0, chosen].any():
        return None
    value, support = found.value[:, chosen], found.support[chosen]
    with np.errstate(divide="ignore"):
        logs = np.log(floored(value, support))
    error, freedom = _pair_errors(logs, value[0], support, clusters[chosen])
    ratio = logs[0][:, None] - logs[0][None, :]
    pairs = ~np.eye(chosen.size, dtype=np.bool_)
    count = int(pairs.sum())
    half = -stdtrit(freedom, (1 - level) / count) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(freedom, (ratio - np.log(limit)) / error)[pairs].min() * count
    lowest, highest = int(np.argmin(value[0])), int(np.argmax(value[0]))
    return Extremes(
        int(chosen[lowest]),
        int(chosen[highest]),
        float(value[0, lowest] / value[0, highest]),
        float(np.exp((ratio - half)[pairs].min())) if value[0, lowest] > 0 else 0.0,
        float(np.exp((ratio + half)[pairs].min())),
        min(1.0, float(p)),
    )


def _pair_errors(
    logs: FloatArray, rate: FloatArray, support: FloatArray, clusters: IntArray
) -> tuple[FloatArray, IntArray]:
    """Return standard errors and degrees of freedom of the logarithm of each ratio, of shape (K, K)."""
    resampled = np.where(np.isfinite(logs[1:]), logs[1:], logs[0])
    covariance = np.atleast_2d(np.cov(resampled, rowvar=False))
    own = np.diag(covariance)
    fewer = np.minimum(clusters[:, None], clusters[None, :])
    variance = (own[:, None] + own[None, :] - 2 * covariance) * fewer / (fewer - 1)
    floor = variance_floor(rate, support, logarithm=True)
    least = floor[:, None] + floor[None, :]
    return np.sqrt(np.maximum(variance, least)), (fewer - 1).astype(np.int64)
