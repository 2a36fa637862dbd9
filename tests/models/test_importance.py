"""Shuffling a feature that matters makes the model worse; one that does not, does not."""

import numpy as np
import pytest

from cd4ml.models.export import to_onnx
from cd4ml.models.fit import fit
from cd4ml.models.importance import permutation_importance
from tests.models.samples import NAMES, Rows, candidate, make_problem


def importance(rows, task="regression", **options):
    problem = make_problem(task)
    chosen = rows.role == 0
    found = fit(
        problem,
        candidate("gradient_boosting"),
        {},
        rows.X[chosen],
        rows.y[chosen],
        rows.weight[chosen],
        1,
    )
    return permutation_importance(problem, to_onnx(found, NAMES), rows, **options)


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
