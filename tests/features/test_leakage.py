"""What cannot be known is refused with what would be honest; names that nobody has are told apart."""

from datetime import timedelta

import pytest

from cd4ml.errors import ProblemError
from cd4ml.features.leakage import availability, check_problem
from tests.features.samples import SHOP, document, only, shop


def _refused(problem):
    with pytest.raises(ProblemError) as caught:
        check_problem(problem)
    return caught.value.path, str(caught.value)


def _table(table, **columns):
    """Return the shop's tables with some columns of one changed."""
    found = SHOP["tables"][table]
    changed = {name: {**found["columns"].get(name, {}), **rule} for name, rule in columns.items()}
    return {**SHOP["tables"], table: {**found, "columns": {**found["columns"], **changed}}}


def test_the_shop_is_right():
    check_problem(shop())


def test_each_column_is_known_ahead_or_some_time_after_the_fact():
    day, at_once = timedelta(days=1), timedelta(0)
    assert availability(shop()) == {
        "date": "ahead", "store": "ahead", "item": "ahead", "amount": at_once, "promo": "ahead",
        "stock": 2 * day, "log_amount": at_once, "promoted": "ahead", "weekday": "ahead", "family": "ahead",
        "size": "ahead", "line": "ahead", "holiday": "ahead", "price": at_once,
    }  # fmt: skip


def test_a_derived_column_is_known_when_the_last_of_its_parts_is():
    derived = {**SHOP["derived"], "both": "stock + amount + promoted"}
    assert availability(shop(derived=derived))["both"] == timedelta(days=2)


def test_a_target_may_be_recorded_late_and_is_never_known_ahead():
    late = only(
        {"kind": "lag", "of": "amount", "lags": ["9d"]}, tables=_table("sales", amount={"known": "6d"})
    )
    assert availability(late)["amount"] == timedelta(days=6)
    check_problem(late)
    early = only(
        {"kind": "lag", "of": "amount", "lags": ["8d"]}, tables=_table("sales", amount={"known": "6d"})
    )
    assert "the horizon is 3d and it is recorded 6d later: at least 9d" in _refused(early)[1]
    assert availability(shop(tables=_table("sales", amount={"known": "ahead"})))["amount"] == timedelta(0)


def test_a_joined_column_is_known_when_key_row_and_condition_are():
    join = {"table": "oil", "on": {"date": "date"}, "where": "sure > 0", "columns": {"price": "cost"}}
    columns = {"sure": {"type": "integer", "known": "4d"}, "price": {"type": "number", "known": "1d"}}
    found = availability(shop(tables=_table("oil", **columns), joins=[*SHOP["joins"], join]))
    assert found["cost"] == timedelta(days=4)
    assert found["price"] == timedelta(days=1)
    by_stock = {"table": "items", "on": {"stock": "size"}, "columns": {"item": "other"}}
    assert availability(shop(joins=[*SHOP["joins"], by_stock]))["other"] == timedelta(days=2)
    flag = {**join, "flag": "there"}
    assert availability(shop(tables=_table("oil", **columns), joins=[flag], features=SHOP["features"][4:5],
                             derived={}, slices=[], baselines=SHOP["baselines"][2:]))["there"] == timedelta(
        days=4
    )  # fmt: skip


