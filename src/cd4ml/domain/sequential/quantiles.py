"""Confidence sequences of quantiles, for latencies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cd4ml.errors import UsageError

__all__ = ["quantile_interval"]


def quantile_interval(values: ArrayLike, level: float, alpha: float) -> tuple[float, float]:
    """Return an interval that contains the quantile at all times at once, with probability 1 - alpha.

    Parameters
    ----------
    values : array of shape (n,)
        All observations so far, in any unit, independent and of one distribution.
    level : float
        Which quantile, between 0 and 1: 0.99 is what one of a hundred exceeds.
    alpha : float
        Between 0 and 1.

    Returns
    -------
    low, high : float
        -inf and inf where n is too small to say.

    References
    ----------
    S. R. Howard, A. Ramdas, Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification, Bernoulli 28(3), 2022, arXiv 1906.09712, Theorem 1 with the stitched bound (4).
    """
    if not 0 < level < 1 or not 0 < alpha < 1:
        raise UsageError(f"expected level and alpha between 0 and 1; found {level} and {alpha}")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not n:
        return -np.inf, np.inf
    ell = (1.4 * np.log(np.log(2.1 * max(n, 2))) + np.log(10 / alpha)) / n
    width = 1.5 * np.sqrt(level * (1 - level) * ell) + 0.8 * ell
    low, high = np.floor(n * (level - width)), np.ceil(n * (level + width))
    return (
        float(ordered[int(low) - 1]) if low >= 1 else -np.inf,
        float(ordered[int(high)]) if high < n else np.inf,
    )
