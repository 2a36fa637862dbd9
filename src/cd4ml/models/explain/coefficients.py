"""Coefficients of linear models, with intervals that hold for clustered rows.

References
----------
.. [1] Liang, Zeger, 1986, Longitudinal Data Analysis Using Generalized Linear Models, Biometrika 73(1) (the
   sandwich of clustered scores).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cd4ml.domain.bootstrap import MAX_GROUPS
from cd4ml.models.data import FloatArray, IntArray, Matrix
from cd4ml.models.fit import Fitted

__all__ = ["coefficients"]

_MOST_ROWS = 400_000
_BLOCK_ROWS = 50_000


def coefficients(
    fitted: Fitted,
    names: tuple[str, ...],
    X: Matrix,
    y: FloatArray,
    *,
    weight: FloatArray,
    cluster: IntArray,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]] | None:
    """Return the coefficients of a linear model, the largest first; None for other families.

    Parameters
    ----------
    X, y, weight, cluster : arrays of n rows
        The training rows.

    Returns
    -------
    list of {"feature", "standardised", "low", "high", "per_unit", "mean", "scale"}
        `standardised` is the change of the raw prediction for one standard deviation, with its interval (of
        the penalised fit: shrinkage is not undone); `per_unit` for one unit. Above 400,000 rows there is no
        interval.
    """
    steps = getattr(fitted.estimator, "named_steps", {})
    if "scale" not in steps:
        return None
    scaler, slope = steps["scale"], np.ravel(steps["model"].coef_)
    half = _half_widths(fitted, X, y, weight, cluster, level, seed) if len(X) <= _MOST_ROWS else None
    found = [
        {
            "feature": name,
            "standardised": float(slope[i]),
            "low": None if half is None else float(slope[i] - half[i]),
            "high": None if half is None else float(slope[i] + half[i]),
            "per_unit": float(slope[i] / scaler.scale_[i]),
            "mean": float(scaler.mean_[i]),
            "scale": float(scaler.scale_[i]),
        }
        for i, name in enumerate(names)
    ]
    return sorted(found, key=lambda one: (-abs(one["standardised"]), one["feature"]))


def _half_widths(
    fitted: Fitted,
    X: Matrix,
    y: FloatArray,
    weight: FloatArray,
    cluster: IntArray,
    level: float,
    seed: int,
) -> FloatArray | None:
    """Return half the width of each interval, by the sandwich H^-1 (sum of g g') H^-1 over clusters.

    H is the second derivative of the penalised loss, g a cluster's sum of its first derivatives.
    """
    from scipy.special import stdtrit

    groups = _groups(cluster, seed)
    count, model = int(groups.max()) + 1, fitted.estimator.named_steps["model"]
    if count < 2:
        return None
    strength, penalty = (
        (float(model.C), 1.0) if fitted.task == "classification" else (1.0, float(model.alpha))
    )
    width = X.shape[1] + 1
    bend, scores = np.zeros((width, width)), np.zeros((count, width))
    for start in range(0, len(X), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        design, error, curvature = _derivatives(fitted, X[rows], y[rows])
        w = strength * np.asarray(weight[rows], dtype=np.float64)
        bend += design.T @ (design * (w * curvature)[:, None])
        np.add.at(scores, groups[rows], design * (w * error)[:, None])
    bend[np.arange(width - 1), np.arange(width - 1)] += penalty
    inverse = np.linalg.pinv(bend)
    variance = np.diag(inverse @ (scores.T @ scores) @ inverse) * count / (count - 1)
    quantile = -float(stdtrit(count - 1, (1 - level) / 2))
    return np.asarray(quantile * np.sqrt(np.maximum(variance[:-1], 0)))


def _groups(cluster: IntArray, seed: int) -> IntArray:
    """Return a group for each row: its cluster, or several joined at random where there are many."""
    codes = np.unique(cluster, return_inverse=True)[1].reshape(-1).astype(np.int64)
    count = int(codes.max()) + 1
    if count <= MAX_GROUPS:
        return codes
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count)
    return (order % MAX_GROUPS)[codes].astype(np.int64)


def _derivatives(fitted: Fitted, X: Matrix, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the standardised inputs with a 1 behind, and what loss and curvature are multiplied by."""
    steps = fitted.estimator.named_steps
    inputs = steps["scale"].transform(steps["impute"].transform(np.asarray(X, dtype=np.float64)))
    design = np.column_stack([inputs, np.ones(len(X))])
    model = steps["model"]
    raw = inputs @ np.ravel(model.coef_) + np.ravel(model.intercept_)[0]
    if fitted.task == "classification":
        chance = 1 / (1 + np.exp(-raw))
        return design, chance - y, chance * (1 - chance)
    target = np.log1p(np.maximum(y, 0)) if fitted.transform == "log1p" else y
    return design, raw - target, np.ones(len(X))
