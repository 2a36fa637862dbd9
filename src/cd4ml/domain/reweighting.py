"""Weights of groups while fitting: reweighing, and the rounds of bounded group loss.

References
----------
.. [1] Kamiran, Calders, 2012, Data preprocessing techniques for classification without discrimination
   (reweighing).
.. [2] Agarwal, Dudik, Wu, 2019, Fair Regression: Quantitative Definitions and Reduction-Based Algorithms
   (bounded group loss).
"""

from __future__ import annotations

import numpy as np

from cd4ml.domain.treatment import FloatArray, IntArray

__all__ = ["MOST_EXTRA_WEIGHT", "group_losses", "raise_weights", "reweigh"]

STEP = 4.0
"""A group whose loss is a quarter above the bound counts once more in the next round."""
MOST_EXTRA_WEIGHT = 20.0


def reweigh(
    groups: IntArray, y: FloatArray, count: int, weight: FloatArray
) -> tuple[tuple[float, float], ...]:
    """Return the factor of a row's weight for each group and label 0 or 1.

    P(group) P(label) / P(group, label): with these weights group and label are independent in the training
    rows. Above 1 for a label that is rarer in the group than it would be; 1 where there are no rows.

    Parameters
    ----------
    groups : int array of shape (n,)
        From 0 to `count` - 1.
    y : array of shape (n,)
        0 or 1.
    weight : array of shape (n,)
        What rows weigh before.
    """
    label = np.asarray(y).astype(np.int64)
    joint = np.bincount(groups * 2 + label, weights=weight, minlength=2 * count).reshape(count, 2)
    expected = np.outer(joint.sum(axis=1), joint.sum(axis=0)) / joint.sum()
    factors = np.divide(expected, joint, out=np.ones_like(joint), where=joint > 0)
    return tuple((float(low), float(high)) for low, high in factors)


def group_losses(loss: FloatArray, groups: IntArray, count: int, weight: FloatArray) -> FloatArray:
    """Return the weighted mean loss of each group, of shape (count,); NaN without rows."""
    total = np.bincount(groups, weights=weight, minlength=count)
    sums = np.bincount(groups, weights=loss * weight, minlength=count)
    return np.asarray(np.divide(sums, total, out=np.full(count, np.nan), where=total > 0))


def raise_weights(factors: FloatArray, losses: FloatArray, bound: float) -> FloatArray:
    """Return the factors of the next round of bounded group loss, of shape (groups,).

    The problem is min loss subject to loss_g <= bound for each group g. Its Lagrangian is a weighted loss in
    which a row of group g counts 1 + lambda_g / P(g) times; the multipliers go up where the bound is broken
    and down, not below 0, where it is kept (projected dual ascent, here in steps of lambda_g / P(g), so that
    small groups move as fast as large ones). Agarwal et al. draw one of the rounds' models by chance for each
    prediction; here the best round is kept, so that people alike are treated alike.

    Parameters
    ----------
    factors : array of shape (groups,)
        Of the last round; all 1 at first.
    losses : array of shape (groups,)
        What the last round came to; NaN leaves a factor as it is.
    """
    step = np.nan_to_num(STEP * (losses / bound - 1), nan=0.0)
    return np.asarray(np.clip(factors + step, 1.0, 1 + MOST_EXTRA_WEIGHT))
