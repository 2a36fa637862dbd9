"""Families know their parameters, name the nearest of a wrong one, and have the losses that they can have."""

import pytest

from cd4ml.errors import ProblemError, UsageError
from cd4ml.models.families import FAMILIES, build, complete, simplicity
from tests.models.samples import candidate


def test_parameters_are_the_defaults_then_the_candidates_then_those_of_the_point():
    made = complete(
        candidate("gradient_boosting", parameters={"max_iter": 7, "max_bins": 63}), {"max_iter": 9}
    )
    assert (made["max_iter"], made["max_bins"], made["learning_rate"]) == (9, 63, 0.1)
    assert set(made) == set(FAMILIES["gradient_boosting"])


def test_whole_numbers_that_come_back_as_floats_are_integers_again():
    made = complete(candidate("gradient_boosting"), {"max_iter": 9.0, "learning_rate": 1.0})
    assert type(made["max_iter"]) is int
    assert type(made["learning_rate"]) is float
    with pytest.raises(UsageError, match=r"max_iter must be a whole number; found 9\.5"):
        complete(candidate("gradient_boosting"), {"max_iter": 9.5})


def test_an_unknown_parameter_is_refused_with_the_nearest():
    with pytest.raises(
        ProblemError, match=r"'max_leafs' is not a parameter.*did you mean 'max_leaf_nodes'"
    ) as at:
        build(candidate("gradient_boosting"), "regression", {"max_leafs": 3}, 0)
    assert at.value.path == ("candidates", "one", "parameters")


@pytest.mark.parametrize(
    ("family", "task", "kind"),
    [
        ("gradient_boosting", "regression", "HistGradientBoostingRegressor"),
        ("gradient_boosting", "classification", "HistGradientBoostingClassifier"),
        ("random_forest", "regression", "RandomForestRegressor"),
        ("random_forest", "classification", "RandomForestClassifier"),
        ("ridge", "regression", "Ridge"),
        ("logistic", "classification", "LogisticRegression"),
    ],
)
def test_each_family_builds_its_estimator(family, task, kind):
    made = build(candidate(family), task, {}, 5)
    assert type(made.steps[-1][1] if hasattr(made, "steps") else made).__name__ == kind


@pytest.mark.parametrize(
    ("loss", "quantile", "expected"),
    [
        (None, None, ("squared_error", None)),
        ("poisson", None, ("poisson", None)),
        ("quantile", None, ("quantile", 0.5)),
        ("poisson", 0.75, ("quantile", 0.75)),
    ],
)
def test_boosting_has_the_loss_that_is_asked(loss, quantile, expected):
    made = build(candidate("gradient_boosting", loss=loss), "regression", {}, 0, quantile)
    assert (made.loss, made.quantile) == expected


@pytest.mark.parametrize(
    ("family", "task", "loss", "quantile"),
    [
        ("ridge", "regression", "poisson", None),
        ("ridge", "regression", None, 0.75),
        ("random_forest", "regression", "absolute_error", None),
    ],
)
def test_other_families_refuse_a_loss_that_they_do_not_have(family, task, loss, quantile):
    with pytest.raises(UsageError, match=f"{family} has the loss squared_error alone.*gradient_boosting"):
        build(candidate(family, loss=loss), task, {}, 0, quantile)


def test_other_families_accept_the_loss_that_they_have_anyway():
    assert build(candidate("ridge", loss="squared_error"), "regression", {}, 0)
    assert build(candidate("random_forest", loss="log_loss"), "classification", {}, 0)


def test_linear_models_are_simpler_than_trees():
    assert sorted(FAMILIES, key=simplicity) == ["ridge", "logistic", "random_forest", "gradient_boosting"]