@pytest.mark.parametrize(
    ("feature", "path", "message"),
    [
        ({"kind": "lag", "of": "amount", "lags": ["7d", "2d"]}, ("lags", 1),
         "a lag of 2d of 'amount' leaks: it is not known when the prediction is made; the horizon is 3d: "
         "at least 3d"),
        ({"kind": "lag", "of": "stock", "lags": ["4d"]}, ("lags", 0), "it is recorded 2d later: at least 5d"),
        ({"kind": "lag", "of": "promoted", "lags": ["1d"]}, ("lags", 0),
         "at least 3d, or use it as it is (kind: columns): it is known ahead"),
        ({"kind": "rolling", "of": "amount", "windows": ["7d"], "after": "2d"}, ("after",),
         "a window after 2d of 'amount' leaks"),
        ({"kind": "columns", "columns": ["size", "stock"]}, ("columns", 1),
         "'stock' leaks: its value is not known when the prediction is made. Use its past (kind: lag or "
         "rolling; the horizon is 3d and it is recorded 2d later: at least 5d ago)"),
        ({"kind": "columns", "columns": ["log_amount"]}, ("columns", 0), "'log_amount' leaks"),
        ({"kind": "columns", "columns": ["price"]}, ("columns", 0), "or declare `known: ahead`"),
        ({"kind": "category", "columns": ["amount"]}, ("columns", 0), "'amount' leaks"),
        ({"kind": "rolling", "of": "amount", "by": ["stock"], "windows": ["7d"]}, ("by",), "'stock' leaks"),
        ({"kind": "age", "by": "price"}, ("by",), "'price' leaks"),
        ({"kind": "columns", "columns": ["pomo"]}, ("columns", 0),
         "unknown column 'pomo'; did you mean 'promo'"),
        ({"kind": "columns", "columns": ["zzz"]}, ("columns", 0),
         "unknown column 'zzz'; there are amount, date"),
        ({"kind": "category", "columns": ["familly"]}, ("columns", 0), "did you mean 'family'?"),
        ({"kind": "columns", "columns": ["family"]}, ("columns", 0),
         "expected a number column; 'family' is text"),
        ({"kind": "lag", "of": "item", "lags": ["3d"]}, ("of",), "expected a number column; 'item' is text"),
        ({"kind": "seasonal", "of": "amunt", "period": "7d"}, ("of",), "did you mean 'amount'?"),
        ({"kind": "lag", "of": "amount", "lags": ["80h"]}, ("lags", 0),
         "80h is not a whole number of steps of 1d"),
        ({"kind": "rolling", "of": "amount", "windows": ["0d"]}, ("windows", 0),
         "at least one step; found 0s"),
        ({"kind": "seasonal", "of": "amount", "period": "0d"}, ("period",), "at least one step; found 0s"),
        ({"kind": "seasonal", "of": "amount", "period": "7d", "cycles": [0]}, ("cycles", 0),
         "at least one season; found 0"),
    ],
)  # fmt: skip
def test_a_feature_that_cannot_be_served_is_refused(feature, path, message):
    found, text = _refused(only(SHOP["features"][4], feature))
    assert found == ("features", 1, *path)
    assert message in text


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"time": {"column": "dat", "step": "1d"}}, ("time", "column"), "did you mean 'date'?"),
        ({"time": {"column": "store", "step": "1d"}}, ("time", "column"), "expected a time column"),
        ({"time": {"column": "at", "step": "1d"},
          "derived": {**SHOP["derived"], "at": "date + days(amount)"}},
         ("time", "column"), "the time is made from the target 'amount'"),
        ({"horizon": "80h"}, ("horizon",), "80h is not a whole number of steps"),
        ({"entity": ["stor", "item"]}, ("entity", 0), "did you mean 'store'?"),
        ({"entity": ["amount"]}, ("entity",), "the target cannot be part of the entity"),
        ({"target": {"column": "amonut"}}, ("target", "column"), "did you mean 'amount'?"),
        ({"target": {"column": "item"}, "entity": ["store"]}, ("target", "column"),
         "expected a number column; 'item' is text"),
        ({"filters": [{"name": "x", "drop": "size > 1", "reason": "r"}]}, ("filters", 0, "drop"),
         "unknown column 'size'"),
        ({"filters": [{"name": "x", "drop": "item", "reason": "r"}]}, ("filters", 0, "drop"),
         "must be true or false; found text"),
        ({"metrics": {"primary": "wape", "weight": "item"}}, ("metrics", "weight"),
         "a weight must be a number"),
        ({"metrics": {"primary": "wape", "weight": "1.5"}}, ("metrics", "weight"), "the same in each row"),
        ({"slices": ["family", "flag"]}, ("slices", 1), "unknown column 'flag'"),
        ({"sensitive": ["sotre"]}, ("sensitive", 0), "did you mean 'store'?"),
        ({"baselines": [{"name": "g", "kind": "group_mean", "by": ["amount"]}]}, ("baselines", 0, "by"),
         "'amount' leaks"),
        ({"baselines": [{"name": "g", "kind": "seasonal_naive", "period": "0d"}]}, ("baselines", 0, "period"),
         "at least one step"),
        ({"baselines": [{"name": "g", "kind": "seasonal_naive", "period": "25h"}]},
         ("baselines", 0, "period"), "25h is not a whole number of steps"),
        ({"split": {"kind": "time", "holdout": "4d", "gap": "5h"}}, ("split", "gap"),
         "5h is not a whole number"),
        ({"split": {"kind": "entity", "holdout": 0.5, "embargo": "5d"}}, ("split", "embargo"),
         "`embargo` belongs to a split by time; remove it"),
        ({"derived": {**SHOP["derived"], "x": "yy + 1"}}, ("derived", "x"), "unknown column 'yy'"),
        ({"derived": {**SHOP["derived"], "x": "x + 1"}}, ("derived", "x"), "'x' is needed before it exists"),
        ({"derived": {**SHOP["derived"], "size": "store + 1"}}, ("joins", 0, "columns"),
         "the column 'size' exists already"),
        ({"derived": {**SHOP["derived"], "store": "promo + 1"}}, ("derived", "store"), "exists already"),
        ({"joins": [*SHOP["joins"], {**SHOP["joins"][1], "where": "kindd == 'a'"}]}, ("joins", 3, "where"),
         "did you mean 'kind'?"),
        ({"joins": [*SHOP["joins"], {"table": "days", "on": {"datte": "date"}}]}, ("joins", 3, "on"),
         "did you mean 'date'?"),
        ({"joins": [*SHOP["joins"], {"table": "days", "on": {"item": "date"}}]}, ("joins", 3, "on"),
         "'item' is text and 'days.date' is time; declare both with one type"),
    ],
)  # fmt: skip
def test_the_rest_of_a_problem_is_checked_with_its_place(changes, path, message):
    found, text = _refused(shop(**changes))
    assert (found[: len(path)], message in text) == (path, True), text


