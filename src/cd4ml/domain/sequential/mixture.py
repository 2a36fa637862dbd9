"""Mixtures of martingales: the wealth of a gambler who splits it over several bets and never moves it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mixture", "log_threshold", "normalised"]

FloatArray = NDArray[np.float64]


def log_threshold(alpha: float) -> float:
    """Return log(1/alpha): where an e-process rejects at level `alpha`, between 0 and 1."""
    return float(-np.log(alpha))


def normalised(weights: Sequence[float]) -> FloatArray:
    """Return weights as shares that add up to 1."""
    found = np.asarray(weights, dtype=np.float64)
    share: FloatArray = found / found.sum()
    return share


class Mixture:
    """An e-process: the weighted mean of martingales, each fed with its own increments.

    The mean of martingales is one, and by Ville's inequality its maximum over all times exceeds 1/alpha with
    probability at most alpha. `peak` keeps that maximum, so that what is decided does not depend on how
    observations are cut into blocks.

    Parameters
    ----------
    weights : sequence of float
        Prior shares of the martingales, shape (k,).

    Attributes
    ----------
    log_wealth : float64 array of shape (k,)
        Logarithm of each martingale.
    count : int
        Increments so far.
    log_peak : float
        Largest log of the mixture so far; 0 before the first increment.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._log_weights = np.log(normalised(weights))
        self.log_wealth: FloatArray = np.zeros(len(weights))
        self.log_peak = 0.0
        self.count = 0

    @property
    def log_value(self) -> float:
        """Logarithm of the mixture now; 0 at the beginning."""
        return float(np.logaddexp.reduce(self.log_wealth + self._log_weights))

    def update(self, increments: FloatArray) -> None:
        """Add the log increments of a block of observations, shape (n, k); (k,) is one observation."""
        steps = np.atleast_2d(np.asarray(increments, dtype=np.float64))
        if not steps.size:
            return
        # cumsum adds one after another, as single updates do, so that blocks give the same bits.
        path = np.cumsum(np.vstack([self.log_wealth, steps]), axis=0)[1:]
        values = np.logaddexp.reduce(path + self._log_weights, axis=1)
        self.log_peak = max(self.log_peak, float(values.max()))
        self.log_wealth = path[-1]
        self.count += len(steps)

    def first_crossing(self, increments: FloatArray, log_limit: float) -> int | None:
        """Return the index in the block at which the mixture first reaches a limit; None if it does not.

        The mixture itself is left as it is.
        """
        path = np.cumsum(np.vstack([self.log_wealth, np.atleast_2d(increments)]), axis=0)[1:]
        reached = np.logaddexp.reduce(path + self._log_weights, axis=1) >= log_limit
        return int(reached.argmax()) if reached.any() else None
