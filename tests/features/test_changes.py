"""What newer data say otherwise of the past."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.changes import state_changes
from cd4ml.features.fitting import refresh_state
from tests.features.samples import columns_of, day, fitted, only, random_rows, shop, table_columns, tables

NOTHING = {"steps": 0, "first": "", "last": "", "series": [], "groups": [], "tables": []}
LAG = {"kind": "lag", "of": "amount", "lags": ["3d"]}


def split(rows, cut):
    return [row for row in rows if row["date"] <= day(cut)]


def changes(problem, old, new, others=None, steps=0):
    """Return the changes from a fit on `old` rows to `new` ones; cut to `steps` steps and what they need."""
    plan, before, _ = fitted(problem, old)
    columns = table_columns(problem, tables() if others is None else others)
    after = refresh_state(plan, before, columns_of(problem.fact, new), columns)
    return state_changes(plan, before.trim(steps, plan.needed_steps) if steps else before, after)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), cut=st.integers(13, 22), steps=st.integers(0, 4))
def test_data_that_only_went_on_change_nothing(seed, cut, steps):
    rows = random_rows(seed)
    old = split(rows, cut)
    assert changes(shop(), old, rows, steps=steps) == NOTHING


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), which=st.integers(0, 10**6))
def test_one_altered_value_is_one_step_of_one_member(seed, which):
    rows = random_rows(seed)
    old = split(rows, 17)
    rows = [dict(row) for row in rows]
    hit = [row for row in rows if row["date"] <= day(17)][which % len(old)]
    hit["amount"] += 1000
    found = changes(only(LAG), old, rows)
    assert found["steps"] == 1
    assert found["first"] == found["last"] == str(hit["date"])
    assert found["series"] == [
        {"of": "amount", "by": ["store", "item"], "cells": 1, "members": 1, "steps": 1}
    ]
    assert (found["groups"], found["tables"]) == ([], [])


def test_what_lies_before_a_cut_history_is_not_compared():
    rows = random_rows(3)
    old = split(rows, 20)
    early = [{**row, "amount": row["amount"] + 5} if row["date"] == day(9) else row for row in rows]
    assert changes(only(LAG), old, early)["steps"] == 1
    assert changes(only(LAG), old, early, steps=2) == NOTHING


def test_members_that_are_gone_or_began_at_another_time_are_counted():
    rows = random_rows(4)
    old = split(rows, 20)
    less = [row for row in rows if (row["store"], row["item"]) != (1, "apple")]
    found = changes(only(LAG), old, less)
    assert found["groups"] == [{"by": ["store", "item"], "gone": 1, "first_seen": 0}]
    assert found["series"][0]["members"] == 1
    first = min(row["date"] for row in rows if (row["store"], row["item"]) == (1, "apple"))
    late = [row for row in rows if (row["store"], row["item"], row["date"]) != (1, "apple", first)]
    assert changes(only(LAG), old, late)["groups"] == [{"by": ["store", "item"], "gone": 0, "first_seen": 1}]


@pytest.mark.parametrize("days", [-7, 5])
def test_a_calendar_that_begins_elsewhere_is_laid_over_the_older_one(days):
    problem = only(LAG, panel={"absent": "missing"})
    rows = random_rows(5)
    old, start = split(rows, 20), min(row["date"] for row in rows)
    if days < 0:
        more = [*rows, {**rows[0], "store": 9, "date": start + timedelta(days=days)}]
        assert changes(problem, old, more) == NOTHING
    else:
        found = changes(problem, old, [row for row in rows if row["date"] >= start + timedelta(days=days)])
        assert found["first"] == str(start)
        assert found["last"] <= str(start + timedelta(days=days - 1))
        assert 1 <= found["steps"] <= days


def test_rows_of_joined_tables_that_changed_or_are_gone_are_counted():
    problem, rows = only(LAG, {"kind": "columns", "columns": ["size", "holiday"]},
                         {"kind": "category", "columns": ["family"]}), random_rows(6)  # fmt: skip
    found = dict(tables())
    found["items"] = [{**item, "size": item["size"] + (item["item"] == "pear")} for item in found["items"]]
    found["items"] = [
        {**item, "family": None} if item["item"] == "bread" else item for item in found["items"]
    ]
    found["items"] += [{"item": "rope", "family": "Tools", "size": 4}]
    found["days"] = [one for one in found["days"] if one["kind"] != "holiday"][:1] + found["days"][2:]
    told = {one["table"]: one for one in changes(problem, rows, rows, found)["tables"]}
    assert told["items"] == {"table": "items", "gone": 0, "changed": 2}
    assert told["days"]["changed"] == 0
    assert told["days"]["gone"] == 1


def test_times_within_days_are_told_as_times():
    problem = only(LAG, time={"column": "date", "step": "6h"}, horizon="6h",
                   split={"kind": "time", "holdout": "4d", "folds": 1})  # fmt: skip
    rows = random_rows(7)
    changed = [{**row, "amount": row["amount"] + 3} if row["date"] == day(15) else row for row in rows]
    assert changes(problem, rows, changed)["first"] == f"{day(15)}T00:00:00"


@pytest.mark.parametrize(("factor", "differs"), [(1 + 2e-6, False), (1 + 1e-4, True)])
def test_what_rounding_does_is_no_change(factor, differs):
    rows = [{**row, "amount": row["amount"] + 100} for row in random_rows(8)]
    assert np.float32(100 * (1 + 2e-6)) != np.float32(100)
    nudged = [{**row, "amount": row["amount"] * factor} for row in rows]
    assert (changes(only(LAG), rows, nudged)["steps"] > 0) == differs
