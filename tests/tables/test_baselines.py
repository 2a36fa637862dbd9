"""Baselines learn from training rows alone, on the scale of the target's transform."""

import numpy as np
import pytest

from cd4ml.features.plan import compile_plan
from cd4ml.features.transform import fit_state
from cd4ml.tables.baselines import baseline_values
from tests.features.samples import SHOP, columns_of, day, fitted, shop, table_columns, tables

ROWS = [
    {"date": day(step), "store": store, "item": "pear", "amount": float(amount), "promo": None}
    for store, amounts in ((1, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (2, [20, 40, 0, 80, 10, 10, 10, 10, 10]))
    for step, amount in enumerate(amounts)
]
TRAIN = np.array([row["date"] <= day(5) for row in ROWS])
Y = np.array([row["amount"] for row in ROWS])


def _values(baseline, y=Y, train=TRAIN, **changes):
    problem = shop(baselines=[{"name": "b", **baseline}], **changes)
    plan, facts = compile_plan(problem), columns_of(problem.fact, ROWS)
    state = fit_state(plan, facts, table_columns(problem, tables()), train)
    return baseline_values(problem.baselines[0], plan, state, facts, facts, y, train)


def _log_mean(values):
    return np.expm1(np.log1p(values).mean())


def test_a_mean_is_that_of_the_training_rows():
    assert _values({"kind": "mean"}) == pytest.approx(np.full(len(ROWS), _log_mean(Y[TRAIN])))
    plain = _values({"kind": "mean"}, target={"column": "amount"})
    assert plain == pytest.approx(np.full(len(ROWS), Y[TRAIN].mean()))


def test_a_change_of_the_holdout_changes_no_mean():
    for baseline in ({"kind": "mean"}, {"kind": "group_mean", "by": ["store"]}):
        other = np.where(TRAIN, Y, 999.0)
        assert (_values(baseline) == _values(baseline, y=other)).all()


def test_a_group_mean_is_that_of_the_rows_group():
    found = _values({"kind": "group_mean", "by": ["store"]})
    stores = np.array([row["store"] for row in ROWS])
    for store in (1, 2):
        assert found[stores == store] == pytest.approx(_log_mean(Y[TRAIN & (stores == store)]))


def test_a_group_without_training_rows_and_a_null_have_the_overall_mean():
    train = TRAIN & (np.array([row["store"] for row in ROWS]) == 1)
    found = _values({"kind": "group_mean", "by": ["store"]}, train=train)
    assert found[9:] == pytest.approx(np.full(9, _log_mean(Y[train])))
    assert _values({"kind": "group_mean", "by": ["promo"]}) == pytest.approx(
        np.full(len(ROWS), _log_mean(Y[TRAIN]))
    )


def test_a_season_is_repeated_and_zero_before_it():
    found = _values({"kind": "seasonal_naive", "period": "4d"})
    assert found[:9].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5]


def test_a_season_that_nobody_knows_has_the_overall_mean():
    found = _values({"kind": "seasonal_naive", "period": "4d"}, panel={"absent": "missing"})
    assert found[:9].tolist() == [pytest.approx(_log_mean(Y[TRAIN]))] * 4 + [1, 2, 3, 4, 5]


def test_no_baseline_is_below_the_smallest_target():
    found = _values({"kind": "seasonal_naive", "period": "4d"}, target={"column": "amount", "min": 2.5})
    assert found[:9].tolist() == [2.5] * 6 + [3, 4, 5]


def test_a_classification_has_rates():
    problem = shop(
        task="classification", target={"column": "store", "positive": 1}, entity=["item"], sensitive=[],
        candidates=[{"name": "linear", "family": "logistic"}], baselines=[{"name": "b", "kind": "mean"}],
        features=SHOP["features"][4:5],
    )  # fmt: skip
    plan, state, facts = fitted(problem, ROWS)
    y = np.array([float(row["store"] == 1) for row in ROWS])
    found = baseline_values(problem.baselines[0], plan, state, facts, {}, y, TRAIN)
    assert found.tolist() == [0.5] * len(ROWS)
