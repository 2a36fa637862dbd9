"""Two models answer the same request: is the shadow's loss larger, and is it certainly not much larger."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.bounded_mean import PositiveMean
from cd4ml.domain.sequential.mixture import Mixture
from cd4ml.errors import UsageError

__all__ = ["PairedLoss"]

FloatArray = NDArray[np.float64]


class PairedLoss:
    """Compares losses (squared or absolute errors, log losses) of shadow and stable on the same requests.

    `harm` tests E[shadow - stable] <= 0; `safe` tests E[shadow] >= (1 + margin) E[stable], by the mean of
    (1 + margin) stable - shadow. Both models meet the same difficulty in each request, which cancels: about
    thirty times fewer labels are needed than for two separate arms.

    Pairs come in the order in which their labels became known. Where several pairs share a shock (rows of one
    day), give the means of each day instead of its rows.

    Parameters
    ----------
    margin : float
        Share of the stable version's mean loss, above 0: 0.02 is 2 % more.

    References
    ----------
    As `PositiveMean`.
    """

    def __init__(self, margin: float) -> None:
        if not margin > 0:
            raise UsageError(f"expected a margin above 0, e.g. 0.02 for 2 % more loss; found {margin}")
        self.margin = float(margin)
        self._worse, self._within = PositiveMean(), PositiveMean()
        self._stable = self._shadow = 0.0

    @property
    def harm(self) -> Mixture:
        """The e-process against "no more loss than before"."""
        return self._worse.mixture

    @property
    def safe(self) -> Mixture:
        """The e-process against "more loss by the margin or beyond it"."""
        return self._within.mixture

    @property
    def pairs(self) -> int:
        """How many pairs were taken."""
        return self._worse.count

    @property
    def estimate(self) -> float:
        """Mean loss of the shadow divided by that of the stable version; NaN where that is 0."""
        return self._shadow / self._stable if self._stable > 0 else float("nan")

    def update(self, stable: FloatArray, shadow: FloatArray) -> None:
        """Take the losses of a block of pairs, each of shape (n,), none below 0.

        Raises
        ------
        UsageError
            If the two have different lengths, or a loss is negative or not finite.
        """
        old, new = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (stable, shadow))
        if old.shape != new.shape or (old < 0).any() or (new < 0).any():
            raise UsageError(f"expected losses of 0 or more in pairs; found {old.shape} and {new.shape}")
        self._worse.update(new - old)
        self._within.update((1 + self.margin) * old - new)
        self._stable = float(np.cumsum(np.append(self._stable, old))[-1])
        self._shadow = float(np.cumsum(np.append(self._shadow, new))[-1])
