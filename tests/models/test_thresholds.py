"""Split values become float32 numbers without moving any float32 row to the other side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.models.fit import fit
from cd4ml.models.thresholds import floor_float32, split_values
from tests.models.samples import candidate, make_problem


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20), st.floats(-(2.0**99), 2.0**99, width=32))
def test_a_float32_is_below_a_threshold_exactly_when_it_is_below_its_floor(thresholds, value):
    exact = np.array(thresholds)
    floored = floor_float32(exact)
    near = np.concatenate([floored, np.nextafter(floored, np.float32(np.inf)), [np.float32(value)]])
    for x in near.astype(np.float32):
        assert ((x.astype(np.float64) <= exact) == (x <= floored)).all()


def test_infinities_and_numbers_beyond_float32_keep_their_side():
    found = floor_float32(np.array([np.inf, -np.inf, 1e300, -1e300, 0.5]))
    assert found.tolist() == [np.inf, -np.inf, float(np.finfo(np.float32).max), -np.inf, 0.5]


@pytest.mark.parametrize("family", ["gradient_boosting", "random_forest"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_fitted_ensemble_has_float32_thresholds_alone_and_lists_them(request, family, task):
    rows = request.getfixturevalue(f"{task}_rows")
    found = fit(make_problem(task), candidate(family), {}, rows.X, rows.y, rows.weight, 1).estimator
    model = found.steps[-1][1] if family == "random_forest" else found
    trees = [p.nodes["num_threshold"] for t in getattr(model, "_predictors", []) for p in t]
    trees += [t.tree_.threshold[t.tree_.feature >= 0] for t in getattr(model, "estimators_", [])]
    assert trees
    assert all((tree == tree.astype(np.float32)).all() for tree in trees)
    splits = split_values(found, rows.X.shape[1])
    assert len(splits) == rows.X.shape[1]
    assert all((np.diff(s) > 0).all() and s.dtype == np.float32 for s in splits)
    assert splits[0].size > 5


def test_a_linear_model_has_no_split_values(regression_rows):
    rows = regression_rows
    found = fit(make_problem(), candidate("ridge"), {}, rows.X, rows.y, rows.weight, 1)
    assert [s.size for s in split_values(found.estimator, 5)] == [0] * 5
