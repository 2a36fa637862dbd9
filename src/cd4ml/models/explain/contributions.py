"""What each feature adds to each prediction: exact Shapley values for trees and linear models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cd4ml.errors import UsageError
from cd4ml.models.data import FloatArray, Matrix
from cd4ml.models.explain.tree_shap import shapley_values, work_per_row
from cd4ml.models.explain.trees import ensemble_of
from cd4ml.models.fit import Fitted
from cd4ml.models.threads import fitting_threads

__all__ = ["Contributions", "affordable_rows", "contribute", "raw_prediction", "raw_scale"]

_AFFORDABLE = 100_000_000  # numbers touched in about two seconds of one core
_LEAST_ROWS = 20


@dataclass(frozen=True)
class Contributions:
    """`base + values.sum(axis=1)` is the raw prediction.

    Attributes
    ----------
    base : float
        Raw prediction for nobody in particular: averaged over the training rows by the trees' own counts, or
        at the training means of a linear model.
    values : array of shape (n, k)
        0 where a feature changes nothing for a row.
    """

    base: float
    values: FloatArray


def contribute(fitted: Fitted, X: Matrix) -> Contributions:
    """Return the contributions of float32 features (n, k) to the raw predictions.

    Trees: Shapley values with the other features averaged along the tree's paths. Linear models: coefficient
    times the distance from the training mean, which is the Shapley value for independent features.

    Raises
    ------
    UsageError
        If the family has no exact contributions.
    """
    ensemble = ensemble_of(fitted)
    if ensemble is not None:
        return Contributions(*shapley_values(ensemble, X))
    steps = getattr(fitted.estimator, "named_steps", {})
    if "scale" not in steps:
        raise UsageError(f"expected a boosting, a forest or a linear model; found {fitted.family}")
    inputs = steps["scale"].transform(steps["impute"].transform(X.astype(np.float64)))
    model = steps["model"]
    return Contributions(float(np.ravel(model.intercept_)[0]), inputs * np.ravel(model.coef_))


def raw_prediction(fitted: Fitted, X: Matrix) -> FloatArray:
    """Return the predictions (n,) on the scale on which contributions add up; see `raw_scale`."""
    linear = fitted.family in ("ridge", "logistic")
    inputs = X.astype(np.float64) if linear else X
    with fitting_threads(1 if linear else None):
        if hasattr(fitted.estimator, "decision_function"):
            return np.asarray(fitted.estimator.decision_function(inputs), dtype=np.float64)
        if fitted.task == "classification":
            return np.asarray(fitted.estimator.predict_proba(inputs)[:, 1], dtype=np.float64)
        raw = np.asarray(fitted.estimator.predict(inputs), dtype=np.float64)
    return np.log(raw) if fitted.loss == "poisson" else raw


def raw_scale(fitted: Fitted) -> str:
    """Return the name of the scale: "log-odds", "probability", "log", "log(1 + value)" or "value"."""
    if fitted.task == "classification":
        return "probability" if fitted.family == "random_forest" else "log-odds"
    scale = "log(1 + value)" if fitted.transform == "log1p" else "value"
    if fitted.loss == "poisson":
        return "log" if scale == "value" else f"log of {scale}"
    return scale


def affordable_rows(fitted: Fitted, feature_count: int, wanted: int) -> int:
    """Return for how many rows, up to `wanted`, contributions take about two seconds; at least 20 rows."""
    ensemble = ensemble_of(fitted)
    if ensemble is None:
        return wanted
    work = max(1, work_per_row(ensemble, feature_count))
    return min(wanted, max(_LEAST_ROWS, _AFFORDABLE // work))
