"""Lags, windows, seasons and ages are what their definitions say, on the calendar and not on the rows."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import DataError
from cd4ml.features.transform import seasonal_naive, transform
from tests.features.reference import History, statistic
from tests.features.samples import SHOP, columns_of, day, fitted, only, pick, random_rows, shop, tables

STATISTICS = ["mean", "std", "min", "max", "sum", "median", "share_nonzero", "count"]
ENTITY = {"of": "amount"}


def _entity(row):
    return (row["store"], row["item"])


def _family(row):
    return row["family"]


def _promoted(row):
    return row["promoted"]


def _check(problem, rows, expected, others=None):
    """Compare the first feature with `expected(history, row)` for each row."""
    plan, state, facts = fitted(problem, rows, others=others)
    history = History(rows, others or tables(), problem.panel.absent == "zero")
    found = transform(plan, state, facts)[:, 0]
    wanted = [expected(history, row) for row in history.rows]
    np.testing.assert_allclose(
        found, np.array([np.nan if value is None else value for value in wanted]), rtol=2e-6, atol=2e-5
    )


@pytest.mark.parametrize("absent", ["zero", "missing"])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), delay=st.integers(3, 9))
def test_a_lag_is_the_value_so_many_days_ago_whether_or_not_there_are_rows_between(absent, seed, delay):
    problem = only({"kind": "lag", "of": "log_amount", "lags": [f"{delay}d"]}, panel={"absent": absent})
    _check(
        problem,
        random_rows(seed),
        lambda history, row: history.cell(
            "log_amount", _entity, _entity(row), row["step"] - delay, "mean", True
        ),
    )


@pytest.mark.parametrize("absent", ["zero", "missing"])
@pytest.mark.parametrize("name", STATISTICS)
@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 9), after=st.integers(3, 6))
def test_a_window_has_the_statistics_of_its_days(absent, name, seed, size, after):
    feature = {"kind": "rolling", "of": "amount", "windows": [f"{size}d"], "after": f"{after}d"}
    problem = only({**feature, "statistics": [name]}, panel={"absent": absent})

    def expected(history, row):
        steps = range(row["step"] - after - size + 1, row["step"] - after + 1)
        return statistic(
            name, [history.cell("amount", _entity, _entity(row), step, "mean", True) for step in steps]
        )

    _check(problem, random_rows(seed, days=18), expected)


@pytest.mark.parametrize(
    ("by", "key", "aggregate"),
    [
        ("family", _family, "mean"),
        ("family", _family, "sum"),
        ("promoted", _promoted, "mean"),  # an entity moves between these groups
        ([], lambda row: None, "sum"),
    ],
)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6), repeats=st.booleans())
def test_the_history_of_a_group_puts_its_entities_together(by, key, aggregate, seed, repeats):
    problem = only({"kind": "lag", "of": "amount", "by": by, "aggregate": aggregate, "lags": ["4d"]})
    rows = random_rows(seed, days=16)
    if repeats:  # two rows of one entity and day
        rows += [{**row, "amount": row["amount"] + 1.5} for row in rows[::3]]

    def expected(history, row):
        if by == "family" and row["family"] is None:
            return None  # a null is no group
        return history.cell("amount", key, key(row), row["step"] - 4, aggregate, True)

    _check(problem, rows, expected)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_a_joined_column_is_never_zero_where_a_row_is_absent(seed):
    problem = only({"kind": "lag", "of": "price", "lags": ["3d"]})

    def expected(history, row):
        return history.cell("price", _entity, _entity(row), row["step"] - 3, "mean", False)

    _check(problem, random_rows(seed), expected)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), period=st.integers(1, 5), cycles=st.integers(1, 4))
def test_a_season_is_the_mean_of_the_last_known_ones(seed, period, cycles):
    feature = {"kind": "seasonal", "of": "amount", "period": f"{period}d", "cycles": [cycles]}
    first = -(-3 // period) * period  # the horizon is 3 days

    def expected(history, row):
        steps = [row["step"] - first - period * cycle for cycle in range(cycles)]
        return statistic(
            "mean", [history.cell("amount", _entity, _entity(row), step, "mean", True) for step in steps]
        )

    _check(only(feature), random_rows(seed), expected)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), recorded=st.integers(0, 3))
def test_an_age_counts_from_the_first_row_once_that_is_recorded(seed, recorded):
    sales = {**SHOP["tables"]["sales"], "known": f"{recorded}d"}
    problem = only({"kind": "age"}, tables={**SHOP["tables"], "sales": sales})
    _check(
        problem,
        random_rows(seed),
        lambda history, row: history.age(_entity, _entity(row), row["step"], 3 + recorded),
    )


def test_an_unknown_entity_has_no_history_and_the_age_zero():
    problem = only({"kind": "lag", "of": "amount", "lags": ["3d"]}, {"kind": "age"})
    plan, state, _ = fitted(problem, random_rows(3))
    new = columns_of(problem.fact, [{"date": day(30), "store": 9, "item": "apple", "amount": 1.0}])
    found = transform(plan, state, new)[0]
    assert np.isnan(found[0])
    assert found[1] == 0


def test_history_behind_the_last_recorded_day_is_unknown_and_not_zero():
    problem = only({"kind": "rolling", "of": "amount", "windows": ["3d"], "statistics": ["count"]})
    rows = [
        {"date": day(step), "store": 1, "item": "pear", "amount": 2.0, "promo": False} for step in (0, 5, 9)
    ]
    plan, state, _ = fitted(problem, rows)
    ahead = columns_of(
        problem.fact, [{**rows[0], "date": day(step)} for step in (11, 12, 13, 14, 15, 16, 40, 5000)]
    )
    assert transform(plan, state, ahead)[:, 0].tolist() == [3, 3, 2, 1, 0, 0, 0, 0]


def test_steps_may_be_hours():
    derived = {**SHOP["derived"], "at": "date + hours(store)"}
    problem = only(
        {"kind": "lag", "of": "amount", "lags": ["2h"]},
        derived=derived,
        time={"column": "at", "step": "1h"},
        entity=["item"],
        horizon="2h",
        split={"kind": "time", "holdout": "5h", "folds": 1},
    )
    rows = [{"date": day(0), "store": hour, "item": "pear", "amount": hour * 10.0} for hour in (1, 2, 3, 23)]
    plan, state, facts = fitted(problem, rows)
    found = transform(plan, state, facts)[:, 0]
    np.testing.assert_array_equal(found, np.array([np.nan, np.nan, 10, 0], dtype=np.float32))


def test_a_seasonal_baseline_repeats_the_last_season_that_is_known():
    rows = [
        {"date": day(step), "store": 1, "item": "pear", "amount": float(step), "promo": None}
        for step in range(20)
    ]
    plan, state, facts = fitted(shop(), rows)
    week = seasonal_naive(plan, state, facts, timedelta(days=7))
    two = seasonal_naive(plan, state, facts, timedelta(days=2))  # 2 days ago is not known: 4 days
    assert np.isnan(week[:7]).all()
    assert week[7:].tolist() == list(range(13))
    assert two[4:].tolist() == list(range(16))


def test_a_history_needs_a_time_that_is_known():
    problem = only({"kind": "age"})
    rows = random_rows(1)
    nowhere = [{**row, "date": None} for row in rows]
    with pytest.raises(DataError, match="expected times in 'date'; found nulls alone"):
        fitted(problem, nowhere)
    plan, state, _ = fitted(problem, [*rows, nowhere[0]])
    found = transform(plan, state, pick(columns_of(problem.fact, nowhere), 0))
    assert np.isnan(found).all()


def test_training_rows_need_a_time():
    rows = random_rows(1)
    train = np.arange(len(rows)) == 0
    with pytest.raises(DataError, match="expected times in training rows; found nulls alone"):
        fitted(only({"kind": "age"}), [{**rows[0], "date": None}, *rows[1:]], train=train)


def test_training_rows_are_needed():
    with pytest.raises(DataError, match="expected training rows; found none"):
        fitted(shop(), random_rows(1), train=np.zeros(len(random_rows(1)), dtype=bool))


def test_entities_that_have_no_key_take_part_in_no_history():
    problem = only({"kind": "lag", "of": "amount", "by": [], "lags": ["3d"]}, entity=["item"])
    rows = [
        {"date": day(0), "store": 1, "item": "pear", "amount": 2.0},
        {"date": day(0), "store": 1, "item": None, "amount": 50.0},
        {"date": day(3), "store": 1, "item": "pear", "amount": 4.0},
    ]
    plan, state, facts = fitted(problem, rows)
    assert transform(plan, state, facts)[2, 0] == 2


def test_a_unit_is_not_zero_before_its_first_row_in_a_group_that_was_null_before():
    problem = only({"kind": "lag", "of": "amount", "by": "promo", "lags": ["3d"]})
    rows = [
        {"date": day(0), "store": 1, "item": "pear", "amount": 2.0, "promo": None},
        {"date": day(0), "store": 1, "item": "nail", "amount": 8.0, "promo": True},
        {"date": day(2), "store": 1, "item": "nail", "amount": 6.0, "promo": True},
        {"date": day(5), "store": 1, "item": "pear", "amount": 4.0, "promo": True},
    ]
    plan, state, facts = fitted(problem, rows)
    assert transform(plan, state, facts)[3, 0] == 6  # of the nail alone: the pear had no group then
