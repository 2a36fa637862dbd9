"""Many comparisons at once: p-values adjusted so that chance alone blocks or warns no more than agreed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["benjamini_hochberg", "holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given.

    To reject those below alpha keeps the probability of even one false rejection at alpha or less, however
    the comparisons depend on each other.

    References
    ----------
    .. [1] Holm, 1979, A simple sequentially rejective multiple test procedure.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    adjusted = np.empty(len(p_values))
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's step-up adjusted p-values, in the order given.

    To warn of those below alpha keeps the expected share of false warnings among all warnings at alpha or
    less, for comparisons that are independent or depend positively on each other.

    References
    ----------
    .. [1] Benjamini, Hochberg, 1995, Controlling the False Discovery Rate.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")[::-1]
    factors = count / np.arange(count, 0, -1)
    stepped = np.minimum(np.minimum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    adjusted = np.empty(count)
    adjusted[order] = stepped
    return [float(value) for value in adjusted]
