"""A fit is on float32 and on the transform's scale; predictions are on the original one, within limits."""

import numpy as np
import pytest

from cd4ml.errors import DataError, ProblemError
from cd4ml.models.fit import LARGEST, fit
from tests.models.samples import candidate, make_problem

FAMILIES = ["gradient_boosting", "random_forest", "ridge"]


def fitted_on(rows, family="gradient_boosting", problem=None, quantile=None, **changes):
    task = "classification" if set(np.unique(rows.y)) <= {0.0, 1.0} else "regression"
    problem = problem or make_problem(task)
    return fit(problem, candidate(family, **changes), {}, rows.X, rows.y, rows.weight, 1, quantile)


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_are_on_the_original_scale_and_better_than_the_mean(regression_rows, family):
    rows, found = regression_rows, fitted_on(regression_rows, family)
    predicted = found.predict(rows.X)
    assert predicted.dtype == np.float64
    assert (predicted >= 0).all()
    assert np.abs(predicted - rows.y).mean() < 0.9 * np.abs(rows.y.mean() - rows.y).mean()


@pytest.mark.parametrize("family", ["gradient_boosting", "random_forest", "logistic"])
def test_classification_predicts_the_probability_of_the_positive_class(classification_rows, family):
    rows, found = classification_rows, fitted_on(classification_rows, family)
    predicted = found.predict(rows.X)
    assert ((predicted >= 0) & (predicted <= 1)).all()
    assert predicted[rows.y == 1].mean() > predicted[rows.y == 0].mean() + 0.1


def test_negative_targets_count_as_zero_on_the_log_scale_and_predictions_are_raised_to_the_minimum(
    regression_rows,
):
    rows = regression_rows
    low = fit(make_problem(), candidate("ridge"), {}, rows.X, rows.y - 1000, rows.weight, 1)
    assert low.predict(rows.X) == pytest.approx(0)
    plain = make_problem(target={"column": "sold", "min": 2})
    found = fit(plain, candidate("ridge"), {}, rows.X, rows.y - 5, rows.weight, 1)
    assert (found.unclipped(rows.X) < 2).any()
    assert found.predict(rows.X).min() == 2
    free = fit(
        make_problem(target={"column": "sold"}), candidate("ridge"), {}, rows.X, rows.y, rows.weight, 1
    )
    assert free.lowest == -LARGEST


def test_a_prediction_beyond_float32_is_cut_to_what_can_be_served(regression_rows):
    rows = regression_rows
    steep = fit(make_problem(), candidate("ridge"), {}, rows.X, np.exp(3 * rows.X[:, 4]), rows.weight, 1)
    far = rows.X[:1].copy()
    far[0, 4] = 1e6
    assert steep.predict(far) == LARGEST


def test_a_quantile_lies_above_its_share_of_rows(regression_rows):
    rows = regression_rows
    high = fitted_on(rows, quantile=0.9)
    assert (high.loss, high.quantile) == ("quantile", 0.9)
    assert 0.8 < (rows.y <= high.predict(rows.X)).mean() < 0.97
    median = fitted_on(rows, loss="quantile")
    assert (median.loss, median.quantile) == ("quantile", 0.5)


def test_weights_matter(regression_rows):
    rows = regression_rows
    heavy = np.where(rows.y > 8, 100.0, 1.0)
    for family in FAMILIES:
        there = fit(make_problem(), candidate(family), {}, rows.X, rows.y, heavy, 1)
        plain = fit(make_problem(), candidate(family), {}, rows.X, rows.y, np.ones_like(heavy), 1)
        assert there.predict(rows.X).mean() > 1.1 * plain.predict(rows.X).mean()


def test_what_is_described_makes_the_same_fit_again(regression_rows):
    rows, found = regression_rows, fitted_on(regression_rows)
    said = found.describe()
    assert said["parameters"]["max_iter"] == 20
    again = fit(
        make_problem(),
        candidate(said["family"]),
        said["parameters"],
        rows.X,
        rows.y,
        rows.weight,
        said["seed"],
    )
    assert (again.predict(rows.X) == found.predict(rows.X)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones((3, 2))}, "must be float32, as they are served; found float64"),
        ({"X": np.ones((0, 2), np.float32), "y": np.ones(0)}, "'one' needs rows to fit on; found none"),
        (
            {"y": np.array([1.0, np.nan, 2.0])},
            r"'one' \(gradient_boosting\) cannot be fitted: Input y contains NaN",
        ),
    ],
)
def test_rows_that_cannot_be_fitted_are_refused_with_the_candidates_name(change, message):
    given = {"X": np.ones((3, 2), np.float32), "y": np.ones(3)} | change
    with pytest.raises(DataError, match=message):
        fit(make_problem(), candidate("gradient_boosting"), {}, given["X"], given["y"], np.ones(3), 0)


def test_one_class_alone_is_refused():
    X = np.ones((5, 2), np.float32)
    with pytest.raises(DataError, match="needs rows of both classes; found 1 alone"):
        fit(make_problem("classification"), candidate("logistic"), {}, X, np.ones(5), np.ones(5), 0)


def test_a_parameter_out_of_its_range_is_the_problems_fault(regression_rows):
    with pytest.raises(ProblemError, match=r"'max_bins' parameter .* must be an int in the range") as caught:
        fitted_on(regression_rows, parameters={"max_bins": 1000})
    assert caught.value.path == ("candidates", "one")
    assert "\n" not in str(caught.value)


def test_a_column_without_a_value_in_training_is_no_hindrance(regression_rows):
    X = regression_rows.X.copy()
    X[:, 3] = np.nan
    for family in FAMILIES:
        found = fit(make_problem(), candidate(family), {}, X, regression_rows.y, regression_rows.weight, 1)
        assert np.isfinite(found.predict(regression_rows.X)).all()


def test_a_column_that_is_known_in_rows_of_no_weight_alone_is_as_good_as_empty(regression_rows):
    rows, weight = regression_rows, regression_rows.weight.copy()
    X = rows.X.copy()
    X[10:, 3], weight[:10] = np.nan, 0
    found = fit(make_problem(), candidate("gradient_boosting"), {}, X, rows.y, weight, 1)
    assert np.isfinite(found.predict(rows.X)).all()


def test_a_value_too_rare_for_the_rows_that_bins_are_drawn_from_does_not_stop_a_fit():
    rng = np.random.Generator(np.random.PCG64(2))
    X = rng.normal(size=(210_000, 2)).astype(np.float32)
    X[1:, 1] = np.nan
    one_leaf = candidate("gradient_boosting", parameters={"max_iter": 1, "max_leaf_nodes": 3})
    for seed in range(3):
        found = fit(make_problem(), one_leaf, {}, X, np.exp(X[:, 0]), np.ones(len(X)), seed)
        assert np.isfinite(found.predict(X[:9])).all()