def test_a_seasonal_baseline_needs_to_know_what_an_absent_day_means():
    problem = shop(panel=None, features=[{"kind": "columns", "columns": ["size"]}])
    assert _refused(problem) == (("baselines", 0), "seasonal_naive needs `panel: {absent: zero or missing}`; "
                                 "found none")  # fmt: skip


def test_without_time_everything_but_the_target_may_be_used():
    plain = {
        "time": None, "panel": None, "horizon": None, "split": {"kind": "random", "holdout": 0.2},
        "metrics": {"primary": "wape"}, "baselines": SHOP["baselines"][2:],
    }  # fmt: skip
    problem = shop(**plain, features=[{"kind": "columns", "columns": ["stock", "price", "holiday"]}])
    check_problem(problem)
    leaking = shop(**plain, features=[{"kind": "columns", "columns": ["stock", "log_amount"]}])
    path, message = _refused(leaking)
    assert path == ("features", 0, "columns", 1)
    assert message == "'log_amount' leaks: it is the target 'amount' or made from it; remove it"


def test_a_classification_may_have_a_target_of_text():
    check_problem(
        shop(task="classification", target={"column": "item", "positive": "pear"}, entity=["store"],
             candidates=[{"name": "linear", "family": "logistic"}],
             features=SHOP["features"][4:6], joins=[], slices=[],
             derived={"log_amount": SHOP["derived"]["log_amount"], "weekday": SHOP["derived"]["weekday"]})
    )  # fmt: skip


def test_a_column_that_time_is_made_from_is_known_ahead():
    derived = {**SHOP["derived"], "day": "date + hours(0 * stock)", "at": "day + hours(0)"}
    problem = shop(derived=derived, time={"column": "at", "step": "1d"})
    assert availability(problem)["stock"] == "ahead"


def test_a_derived_column_may_use_a_joined_one_that_a_later_join_needs():
    joins = [SHOP["joins"][0], {"table": "oil", "on": {"shifted": "date"}}]
    derived = {"shifted": "date - days(size)", "weekday": "day_of_week(date)"}
    problem = only(SHOP["features"][4], derived=derived, joins=joins, slices=[], sensitive=[])
    check_problem(problem)
    assert availability(problem)["price"] == timedelta(0)


def test_the_document_of_the_shop_is_not_changed_by_a_test():
    assert document() == SHOP
