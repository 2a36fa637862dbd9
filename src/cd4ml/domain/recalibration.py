"""Curves that put a group's predictions right.

References
----------
.. [1] Platt, 1999, Probabilistic Outputs for Support Vector Machines (an affine map of the logit).
.. [2] Zadrozny, Elkan, 2002, Transforming Classifier Scores into Accurate Multiclass Probability Estimates
   (isotonic regression).
.. [3] Niculescu-Mizil, Caruana, 2005, Predicting Good Probabilities with Supervised Learning (isotonic
   regression is the better one from about 1000 rows on).
"""

from __future__ import annotations

import numpy as np

from cd4ml.domain.treatment import Curve, FloatArray, IntArray, Scale, to_scale

__all__ = ["ISOTONIC_ROWS", "fit_curve", "fit_curves"]

ISOTONIC_ROWS = 1000
"""Rows, and a tenth of it of the rarer label, from which curves of probabilities are isotonic."""
_NEWTON_STEPS = 50
_CONVERGED = 1e-10
_PRIOR = 1.0  # pulls an affine map to the identity as strongly as a few rows do


def fit_curves(
    predictions: FloatArray, y: FloatArray, groups: IntArray, count: int, scale: Scale
) -> tuple[Curve, ...]:
    """Return the curve of each group; one without rows gets that of all rows.

    Parameters
    ----------
    predictions, y : arrays of shape (n,)
        Of rows that the model was not fitted on.
    groups : int array of shape (n,)
        From 0 to `count` - 1.
    scale : str
        `logit` for probabilities; else that on which the model was fitted.
    """
    everybody = fit_curve(predictions, y, scale)
    found = []
    for group in range(count):
        rows = groups == group
        found.append(fit_curve(predictions[rows], y[rows], scale) if rows.any() else everybody)
    return tuple(found)


def fit_curve(predictions: FloatArray, y: FloatArray, scale: Scale) -> Curve:
    """Return the curve for the predictions of one group, arrays of shape (n,).

    Probabilities: isotonic where rows are many, else an affine map of the logit. Numbers: the line of least
    squares on the scale. One label alone, one prediction alone or a falling line move the level only.
    """
    if not len(y):
        return Curve(scale=scale)
    if scale != "logit":
        return _line(to_scale(predictions, scale), to_scale(y, scale), scale)
    rarer = min(float(y.sum()), float((1 - y).sum()))
    if len(y) >= ISOTONIC_ROWS and rarer >= ISOTONIC_ROWS / 10:
        return _isotonic(predictions, y)
    return _platt(to_scale(predictions, "logit"), y)


def _line(x: FloatArray, y: FloatArray, scale: Scale) -> Curve:
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ (y - y.mean())) / spread if spread > 0 else 1.0
    slope = slope if slope > 0 else 1.0
    return Curve(slope=slope, intercept=float(y.mean() - slope * x.mean()), scale=scale)


def _isotonic(p: FloatArray, y: FloatArray) -> Curve:
    """Pool adjacent violators, and lines between the middles of the pools."""
    from scipy.optimize import isotonic_regression

    values, place = np.unique(p, return_inverse=True)
    rows = np.bincount(place).astype(np.float64)
    level = isotonic_regression(np.bincount(place, weights=y) / rows, weights=rows).x
    pool = np.concatenate([[0], np.cumsum(np.diff(level) > 0)])
    size = np.bincount(pool, weights=rows)
    x = np.bincount(pool, weights=rows * values) / size
    # No pool, however pure, makes anybody certain.
    certain = 0.5 / len(y)
    height = np.clip(np.bincount(pool, weights=rows * level) / size, certain, 1 - certain)
    return Curve(x=tuple(x.tolist()), y=tuple(np.maximum.accumulate(height).tolist()))


def _platt(x: FloatArray, y: FloatArray) -> Curve:
    """Logistic regression of the label on the logit, with a weak prior around the identity."""
    free = np.array([1.0, 1.0]) if x.std() > 0 else np.array([0.0, 1.0])
    found = _newton(x, y, free)
    if found[0] < 0:
        found = _newton(x, y, np.array([0.0, 1.0]))
    return Curve(slope=float(found[0]), intercept=float(found[1]), scale="logit")


def _newton(x: FloatArray, y: FloatArray, free: FloatArray) -> FloatArray:
    """Return (slope, intercept) of the least loss; what is not free stays at its place in the identity."""
    identity = np.array([1.0, 0.0])
    design = np.column_stack([x, np.ones_like(x)])

    def loss(at: FloatArray) -> float:
        z = design @ at
        return float((np.logaddexp(0.0, z) - y * z).sum() + _PRIOR / 2 * ((at - identity) ** 2).sum())

    found = identity
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = (design.T @ (p - y) + _PRIOR * (found - identity)) * free
        curvature = (design * (p * (1 - p))[:, None]).T @ design + _PRIOR * np.eye(2)
        curvature = curvature * np.outer(free, free) + np.diag(1 - free)
        step, before = np.linalg.solve(curvature, slope), loss(found)
        # A whole step may go too far where the start is far off; as the loss is convex, a part does not.
        while np.abs(step).max() > _CONVERGED and loss(found - step) > before:
            step = step / 2
        found = found - step
        if np.abs(step).max() <= _CONVERGED:
            break
    return np.asarray(found)
