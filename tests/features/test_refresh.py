"""A fitted state over newer data: what was counted stays, what is looked up moves on."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import DataError
from cd4ml.features.columns import take
from cd4ml.features.fitting import refresh_state
from cd4ml.features.state import State
from cd4ml.features.transform import transform
from tests.features.samples import (
    columns_of,
    fitted,
    only,
    random_rows,
    same_bits,
    shop,
    table_columns,
    tables,
)

TREND = {"kind": "calendar", "parts": ["trend"]}
LAG = {"kind": "lag", "of": "amount", "lags": ["3d"]}


def _refreshed(problem, plan, state, rows, others=None, **options):
    found = table_columns(problem, tables() if others is None else others)
    return refresh_state(plan, state, columns_of(problem.fact, rows), found, **options)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 20))
def test_on_the_data_of_the_fit_the_features_are_the_same_to_the_bit_also_from_a_cut_state(seed, steps):
    problem, rows = shop(), random_rows(seed)
    plan, state, facts = fitted(problem, rows)
    for before in (state, state.trim(steps, plan.needed_steps)):
        again = _refreshed(problem, plan, before, rows)
        assert same_bits(transform(plan, again, facts), transform(plan, state, facts))
        assert again.last_step == state.last_step


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_newer_rows_get_the_features_that_a_fit_with_the_same_training_rows_gives_them(seed):
    problem, rows = shop(), random_rows(seed)
    cut = max(row["date"] for row in rows) - timedelta(days=6)
    old = [row for row in rows if row["date"] <= cut]
    train = np.array([row["date"] <= cut for row in rows])
    plan, before, _ = fitted(problem, old)
    _, whole, facts = fitted(problem, rows, train=train)
    held = take(facts, ~train)
    refreshed = _refreshed(problem, plan, before, rows)
    assert refreshed.names == whole.names
    assert same_bits(transform(plan, refreshed, held), transform(plan, whole, held))
    assert not same_bits(transform(plan, before, held), transform(plan, whole, held))


def test_the_vocabulary_and_the_names_stay_those_of_training():
    problem = only({"kind": "category", "columns": ["item"]}, {"kind": "category", "columns": ["item"],
                   "encoding": "one_hot", "max_categories": 2})  # fmt: skip
    rows = [row for row in random_rows(2) if row["item"] != "nail"]
    plan, state, _ = fitted(problem, rows)
    more = rows + [{**row, "item": "nail"} for row in rows] * 5
    again = _refreshed(problem, plan, state, more)
    assert again.vocabularies == state.vocabularies
    assert (again.names, again.kinds) == (state.names, state.kinds)


@pytest.mark.parametrize("days", [-9, 0, 9])
def test_the_trend_counts_from_the_training_that_was_whatever_the_history_begins_with(days):
    problem = only(TREND, LAG)
    rows = random_rows(3)
    plan, state, _ = fitted(problem, rows)
    first = min(row["date"] for row in rows)
    later = [row for row in rows if row["date"] >= first + timedelta(days=days)]
    if days < 0:
        later += [{**row, "date": row["date"] + timedelta(days=days)} for row in rows]
        later = list({(row["date"], row["store"], row["item"]): row for row in later}.values())
    facts = columns_of(problem.fact, rows)
    again = _refreshed(problem, plan, state, later)
    trend = state.names.index("date_trend")
    assert same_bits(
        transform(plan, again, facts)[:, trend].copy(), transform(plan, state, facts)[:, trend].copy()
    )
    assert (again.origin_seconds - state.origin_seconds) // 86400 == (
        min(row["date"] for row in later) - first
    ).days


def test_steps_of_several_days_stay_where_they_were():
    problem = only({"kind": "lag", "of": "amount", "lags": ["14d"]}, time={"column": "date", "step": "7d"},
                   horizon="7d", split={"kind": "time", "holdout": "7d", "folds": 1})  # fmt: skip
    rows = [row for row in random_rows(4, days=60) if row["item"] == "apple" and row["store"] == 1]
    rows.sort(key=lambda row: row["date"])
    plan, state, _ = fitted(problem, rows)
    again = _refreshed(problem, plan, state, rows[3:])
    assert rows[3]["date"] > rows[0]["date"]
    assert (again.origin_seconds - state.origin_seconds) % (7 * 86400) == 0
    facts = columns_of(problem.fact, rows[20:])
    assert same_bits(transform(plan, again, facts), transform(plan, state, facts))


def test_joined_tables_are_the_new_ones():
    problem = only({"kind": "columns", "columns": ["size"]})
    rows = random_rows(5)
    plan, state, facts = fitted(problem, rows)
    items = [{**item, "size": item["size"] + 10} for item in tables()["items"]]
    again = _refreshed(problem, plan, state, rows, tables() | {"items": items})
    assert np.array_equal(transform(plan, again, facts), transform(plan, state, facts) + 10)


def test_a_problem_without_time_has_tables_alone_to_refresh():
    problem = only(
        {"kind": "columns", "columns": ["size"]},
        {"kind": "category", "columns": ["item"]},
        time=None,
        panel=None,
        horizon=None,
        metrics={"primary": "wape"},
        split={"kind": "random", "holdout": 0.3},
    )
    plan, state, facts = fitted(problem, random_rows(6))
    again = _refreshed(problem, plan, state, random_rows(6))
    assert (again.origin_seconds, again.first_train_step, again.panels) == (0, 0, ())
    assert same_bits(transform(plan, again, facts), transform(plan, state, facts))


def test_a_history_beyond_the_memory_is_a_file_and_may_be_saved(tmp_path):
    problem, rows = shop(), random_rows(7)
    plan, state, facts = fitted(problem, rows)
    again = _refreshed(problem, plan, state, rows, memory_budget_bytes=1, scratch=tmp_path)
    assert any(isinstance(panel.values, np.memmap) for panel in again.panels)
    again.save(tmp_path)
    assert same_bits(transform(plan, State.load(tmp_path), facts), transform(plan, state, facts))


def test_no_rows_are_no_history():
    problem, rows = shop(), random_rows(8)
    plan, state, _ = fitted(problem, rows)
    with pytest.raises(DataError, match="expected rows to take the history from; found none"):
        _refreshed(problem, plan, state, [])
