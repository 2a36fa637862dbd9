"""A state over newer data: to the bit what a fit of all data with the same vocabularies would be."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.storage import open_store
from cd4ml.errors import ContractError, DataError, UsageError
from cd4ml.features.columns import length, take
from cd4ml.features.fitting import fit_state
from cd4ml.features.plan import compile_plan
from cd4ml.features.state import State
from cd4ml.features.transform import transform
from cd4ml.models.history_update import changes_text, newer_state
from cd4ml.models.runtime import Bundle
from cd4ml.tables.facts import apply_filters, columns_needed, read_facts, read_tables
from cd4ml.tables.snapshot import take_snapshot
from tests.features.samples import day, document, only, random_rows, same_bits, shop, tables
from tests.tables.dataset_samples import write_tables

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAG = {"kind": "lag", "of": "amount", "lags": ["3d"]}


def snapshot(problem, place, rows, others=None):
    """Return a snapshot of rows; more of them make another one."""
    write_tables(place / "data", {"sales": rows, **(tables() if others is None else others)})
    store = open_store(str(place / "store"))
    return take_snapshot(problem, str(place / "data"), store, place / "snapshot", now=NOW)


def facts_of(problem, taken):
    plan = compile_plan(problem)
    return apply_filters(plan, read_facts(problem, taken.path, columns_needed(plan)))[0].columns


def bundle_of(problem, taken, until, steps=4):
    """Return what a bundle knows that was trained on the rows up to a day; without a model."""
    plan, facts = compile_plan(problem), facts_of(problem, taken)
    old = facts if problem.time is None else take(facts, facts["date"] <= np.datetime64(until, "s"))
    train = np.ones(length(old), dtype=bool)
    state = fit_state(plan, old, read_tables(problem, taken.path), train).trim(steps, plan.needed_steps)
    return Bundle("b" * 64, taken.path, problem, plan, state, {}, {}, None, None, None)


def whole_state(problem, taken, until):
    """Return a state fitted on all rows at once, which counts categories in those up to a day alone."""
    facts = facts_of(problem, taken)
    train = facts["date"] <= np.datetime64(until, "s")
    return fit_state(compile_plan(problem), facts, read_tables(problem, taken.path), train)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6), newer=st.integers(1, 9), fresh=st.booleans(), absent=st.booleans())
def test_features_are_those_of_a_fit_on_all_data_to_the_bit(seed, newer, fresh, absent):
    problem = shop(panel={"absent": "missing" if absent else "zero"})
    rows = random_rows(seed, days=30)
    for row in rows[::7]:
        row["amount"] = -1.0  # a return, which the filters leave out
    until = day(29 - newer)
    if fresh:  # a product and a shop that open after training
        rows += [{**row, "store": 3, "item": "rope"} for row in rows if row["date"] > until]
    with tempfile.TemporaryDirectory() as place:
        others = tables()
        others["items"] = [*others["items"], {"item": "rope", "family": "Tools", "size": 4}]
        taken = snapshot(problem, Path(place), rows, others)
        bundle, whole = bundle_of(problem, taken, until), whole_state(problem, taken, until)
        made = newer_state(bundle, taken, Path(place))
        facts, plan = facts_of(problem, taken), bundle.plan
        (Path(place) / "saved").mkdir()
        made.state.save(Path(place) / "saved")
        saved = State.load(Path(place) / "saved")
    assert made.changes["steps"] == 0 and changes_text(made.changes) == ""
    old = facts["date"] <= np.datetime64(until, "s")
    assert made.steps_added == (facts["date"].max() - facts["date"][old].max()) // np.timedelta64(1, "D")
    recent = facts["date"] > np.datetime64(until - timedelta(days=4), "s")
    for state in (made.state, saved):
        found = transform(plan, state, take(facts, recent))
        assert same_bits(found, transform(plan, whole, take(facts, recent)))
    assert same_bits(
        transform(plan, saved, take(facts, old)), transform(plan, bundle.state, take(facts, old))
    )


def test_rows_far_after_the_old_history_have_numbers_again(tmp_path):
    problem = shop()
    rows = random_rows(1, days=40)
    taken = snapshot(problem, tmp_path, rows)
    bundle = bundle_of(problem, taken, day(25))
    made = newer_state(bundle, taken, tmp_path)
    facts = facts_of(problem, taken)
    late = take(facts, facts["date"] == facts["date"].max())
    lags = [n for n, name in enumerate(bundle.plan.names) if name.startswith("log_amount_lag")]
    lags = [bundle.state.names.index(bundle.plan.names[n]) for n in lags]
    assert np.isnan(transform(bundle.plan, bundle.state, late)[:, lags]).all()
    assert not np.isnan(transform(bundle.plan, made.state, late)[:, lags]).any()


def test_the_table_begins_where_the_bundles_own_history_does_or_holds_as_many_steps_as_asked(tmp_path):
    problem = shop()
    taken = snapshot(problem, tmp_path, random_rows(2, days=40))
    bundle = bundle_of(problem, taken, day(25))
    made = newer_state(bundle, taken, tmp_path).state
    assert made.first_step == bundle.state.first_step
    assert made.last_step > bundle.state.last_step
    short = newer_state(bundle, taken, tmp_path, steps=2).state
    assert {panel.steps for panel in short.panels} == {2 + bundle.plan.needed_steps}
    facts = facts_of(problem, taken)
    last = take(facts, facts["date"] >= facts["date"].max() - np.timedelta64(86400, "s"))
    assert same_bits(transform(bundle.plan, short, last), transform(bundle.plan, made, last))


def test_data_that_contradict_the_past_are_told(tmp_path):
    problem, rows = shop(), random_rows(3, days=30)
    bundle = bundle_of(problem, snapshot(problem, tmp_path / "a", rows), day(22))
    hit = next(row for row in rows if row["date"] == day(20))
    changed = [{**row, "amount": row["amount"] + 500} if row is hit else row for row in rows]
    changed = [row for row in changed if (row["store"], row["item"]) != (2, "nail")]
    items = [{**item, "size": 9} if item["item"] == "pear" else item for item in tables()["items"]]
    taken = snapshot(problem, tmp_path / "b", changed, {**tables(), "items": items})
    made = newer_state(bundle, taken, tmp_path)
    text = changes_text(made.changes)
    assert text.startswith("the data contradict the bundle's own history: ")
    assert "members of store, item that are gone: 1" in text
    assert "rows of 'items' changed: 1, gone: 0" in text
    assert f"to {made.changes['last']}" in text


def test_older_data_are_refused(tmp_path):
    problem, rows = only(LAG), random_rows(4, days=30)
    bundle = bundle_of(problem, snapshot(problem, tmp_path / "a", rows), day(25))
    older = snapshot(problem, tmp_path / "b", [row for row in rows if row["date"] < day(24)])
    with pytest.raises(DataError, match=r"history up to 2024-03-16 or later.*found one up to 2024-03-1\d"):
        newer_state(bundle, older, tmp_path)


def test_data_that_begin_too_late_are_refused_and_those_that_reach_far_enough_are_not(tmp_path):
    problem, rows = only({"kind": "lag", "of": "amount", "lags": ["10d"]}), random_rows(5, days=40)
    bundle = bundle_of(problem, snapshot(problem, tmp_path / "a", rows), day(25))
    late = [row for row in rows if row["date"] > day(32)]
    with pytest.raises(DataError, match=r"expected data from 2024-03-2\d on.*Give all data, the old and the"):
        newer_state(bundle, snapshot(problem, tmp_path / "b", late), tmp_path)
    enough = [row for row in rows if row["date"] > day(25)]
    made = newer_state(bundle, snapshot(problem, tmp_path / "c", enough), tmp_path)
    assert made.changes["steps"] > 0  # what it no longer knows is told


def test_a_snapshot_of_another_problem_or_without_what_is_needed_is_refused(tmp_path):
    problem, rows = shop(), random_rows(6, days=30)
    bundle = bundle_of(problem, snapshot(problem, tmp_path / "a", rows), day(25))
    other = snapshot(shop(name="market"), tmp_path / "b", rows)
    with pytest.raises(DataError, match=r"expected a snapshot of 'shop', .*; found one of 'market'"):
        newer_state(bundle, other, tmp_path)
    found = document()["tables"]
    found["sales"]["columns"]["promo"] = {"type": "text", "nulls": True}
    changed = snapshot(only(LAG, tables=found, derived={}), tmp_path / "c", rows)
    with pytest.raises(ContractError, match=r"expected 'sales\.promo' \(boolean\).*found text"):
        newer_state(bundle, changed, tmp_path)


def test_features_that_look_at_nothing_but_the_row_have_no_history(tmp_path):
    about = {"time": None, "panel": None, "horizon": None, "metrics": {"primary": "wape"}}
    about |= {"split": {"kind": "random", "holdout": 0.3}}
    plain = only({"kind": "columns", "columns": ["promo"]}, joins=[], derived={}, sensitive=[], slices=[],
                 **about)  # fmt: skip
    rows = random_rows(7)
    taken = snapshot(plain, tmp_path / "a", rows)
    bundle = bundle_of(plain, taken, day(30))
    with pytest.raises(UsageError, match="the features of 'shop' look at nothing but the row"):
        newer_state(bundle, taken, tmp_path)
    joined = only(
        {"kind": "columns", "columns": ["size"]}, {"kind": "category", "columns": ["item"]}, **about
    )
    taken = snapshot(joined, tmp_path / "b", rows)
    bundle = bundle_of(joined, taken, day(30))
    items = [{**item, "size": 50} for item in tables()["items"]]
    items += [{"item": "rope", "family": "Tools", "size": 4}]
    newer = snapshot(joined, tmp_path / "c", rows, {**tables(), "items": items})
    made = newer_state(bundle, newer, tmp_path)
    assert (made.steps_added, made.changes["tables"]) == (0, [{"table": "items", "gone": 0, "changed": 4}])
    facts = facts_of(joined, newer)
    assert (transform(bundle.plan, made.state, facts)[:, 0] == 50).all()


def test_the_order_of_rows_in_the_files_does_not_matter(tmp_path):
    problem, rows = shop(), random_rows(8, days=30)
    taken = snapshot(problem, tmp_path / "a", rows)
    bundle = bundle_of(problem, taken, day(25))
    made = newer_state(bundle, taken, tmp_path)
    again = newer_state(bundle, snapshot(problem, tmp_path / "b", rows[::-1]), tmp_path)
    for number, panel in enumerate(made.state.panels):
        assert same_bits(panel.values, again.state.panels[number].values)
