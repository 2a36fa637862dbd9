"""Bets on a mean: is it above zero, or above a limit, whatever the distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cd4ml.domain.sequential.mixture import Mixture
from cd4ml.errors import UsageError

__all__ = ["PositiveMean"]

FloatArray = NDArray[np.float64]

_BETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the wealth that are put on each observation; small effects are best found by small bets."""
_WEIGHTS = (1.0, 1.5, 2.0, 2.0, 1.5, 1.0, 0.5)
_CLIP_SCALES = 4.0
_WARM_UP = 30


class PositiveMean:
    """Tests "the mean is at most 0" of observations that have no known bounds.

    Observations are divided by `clip_scales` times their root mean square so far, and what lies beyond -1 and
    1 is set there. The wealth is multiplied by 1 + bet * x, for several bets at once. Each is a
    supermartingale while the mean of the clipped observations is at most 0.

    - Observations that are symmetric about 0, such as loss differences of two models that are equally
      good and exchangeable, keep a mean of 0 when they are clipped: exact.
    - Otherwise the clipped mean is what is tested. Where it differs in sign from the mean, a few extreme rows
      decide the mean; they are shown apart and are no ground for an automatic decision.

    The first `warm_up` observations only tell the scale.

    Parameters
    ----------
    bound : float, optional
        Known largest absolute value; nothing is scaled or clipped then, and the test is exact for any
        distribution.

    References
    ----------
    I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting, JRSS B 86(1), 2024,
    arXiv 2010.09686.
    """

    def __init__(self, bound: float | None = None) -> None:
        if bound is not None and not bound > 0:
            raise UsageError(f"expected a bound above 0; found {bound}")
        self.bound = bound
        self.mixture = Mixture(_WEIGHTS)
        self.count = 0
        self._squares = 0.0
        self._sum = 0.0

    @property
    def mean(self) -> float:
        """Mean of all observations as they came; NaN before the first."""
        return self._sum / self.count if self.count else float("nan")

    @property
    def scale(self) -> float:
        """Root mean square; NaN before the first."""
        return float(np.sqrt(self._squares / self.count)) if self.count else float("nan")

    def update(self, values: FloatArray) -> None:
        """Take a block of observations, shape (n,), in the order in which they became known.

        Raises
        ------
        UsageError
            If one is not finite or exceeds the bound.
        """
        found = np.atleast_1d(np.asarray(values, dtype=np.float64))
        if not np.isfinite(found).all():
            raise UsageError("expected finite observations; leave out those that are missing and count them")
        if self.bound is not None and (np.abs(found) > self.bound).any():
            raise UsageError(
                f"expected observations of at most {self.bound:g}; found {np.abs(found).max():g}"
            )
        if not len(found):
            return
        # cumsum adds one after another: a block has the same bits as single updates.
        squares = np.cumsum(np.append(self._squares, found**2))
        counts = self.count + np.arange(len(found))
        known = self._scales(squares[:-1], counts)
        usable = known > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(usable, np.clip(found / np.where(usable, known, 1.0), -1.0, 1.0), 0.0)
        self.mixture.update(np.log1p(x[:, None] * np.asarray(_BETS)))
        self._squares = float(squares[-1])
        self._sum = float(np.cumsum(np.append(self._sum, found))[-1])
        self.count += len(found)

    def _scales(self, squares: FloatArray, counts: NDArray[np.int64]) -> FloatArray:
        """Return by what each observation is divided, known before it came; 0 where nothing is bet yet."""
        if self.bound is not None:
            return np.full(len(counts), float(self.bound))
        ready = counts >= _WARM_UP
        scale: FloatArray = _CLIP_SCALES * np.sqrt(squares / np.maximum(counts, 1))
        return np.where(ready, scale, 0.0)
