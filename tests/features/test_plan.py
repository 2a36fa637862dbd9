"""A problem compiled: names, depths and what a caller must send."""

from datetime import timedelta

import numpy as np
import pytest

from cd4ml.errors import ProblemError
from cd4ml.features.plan import compile_plan, target_values
from tests.features.samples import SHOP, column, only, shop

LAG = {"kind": "lag", "of": "amount", "lags": ["3d"]}


def test_names_say_what_is_measured():
    plan = compile_plan(
        only(
            {"kind": "columns", "columns": ["promoted"]},
            {"kind": "category", "columns": ["family"], "encoding": "frequency"},
            {"kind": "calendar", "parts": ["trend"]},
            {"kind": "lag", "of": "amount", "lags": ["3d", "168h"]},
            {**LAG, "by": [], "aggregate": "sum"},
            {**LAG, "name": "sold"},
            {"kind": "rolling", "of": "amount", "windows": ["7d"], "statistics": ["mean", "max"]},
            {"kind": "rolling", "of": "amount", "windows": ["7d"], "after": "4d", "by": ["store", "family"]},
            {"kind": "seasonal", "of": "amount", "period": "7d", "cycles": [2]},
            {"kind": "age"},
            {"kind": "age", "by": []},
        )
    )
    assert plan.names == (
        "promoted", "family_frequency", "date_trend", "amount_lag_3d", "amount_lag_7d",
        "amount_total_by_all_lag_3d", "sold_lag_3d", "amount_mean_7d", "amount_max_7d",
        "amount_by_store_family_mean_7d_after_4d", "amount_season_7d_2", "age", "age_by_all",
    )  # fmt: skip
    assert plan.kinds[:5] == ("columns", "category", "calendar", "lag", "lag")


def test_two_features_of_one_name_are_refused_with_the_second_ones_place():
    with pytest.raises(ProblemError, match="the feature 'amount_lag_3d' exists already") as caught:
        compile_plan(only(SHOP["features"][4], LAG, LAG))
    assert caught.value.path == ("features", 2)


@pytest.mark.parametrize(
    ("feature", "oldest", "pad"),
    [
        ({"kind": "lag", "of": "amount", "lags": ["3d", "9d"]}, 9, 1),
        ({"kind": "rolling", "of": "amount", "windows": ["7d", "2d"]}, 9, 7),
        ({"kind": "rolling", "of": "stock", "windows": ["7d"]}, 11, 7),  # recorded two days later
        ({"kind": "rolling", "of": "amount", "windows": ["7d"], "after": "5d"}, 11, 7),
        ({"kind": "seasonal", "of": "amount", "period": "2d", "cycles": [3]}, 8, 1),
        ({"kind": "age"}, 0, 1),
        ({"kind": "columns", "columns": ["promoted"]}, 0, 1),
    ],
)
def test_the_depth_of_the_history_is_known(feature, oldest, pad):
    plan = compile_plan(only(feature))
    assert (plan.needed_steps, plan.pad) == (oldest, pad)


def test_a_season_begins_at_the_first_whole_period_behind_the_horizon():
    plan = compile_plan(shop())
    assert plan.naive_delay(timedelta(days=7)) == 7
    assert plan.naive_delay(timedelta(days=2)) == 4
    assert plan.naive_delay(timedelta(days=3)) == 3


@pytest.mark.parametrize(
    ("feature", "inputs"),
    [
        ({"kind": "columns", "columns": ["promoted"]}, ["promo"]),
        ({"kind": "columns", "columns": ["size"]}, ["item"]),
        ({"kind": "columns", "columns": ["holiday"]}, ["date"]),
        ({"kind": "category", "columns": ["line"]}, ["item"]),
        ({"kind": "calendar", "parts": ["month"]}, ["date"]),
        ({"kind": "lag", "of": "stock", "lags": ["5d"]}, ["date", "store", "item"]),
        ({"kind": "lag", "of": "price", "by": [], "lags": ["5d"]}, ["date"]),
        ({"kind": "age", "by": "family"}, ["date", "item"]),
    ],
)
def test_a_caller_sends_what_features_are_made_of_and_no_more(feature, inputs):
    plan = compile_plan(only(feature))
    assert list(plan.inputs) == inputs
    declared = plan.problem.fact.columns
    assert plan.inputs == {name: declared[name].type for name in inputs}


def test_histories_of_one_column_and_group_are_kept_once():
    plan = compile_plan(
        only(LAG, {"kind": "rolling", "of": "amount", "windows": ["7d"]}, {**LAG, "by": "item"})
    )
    assert [(series.of, series.by) for series in plan.series] == [
        ("amount", ("store", "item")),
        ("amount", ("item",)),
    ]
    assert plan.groups == (("store", "item"), ("item",))


@pytest.mark.parametrize(
    ("kind", "values", "positive", "expected"),
    [
        ("category", ["yes", "no", None], "yes", [1, 0, np.nan]),
        ("integer", [1, 0, 2], 1, [1, 0, 0]),
        ("integer", [1, 0, 2], 1.0, [1, 0, 0]),
        ("number", [1.0, 0.0, None], 1, [1, 0, np.nan]),
        ("boolean", [True, False], True, [1, 0]),
        ("text", ["1", "0"], 1, [1, 0]),
        ("category", ["a", "b"], "c", [0, 0]),
    ],
)
def test_the_positive_class_is_one_whatever_its_type(kind, values, positive, expected):
    problem = shop(
        task="classification",
        target={"column": "amount", "positive": positive},
        candidates=[{"name": "linear", "family": "logistic"}],
    )
    found = target_values(problem, {"amount": column(kind, values)})
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float64))
