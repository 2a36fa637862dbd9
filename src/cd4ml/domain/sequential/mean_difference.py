"""Means of two arms of a canary: business outcomes, latencies up to a cap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.bounded_mean import PositiveMean
from cd4ml.domain.sequential.mixture import Mixture
from cd4ml.errors import UsageError

__all__ = ["MeanDifference"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class MeanDifference:
    """Compares the mean of an outcome between canary and stable version; more of it is worse.

    An outcome y of a request that went to the canary with probability w becomes
    (y - m) (A / w - (1 - A) / (1 - w)), A telling the arm and m the mean of all outcomes before it. Its mean
    is the difference of the arms' means whatever m is; with outcomes from 0 to `cap` it is bounded, so that
    bets on it are martingales at any sample size. Turn what is good (sales) into what is bad by giving
    `cap` minus it.

    Parameters
    ----------
    cap : float
        Outcomes count as from 0 to here; what is larger counts as `cap`, so means are of capped ones.
    margin : float
        Difference, in the unit of the outcome, from which on the canary counts as worse; above 0.
    least_share : float
        Requests that had a chance below it, or above 1 minus it, are left out: they bound what can be bet.

    References
    ----------
    I. Waudby-Smith, L. Wu, A. Ramdas, N. Karampatziakis, P. Mineiro, Anytime-valid off-policy inference for
    contextual bandits, 2024, arXiv 2210.10768 (inverse probability weights); betting as in `PositiveMean`.
    """

    def __init__(self, cap: float, margin: float, least_share: float = 0.05) -> None:
        if not cap > 0 or not margin > 0 or not 0 < least_share <= 0.5:
            raise UsageError(
                "expected a cap and a margin above 0 and a least share from 0 to 0.5; found"
                f" {cap}, {margin} and {least_share}"
            )
        self.cap, self.margin, self.least_share = float(cap), float(margin), float(least_share)
        bound = self.cap / self.least_share
        self._worse = PositiveMean(bound)
        self._within = PositiveMean(bound + self.margin)
        self._sums, self._counts = [0.0, 0.0], [0, 0]
        self._total = 0.0

    @property
    def harm(self) -> Mixture:
        """The e-process against "no larger mean than before"."""
        return self._worse.mixture

    @property
    def safe(self) -> Mixture:
        """The e-process against "a mean that is larger by the margin or more"."""
        return self._within.mixture

    @property
    def estimate(self) -> float:
        """Difference of the capped means, canary minus stable; NaN while an arm has none."""
        if not all(self._counts):
            return float("nan")
        return self._sums[1] / self._counts[1] - self._sums[0] / self._counts[0]

    def update(self, outcome: FloatArray, in_canary: BoolArray, share: FloatArray) -> None:
        """Take a block of outcomes in the order in which they became known, shapes (n,)."""
        y = np.clip(np.atleast_1d(np.asarray(outcome, dtype=np.float64)), 0.0, self.cap)
        arm = np.atleast_1d(np.asarray(in_canary, dtype=np.bool_))
        w = np.broadcast_to(np.asarray(share, dtype=np.float64), arm.shape)
        inside = (w >= self.least_share) & (w <= 1 - self.least_share)
        y, arm, w = y[inside], arm[inside], w[inside]
        if not len(y):
            return
        totals = np.cumsum(np.append(self._total, y))
        counts = sum(self._counts) + np.arange(len(y))
        middle = np.where(counts > 0, totals[:-1] / np.maximum(counts, 1), self.cap / 2)
        difference = (y - middle) * np.where(arm, 1 / w, -1 / (1 - w))
        self._worse.update(difference)
        self._within.update(self.margin - difference)
        self._total = float(totals[-1])
        for side in (0, 1):
            mine = y[arm == bool(side)]
            self._sums[side] += float(mine.sum())
            self._counts[side] += len(mine)
