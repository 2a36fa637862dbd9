"""Coefficients and their intervals: those of the textbook, and they cover under clustered noise."""

import numpy as np
import pytest

from cd4ml.models.explain.coefficients import coefficients
from cd4ml.models.fit import fit
from tests.models.samples import NAMES, candidate, make_problem

PLAIN = {"target": {"column": "sold"}}


def fitted(X, y, weight, family="ridge", **parameters):
    task = "classification" if family == "logistic" else "regression"
    problem = make_problem(task, **(PLAIN if task == "regression" else {}))
    return fit(problem, candidate(family), parameters, X, y, weight, 1)


def test_intervals_are_those_of_clustered_least_squares_by_hand():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 2)).astype(np.float32)
    cluster = np.repeat(np.arange(30), 10)
    y = 3 * X[:, 0] - X[:, 1] + rng.normal(size=30)[cluster] + rng.normal(size=300)
    weight = rng.uniform(0.5, 2, 300)
    model = fitted(X, y, weight, alpha=1e-9)
    found = coefficients(model, ("a", "b"), X, y, weight=weight, cluster=cluster)
    Z = np.column_stack([(X - X.mean(0)) / X.std(0), np.ones(300)]).astype(float)
    bread = np.linalg.inv(Z.T @ (Z * weight[:, None]))
    slope = bread @ Z.T @ (weight * y)
    score = Z * (weight * (y - Z @ slope))[:, None]
    sums = np.array([score[cluster == c].sum(axis=0) for c in range(30)])
    width = 2.04523 * np.sqrt(
        np.diag(bread @ sums.T @ sums @ bread) * 30 / 29
    )  # t with 29 degrees of freedom
    assert [one["feature"] for one in found] == ["a", "b"]
    for index, one in enumerate(found):
        assert one["standardised"] == pytest.approx(slope[index], rel=1e-5)
        assert one["high"] - one["standardised"] == pytest.approx(width[index], rel=1e-4)
        assert one["standardised"] - one["low"] == pytest.approx(width[index], rel=1e-4)
        assert one["per_unit"] * one["scale"] == pytest.approx(one["standardised"])
    assert found[0]["per_unit"] == pytest.approx(3, abs=0.3)


def test_intervals_of_a_logistic_model_cover_the_truth():
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(60):
        X = rng.normal(size=(400, 1)).astype(np.float32)
        y = (rng.random(400) < 1 / (1 + np.exp(-0.8 * X[:, 0]))).astype(float)
        model = fitted(X, y, np.ones(400), "logistic", C=1000.0)
        (one,) = coefficients(model, ("x",), X, y, weight=np.ones(400), cluster=np.arange(400))
        inside += one["low"] / one["scale"] <= 0.8 <= one["high"] / one["scale"]
    assert 52 <= inside <= 60


def test_many_clusters_are_joined_and_one_has_no_interval(regression_rows):
    rows = regression_rows
    X, y, weight = np.tile(rows.X, (3, 1)), np.tile(rows.y, 3), np.tile(rows.weight, 3)
    model = fitted(X, y, weight)
    alone = coefficients(model, NAMES, X, y, weight=weight, cluster=np.arange(len(y)))
    assert all(one["low"] < one["standardised"] < one["high"] for one in alone)
    without = coefficients(model, NAMES, X, y, weight=weight, cluster=np.zeros(len(y), int))
    assert all(one["low"] is one["high"] is None for one in without)
    assert [one["feature"] for one in without] == [one["feature"] for one in alone]


def test_trees_have_no_coefficients(regression_rows):
    rows = regression_rows
    model = fitted(rows.X, rows.y, rows.weight, "gradient_boosting")
    assert coefficients(model, NAMES, rows.X, rows.y, weight=rows.weight, cluster=rows.cluster) is None
