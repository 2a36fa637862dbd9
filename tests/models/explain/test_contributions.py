"""Base and contributions give the model's own raw prediction, for each family and loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cd4ml.errors import UsageError
from cd4ml.models.explain.contributions import (
    affordable_rows,
    contribute,
    raw_prediction,
    raw_scale,
)
from cd4ml.models.fit import fit
from tests.models.samples import Rows, candidate, make_problem, make_rows

INVERSES = {
    "log-odds": lambda raw: 1 / (1 + np.exp(-raw)),
    "probability": lambda raw: raw,
    "log": np.exp,
    "log(1 + value)": np.expm1,
    "value": lambda raw: raw,
}


def fitted(rows: Rows, task: str, family: str, loss: str | None = None, log1p: bool = True):
    target = {"column": "sold"} | ({"transform": "log1p", "min": 0} if log1p else {})
    problem = make_problem(task, **({} if task == "classification" else {"target": target}))
    chosen = rows.role == 0
    options = {"loss": loss} if loss else {}
    given = rows.X[chosen], rows.y[chosen], rows.weight[chosen]
    return fit(problem, candidate(family, **options), {}, *given, 1)


@pytest.mark.parametrize(
    ("task", "family", "loss", "log1p", "scale"),
    [
        ("classification", "gradient_boosting", None, False, "log-odds"),
        ("classification", "random_forest", None, False, "probability"),
        ("classification", "logistic", None, False, "log-odds"),
        ("regression", "gradient_boosting", None, True, "log(1 + value)"),
        ("regression", "gradient_boosting", "poisson", False, "log"),
        ("regression", "gradient_boosting", "absolute_error", False, "value"),
        ("regression", "random_forest", None, False, "value"),
        ("regression", "ridge", None, True, "log(1 + value)"),
    ],
)
def test_base_and_contributions_are_the_raw_prediction(task, family, loss, log1p, scale):
    rows = make_rows(task)
    model = fitted(rows, task, family, loss, log1p)
    X = rows.X[rows.role == 1]
    found, raw = contribute(model, X), raw_prediction(model, X)
    assert found.values.shape == X.shape
    assert found.base + found.values.sum(axis=1) == pytest.approx(raw, abs=1e-9)
    assert raw_scale(model) == scale
    assert INVERSES[scale](raw) == pytest.approx(model.unclipped(X), rel=1e-6, abs=1e-9)
    shares = np.abs(found.values).mean(axis=0)
    assert shares[0] == shares.max() and shares[4] < shares[0] / 3


def test_the_base_is_the_mean_raw_prediction_of_the_training_rows(regression_rows):
    model = fitted(regression_rows, "regression", "gradient_boosting")
    train = regression_rows.X[regression_rows.role == 0]
    assert contribute(model, train[:2]).base == pytest.approx(raw_prediction(model, train).mean(), abs=1e-9)


def test_a_linear_model_gives_nothing_at_the_training_means(regression_rows):
    model = fitted(regression_rows, "regression", "ridge")
    means = model.estimator.named_steps["scale"].mean_.astype(np.float32)[None]
    assert contribute(model, means).values == pytest.approx(np.zeros((1, 5)), abs=1e-6)


def test_large_ensembles_explain_fewer_rows(regression_rows):
    small = fitted(regression_rows, "regression", "random_forest")
    assert affordable_rows(small, 5, 900) == 900
    assert 1000 < affordable_rows(small, 5, 10**9) < 10**9
    assert affordable_rows(fitted(regression_rows, "regression", "ridge"), 5, 10**6) == 10**6


def test_a_family_without_exact_contributions_is_refused(regression_rows):
    model = replace(fitted(regression_rows, "regression", "ridge"), estimator=object(), family="other")
    with pytest.raises(UsageError, match="found other"):
        contribute(model, regression_rows.X)
