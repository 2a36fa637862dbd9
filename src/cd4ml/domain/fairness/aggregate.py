"""One number over all groups of a column, from the values of the groups: how far apart are the extremes?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.measure import divide

__all__ = ["equalized_odds_difference", "equalized_odds_ratio", "group_difference", "group_ratio"]

Combine = Literal["worst_case", "mean"]


def group_difference(values: npt.ArrayLike, overall: npt.ArrayLike | None = None) -> FloatArray:
    """Return the largest difference between groups, or from the overall value if it is given.

    max - min over groups, or max |value - overall|; never negative, 0 means that all are equal. Of selection
    rates it is Fairlearn's demographic_parity_difference, of true positive rates
    equal_opportunity_difference.

    Parameters
    ----------
    values : array of shape (..., groups)
        Undefined (NaN) groups are left out.
    overall : array of shape (...,), optional
        The value of all rows together.

    Returns
    -------
    array of shape (...,)
        NaN where no group has a value.

    References
    ----------
    .. [1] Fairlearn, MetricFrame.difference, methods `between_groups` and `to_overall`.
    """
    found = np.asarray(values, dtype=np.float64)
    if overall is None:
        low, high = _extremes(found)
        return high - low
    return _extremes(np.abs(found - np.asarray(overall, dtype=np.float64)[..., None]))[1]


def group_ratio(values: npt.ArrayLike, overall: npt.ArrayLike | None = None) -> FloatArray:
    """Return the smallest ratio between groups, or to the overall value if it is given.

    min / max over groups, or the least of value / overall and overall / value; in [0, 1] for values of at
    least 0. 1 means that all are equal, 0 that a group has none. Of selection rates it is Fairlearn's
    demographic_parity_ratio and what the four-fifths rule limits to 0.8.

    Parameters
    ----------
    values : array of shape (..., groups)
        Undefined (NaN) groups are left out.
    overall : array of shape (...,), optional
        The value of all rows together.

    Returns
    -------
    array of shape (...,)
        NaN where no group has a value or the largest is 0.

    References
    ----------
    .. [1] Fairlearn, MetricFrame.ratio, methods `between_groups` and `to_overall`.
    .. [2] US Equal Employment Opportunity Commission, 1978, 29 CFR 1607.4 D.
    """
    found = np.asarray(values, dtype=np.float64)
    if overall is None:
        low, high = _extremes(found)
        return divide(low, high)
    ratio = divide(found, np.asarray(overall, dtype=np.float64)[..., None])
    inverse = np.where(ratio > 1, divide(1.0, ratio), ratio)
    return _extremes(inverse)[0]


def equalized_odds_difference(
    true_positive_rates: npt.ArrayLike, false_positive_rates: npt.ArrayLike, combine: Combine = "worst_case"
) -> FloatArray:
    """Return the larger (or mean) of the two rates' differences between groups; 0 means equalised odds.

    References: Hardt, Price, Srebro, 2016; Fairlearn, equalized_odds_difference.
    """
    both = np.stack([group_difference(true_positive_rates), group_difference(false_positive_rates)])
    return np.asarray(both.max(axis=0) if combine == "worst_case" else both.mean(axis=0))


def equalized_odds_ratio(
    true_positive_rates: npt.ArrayLike, false_positive_rates: npt.ArrayLike, combine: Combine = "worst_case"
) -> FloatArray:
    """Return the smaller (or mean) of the two rates' ratios between groups; 1 means equalised odds.

    References: Hardt, Price, Srebro, 2016; Fairlearn, equalized_odds_ratio.
    """
    both = np.stack([group_ratio(true_positive_rates), group_ratio(false_positive_rates)])
    return np.asarray(both.min(axis=0) if combine == "worst_case" else both.mean(axis=0))


def _extremes(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    missing = np.isnan(values)
    low = np.where(missing, np.inf, values).min(axis=-1)
    high = np.where(missing, -np.inf, values).max(axis=-1)
    none = missing.all(axis=-1)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)
