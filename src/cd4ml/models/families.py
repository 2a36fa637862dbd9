"""Families of models: their estimators, parameters and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cd4ml.errors import ProblemError, UsageError, nearest
from cd4ml.problem import Candidate

__all__ = ["FAMILIES", "MEDIAN", "build", "complete", "simplicity"]

MEDIAN = 0.5
"""What `loss: quantile` predicts where no other quantile is asked."""

_BOOSTING: dict[str, Any] = {
    "learning_rate": 0.1,
    "max_iter": 200,
    "max_leaf_nodes": 31,
    "max_depth": None,
    "min_samples_leaf": 20,
    "l2_regularization": 0.0,
    "max_features": 1.0,
    "max_bins": 255,
    "early_stopping": False,
    "validation_fraction": 0.1,
    "n_iter_no_change": 10,
    "tol": 1e-7,
    "monotonic_cst": None,
    "interaction_cst": None,
}
_FOREST: dict[str, Any] = {
    "n_estimators": 100,
    "max_depth": None,
    "max_leaf_nodes": None,
    "min_samples_leaf": 5,
    "min_samples_split": 2,
    "max_features": 0.33,
    "max_samples": None,
    "bootstrap": True,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "ridge": {"alpha": 1.0},
    "logistic": {"C": 1.0, "max_iter": 500, "tol": 1e-6},
    "random_forest": _FOREST,
    "gradient_boosting": _BOOSTING,
}
"""Family -> parameter -> default, from the simplest family to the least simple."""

_INTEGERS = frozenset(
    {
        "max_iter",
        "max_leaf_nodes",
        "max_depth",
        "min_samples_leaf",
        "min_samples_split",
        "max_bins",
        "n_iter_no_change",
        "n_estimators",
    }
)


def simplicity(family: str) -> int:
    """Return the place of a family among the simple ones; 0 is the simplest."""
    return list(FAMILIES).index(family)


def complete(candidate: Candidate, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a fit: defaults, then the candidate's own, then the point of its search.

    Whole numbers that came back as floats, as they do through Kubeflow Pipelines, are integers again.

    Raises
    ------
    ProblemError
        If the family does not know a parameter; names the nearest.
    """
    known = FAMILIES[candidate.family]
    merged = {**known, **candidate.parameters, **parameters}
    for name in merged:
        if name not in known:
            raise ProblemError(
                f"'{name}' is not a parameter of {candidate.family}{nearest(name, known)}; it has "
                f"{', '.join(sorted(known))}",
                ("candidates", candidate.name, "parameters"),
            )
    return {name: _number(name, value) for name, value in merged.items()}


def _number(name: str, value: Any) -> Any:
    if name in _INTEGERS and isinstance(value, float):
        if not value.is_integer():
            raise UsageError(f"{name} must be a whole number; found {value}")
        return int(value)
    return value


def build(
    candidate: Candidate, task: str, parameters: Mapping[str, Any], seed: int, quantile: float | None = None
) -> Any:
    """Return an estimator that is not fitted yet.

    Parameters
    ----------
    candidate : Candidate
    task : {"regression", "classification"}
    parameters : mapping
        The point of the search; see `complete`.
    seed : int
        The same seed gives the same model, whatever the number of threads.
    quantile : float, optional
        Regression: predict this quantile in place of the mean; boosting alone can.

    Raises
    ------
    ProblemError
        If a parameter is not one of the family.
    UsageError
        If the family cannot have the loss.
    """
    values = complete(candidate, parameters)
    makers: dict[str, Callable[..., Any]] = {
        "gradient_boosting": _boosting,
        "random_forest": _forest,
        "ridge": _ridge,
        "logistic": _logistic,
    }
    if candidate.family != "gradient_boosting" and (
        quantile is not None or candidate.loss not in (None, _OWN_LOSS[candidate.family, task])
    ):
        raise UsageError(
            f"{candidate.family} has the loss {_OWN_LOSS[candidate.family, task]} alone; found "
            f"{candidate.loss or 'quantile'}. Use the family gradient_boosting"
        )
    return makers[candidate.family](candidate, task, values, seed, quantile)


_OWN_LOSS = {
    ("ridge", "regression"): "squared_error",
    ("random_forest", "regression"): "squared_error",
    ("random_forest", "classification"): "log_loss",
    ("logistic", "classification"): "log_loss",
}


def _boosting(
    candidate: Candidate, task: str, values: dict[str, Any], seed: int, quantile: float | None
) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    # Categories come as numbers: with `categorical_features` skl2onnx exports another model than was fitted.
    common = {**values, "random_state": seed, "categorical_features": None}
    if task == "classification":
        return HistGradientBoostingClassifier(**common)
    loss = "quantile" if quantile is not None else candidate.loss or "squared_error"
    if loss == "quantile":
        quantile = MEDIAN if quantile is None else quantile
    return HistGradientBoostingRegressor(**common, loss=loss, quantile=quantile)


def _imputer() -> Any:
    from sklearn.impute import SimpleImputer

    # A column that is empty in training stays (as 0): the exported model has the same inputs always.
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _forest(
    candidate: Candidate, task: str, values: dict[str, Any], seed: int, quantile: float | None
) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import Pipeline

    kind = RandomForestClassifier if task == "classification" else RandomForestRegressor
    return Pipeline([("impute", _imputer()), ("model", kind(**values, random_state=seed))])


def _linear(model: Any) -> Any:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("impute", _imputer()), ("scale", StandardScaler()), ("model", model)])


def _ridge(candidate: Candidate, task: str, values: dict[str, Any], seed: int, quantile: float | None) -> Any:
    from sklearn.linear_model import Ridge

    return _linear(Ridge(**values, solver="cholesky"))


def _logistic(
    candidate: Candidate, task: str, values: dict[str, Any], seed: int, quantile: float | None
) -> Any:
    from sklearn.linear_model import LogisticRegression

    return _linear(LogisticRegression(**values, solver="lbfgs", random_state=seed))
