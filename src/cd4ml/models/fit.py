"""Fitting, and predictions on the original scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import DataError, ProblemError
from cd4ml.models.data import FloatArray, Matrix
from cd4ml.models.families import MEDIAN, build, complete
from cd4ml.models.threads import fitting_threads, usable_cores, wait_asleep
from cd4ml.models.thresholds import floor_thresholds
from cd4ml.problem import Candidate, Problem

__all__ = ["LARGEST", "Fitted", "fit"]

LARGEST = float(np.finfo(np.float32).max)
"""No prediction is above: it is served as float32."""
_LINEAR = ("ridge", "logistic")
_BINNED_ROWS = 200_000  # of more, boosting draws so many by weight and takes its bins from them
_LEAST_KNOWN = 20


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator and what turns its output into a prediction.

    Attributes
    ----------
    estimator : scikit-learn estimator
        Its tree thresholds are float32 numbers.
    family, task, loss : str
    transform : {"none", "log1p"}
        The scale on which the estimator was fitted.
    minimum : float or None
        Predictions below are raised to this.
    quantile : float or None
        The quantile that is predicted; None is the mean or the probability.
    """

    estimator: Any
    family: str
    task: str
    loss: str
    transform: str = "none"
    minimum: float | None = None
    quantile: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def unclipped(self, X: Matrix) -> FloatArray:
        """Return predictions on the original scale before they are raised to the minimum, shape (n,)."""
        inputs = _as_fitted(self.family, X)
        with fitting_threads(_most_threads(self.family)):
            if self.task == "classification":
                return np.asarray(self.estimator.predict_proba(inputs)[:, 1], dtype=np.float64)
            raw = np.asarray(self.estimator.predict(inputs), dtype=np.float64)
        with np.errstate(over="ignore"):  # cut to LARGEST by `predict`
            return np.expm1(raw) if self.transform == "log1p" else raw

    def predict(self, X: Matrix) -> FloatArray:
        """Return predictions on the original scale, or probabilities of the positive class, shape (n,)."""
        return np.clip(self.unclipped(X), self.lowest, LARGEST)

    @property
    def lowest(self) -> float:
        """The smallest prediction there can be."""
        return -LARGEST if self.minimum is None else self.minimum

    def describe(self) -> dict[str, Any]:
        """Return all but the estimator, for lineage; `persist.load_estimator` reads it."""
        return {
            "family": self.family,
            "task": self.task,
            "loss": self.loss,
            "transform": self.transform,
            "minimum": self.minimum,
            "quantile": self.quantile,
            "parameters": dict(self.parameters),
            "seed": self.seed,
        }


def fit(
    problem: Problem,
    candidate: Candidate,
    parameters: Mapping[str, Any],
    X: Matrix,
    y: FloatArray,
    weight: FloatArray,
    seed: int,
    quantile: float | None = None,
) -> Fitted:
    """Fit one candidate with one set of parameters.

    Parameters
    ----------
    X : float32 array of shape (n, k)
        NaN is no value: boosting learns a side for it, the others take the training median.
    y : array of shape (n,)
        On the original scale; with `target.transform: log1p` the fit is on log1p(max(y, 0)).
    weight : array of shape (n,)
        Not negative.
    quantile : float, optional
        Predict this quantile.

    Raises
    ------
    DataError
        If there are no rows, one class alone, or the estimator refuses them; the message names the candidate.
    ProblemError
        If a parameter is unknown or out of its range.
    """
    _check_rows(problem, candidate, X, y)
    wait_asleep()
    if quantile is None and candidate.loss == "quantile":
        quantile = MEDIAN
    estimator = build(candidate, problem.task, parameters, seed, quantile)
    log1p = problem.target.transform == "log1p"
    target = np.log1p(np.maximum(y, 0.0)) if log1p else np.asarray(y, dtype=np.float64)
    weights = (
        {"sample_weight": weight}
        if candidate.family == "gradient_boosting"
        else {"model__sample_weight": weight}
    )
    inputs = _as_fitted(candidate.family, X)
    if candidate.family == "gradient_boosting":
        inputs = _fill_empty(inputs, weight)
    _fit(estimator, candidate, inputs, target, weights)
    floor_thresholds(estimator)
    default = "log_loss" if problem.task == "classification" else "squared_error"
    return Fitted(
        estimator=estimator,
        family=candidate.family,
        task=problem.task,
        loss="quantile" if quantile is not None else candidate.loss or default,
        transform=problem.target.transform,
        minimum=problem.target.min if problem.task == "regression" else None,
        quantile=quantile,
        parameters=complete(candidate, parameters),
        seed=seed,
    )


def _check_rows(problem: Problem, candidate: Candidate, X: Matrix, y: FloatArray) -> None:
    if X.dtype != np.float32:
        raise DataError(f"features must be float32, as they are served; found {X.dtype}")
    if not len(X):
        raise DataError(f"candidate '{candidate.name}' needs rows to fit on; found none")
    if problem.task == "classification" and np.unique(y).size < 2:
        raise DataError(f"candidate '{candidate.name}' needs rows of both classes; found {y[0]:g} alone")


def _as_fitted(family: str, X: Matrix) -> npt.NDArray[np.floating[Any]]:
    """Return the features as the family takes them: linear models are solved, and exported, in double."""
    return X.astype(np.float64) if family in _LINEAR else X


def _fill_empty(X: npt.NDArray[np.floating[Any]], weight: FloatArray) -> npt.NDArray[np.floating[Any]]:
    """Return the features with 0 in columns without values, which boosting then never splits.

    scikit-learn 1.9 cannot bin a column of which no row that counts has a value, such as the lag of a year
    in the first fold; nor one so rare that the rows which it draws for the bins may all miss it.
    """
    total, sampled = float(weight.sum()), len(X) > _BINNED_ROWS
    known = np.array([weight[~np.isnan(X[:, index])].sum() for index in range(X.shape[1])])
    empty = known * _BINNED_ROWS < _LEAST_KNOWN * total if sampled else known <= 0
    if not empty.any():
        return X
    filled = X.copy()
    filled[:, empty] = 0
    return filled


def _most_threads(family: str) -> int | None:
    """Return the most threads: BLAS adds up in another order, to other digits, when it has more."""
    return 1 if family in _LINEAR else None


def _fit(
    estimator: Any,
    candidate: Candidate,
    X: npt.NDArray[np.floating[Any]],
    target: FloatArray,
    weights: Mapping[str, FloatArray],
) -> None:
    from sklearn.utils._param_validation import InvalidParameterError

    if candidate.family == "random_forest":
        estimator.set_params(model__n_jobs=usable_cores())
    try:
        with fitting_threads(_most_threads(candidate.family)):
            estimator.fit(X, target, **weights)
    except ValueError as error:
        line = " ".join(str(error).split())
        if isinstance(error, InvalidParameterError):
            raise ProblemError(line, ("candidates", candidate.name)) from error
        raise DataError(
            f"candidate '{candidate.name}' ({candidate.family}) cannot be fitted: {line}"
        ) from error
    # The number of cores is no part of the model.
    if candidate.family == "random_forest":
        estimator.set_params(model__n_jobs=None)
    if candidate.family == "gradient_boosting":
        estimator._bin_mapper.n_threads = 1  # used while fitting alone
