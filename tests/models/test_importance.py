"""Shuffling a feature that matters makes the model worse; one that does not, does not."""

import numpy as np
import pytest

from cd4ml.features.columns import CategoryArray
from cd4ml.models.export import to_onnx
from cd4ml.models.fit import fit
from cd4ml.models.importance import importance_by_slice, permutation_importance
from tests.models.samples import NAMES, Rows, candidate, make_problem, make_rows


def exported(rows, task):
    problem, chosen = make_problem(task), rows.role == 0
    given = rows.X[chosen], rows.y[chosen], rows.weight[chosen]
    return problem, to_onnx(fit(problem, candidate("gradient_boosting"), {}, *given, 1), NAMES)


def importance(rows, task="regression", **options):
    return permutation_importance(*exported(rows, task), rows, **options)


def by_slice(rows, codes, names, task="regression", **options):
    groups = {"place": CategoryArray(np.asarray(codes, dtype=np.int32), names)}
    features = ("price", "code", "noise")
    return importance_by_slice(*exported(rows, task), rows, groups, features, **options)["place"]


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_what_drives_the_target_comes_first_and_noise_is_near_zero(request, task):
    found = importance(request.getfixturevalue(f"{task}_rows"), task)
    increases = {entry["feature"]: entry["increase"] for entry in found}
    assert list(increases) == sorted(increases, key=lambda name: -increases[name])
    assert found[0]["feature"] == "price"
    assert found[0]["low"] > 0.1
    assert abs(increases["noise"]) < 0.1
    assert all(entry["low"] <= entry["increase"] <= entry["high"] for entry in found)


def test_it_repeats_with_its_seed_and_leaves_the_rows_alone(regression_rows):
    before, lines = regression_rows.X.copy(), []
    first = importance(regression_rows, repeats=2, seed=4, progress=lines.append)
    assert first == importance(regression_rows, repeats=2, seed=4)
    assert first != importance(regression_rows, repeats=2, seed=5)
    assert np.array_equal(before, regression_rows.X, equal_nan=True)
    assert len(lines) == len(NAMES)
    assert lines[0].startswith("importance of price: +")


def test_a_model_without_error_has_no_growth_to_tell():
    X = np.repeat(np.arange(2, dtype=np.float32), 200)[np.random.default_rng(1).permutation(400)]
    X = np.column_stack([X] * len(NAMES))
    assert importance(Rows(X, X[:, 0].astype(np.float64)), "classification") == []


def test_a_slice_says_what_matters_within_it():
    rows = make_rows(count=3000)
    # Where the code is 2 always or never, its value tells nothing but the level; the price matters in both.
    there = (rows.X[:, 3] == 2).astype(int)
    found = by_slice(rows, there, ("other", "code 2"))
    assert [entry["slice"] for entry in found] == ["other", "code 2"]
    assert [entry["n"] for entry in found] == [int((there[rows.role == 1] == code).sum()) for code in (0, 1)]
    for entry in found:
        assert next(one["feature"] for one in entry["importances"]) == "price"
        assert all(one["low"] <= one["increase"] <= one["high"] for one in entry["importances"])
    code = [next(one for one in entry["importances"] if one["feature"] == "code") for entry in found]
    # Most rows lose a code that says so much when they are of it; the others keep another one.
    assert code[1]["increase"] > 2 * code[0]["increase"]


def test_small_slices_and_those_of_one_class_have_no_importance(classification_rows):
    rows = classification_rows
    codes = np.where(rows.y > 0, 1, 0)
    codes[rows.role == 1] = np.where(np.arange((rows.role == 1).sum()) < 60, 2, codes[rows.role == 1])
    codes[0] = -1
    found = by_slice(rows, codes, ("no", "yes", "few", "none"), "classification")
    assert {entry["slice"] for entry in found} == {"no", "yes", "few"}
    assert all(entry["importances"] == [] for entry in found)


def test_slices_repeat_with_their_seed_and_take_no_more_rows_than_asked():
    rows = make_rows(count=4000)
    groups = np.arange(4000) % 2
    first = by_slice(rows, groups, ("a", "b"), max_rows=500, seed=1)
    assert first == by_slice(rows, groups, ("a", "b"), max_rows=500, seed=1)
    assert sum(entry["n"] for entry in first) == 500


def test_many_clusters_are_joined_and_slices_beyond_eight_left_out():
    class Apart(Rows):
        @property
        def cluster(self):
            return np.arange(len(self.y))

    made = make_rows(count=6000)
    rows = Apart(made.X, made.y)
    found = by_slice(rows, np.arange(6000) % 10, tuple("abcdefghij"))
    assert len(found) == 8
    assert found[0]["clusters"] == found[0]["n"] == 150
    assert all(one["low"] < one["high"] for one in found[0]["importances"])
