"""A row's features are the same to the bit alone, among many, in any order and in chunks of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import DataError
from cd4ml.features.columns import CategoryArray, take
from cd4ml.features.transform import enrich, transform, unseen
from tests.features.samples import SHOP, columns_of, day, fitted, only, random_rows, same_bits, shop

DERIVED = {
    **SHOP["derived"],
    "power": "amount ** fill(stock, 2) / (store + 0.5)",
    "shape": "where(amount > 9, 'Wide', lower(item))",
    "ratio": "sqrt(abs(amount - 3)) % 0.7 + expm1(minimum(amount, 20) / 30)",
}
FEATURES = [
    *SHOP["features"],
    {"kind": "rolling", "of": "power", "windows": ["5d"], "statistics": ["mean", "std"]},
    {"kind": "rolling", "of": "ratio", "windows": ["20d"], "statistics": ["sum", "std", "median"]},
]


def _asked(seed, problem):
    """Return rows to ask for: recorded ones, later ones, nulls, unseen categories and entities."""
    rng = np.random.default_rng(seed)
    rows = random_rows(seed, days=30)[:60]
    for row in rows[::5]:
        row |= {"item": ["melon", None, "Apple"][rng.integers(0, 3)], "promo": None}
    for row in rows[::7]:
        row |= {"store": int(rng.integers(1, 99)), "date": day(int(rng.integers(-9, 60)))}
    return columns_of(problem.fact, rows)


def _category_heavy():
    """A problem in which every raw column may be used, so that derived texts are categories too."""
    features = [
        {"kind": "columns", "columns": ["power_of", "small"]},
        {"kind": "category", "columns": ["shape", "line"]},
        {"kind": "category", "columns": ["line"], "encoding": "one_hot"},
        {"kind": "category", "columns": ["shape"], "encoding": "frequency"},
    ]
    derived = {
        "power_of": "fill(stock, 2) ** (store / 3)",
        "small": "log1p(fill(stock, 0)) * sqrt(store) // 0.3",
        "shape": "where(store > 1, 'Wide', lower(item))",
        "line": "lower(fill(family, item))",
    }
    return shop(
        time=None,
        panel=None,
        horizon=None,
        features=features,
        derived=derived,
        split={"kind": "random", "holdout": 0.2},
        metrics={"primary": "wape"},
        baselines=[{"name": "all", "kind": "mean"}],
    )


@pytest.mark.parametrize("problem", [shop(derived=DERIVED, features=FEATURES), _category_heavy()])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), chunk=st.integers(1, 70))
def test_a_row_alone_is_the_same_to_the_bit_as_among_many_shuffled_and_in_chunks(problem, seed, chunk):
    plan, state, _ = fitted(problem, random_rows(seed))
    asked = _asked(seed, problem)
    whole = transform(plan, state, asked)
    assert whole.dtype == np.float32
    assert whole.flags.c_contiguous
    assert same_bits(transform(plan, state, asked, chunk_rows=chunk), whole)
    order = np.random.default_rng(seed).permutation(len(whole))
    assert same_bits(transform(plan, state, take(asked, order)), whole[order])
    assert same_bits(
        transform(plan, state, take(asked, order), chunk_rows=chunk, memory_budget_bytes=0), whole[order]
    )
    for index in order[:12]:
        assert same_bits(transform(plan, state, take(asked, np.array([index]))), whole[[index]])
    assert np.isfinite(whole[~np.isnan(whole)]).all()


def test_other_codes_for_the_same_texts_give_the_same_features():
    problem = _category_heavy()
    plan, state, facts = fitted(problem, random_rows(2))
    item = facts["item"]
    order = np.arange(len(item.categories))[::-1]
    turned = CategoryArray(
        np.append(order, -1)[item.codes].astype(np.int32), tuple(item.categories[i] for i in order)
    )
    assert same_bits(transform(plan, state, facts), transform(plan, state, {**facts, "item": turned}))


def test_whole_numbers_as_integers_and_as_floats_give_the_same_features():
    plan, state, facts = fitted(shop(), random_rows(2))
    floats = {**facts, "store": facts["store"].astype(np.float64)}
    assert same_bits(transform(plan, state, facts), transform(plan, state, floats))


def test_categories_are_numbered_by_frequency_and_the_rest_share_a_bucket():
    features = [
        {"kind": "category", "columns": ["item"], "max_categories": 2},
        {"kind": "category", "columns": ["item"], "encoding": "one_hot", "max_categories": 2},
        {"kind": "category", "columns": ["item"], "encoding": "frequency", "max_categories": 2},
    ]
    items = ["pear", "apple", "pear", "nail", None]
    rows = [{"date": day(0), "store": 1, "item": item, "amount": 1.0} for item in items]
    problem = only(*features)
    plan, state, facts = fitted(problem, rows)
    assert state.names == ("item", "item=pear", "item=apple", "item=<other>", "item_frequency")
    assert state.kinds == ("category",) * 5
    expected = {
        "pear": [0, 1, 0, 0, 0.4],
        "apple": [1, 0, 1, 0, 0.2],
        "nail": [2, 0, 0, 1, 0],
        None: [np.nan, 0, 0, 0, np.nan],
        "new": [2, 0, 0, 1, 0],
    }
    np.testing.assert_array_equal(
        transform(plan, state, facts), np.array([expected[item] for item in items], dtype=np.float32)
    )
    new = columns_of(problem.fact, [{**rows[0], "item": "new"}])
    np.testing.assert_array_equal(transform(plan, state, new), np.array([expected["new"]], dtype=np.float32))
    assert unseen(plan, state, new) == {"item": ["new"]}
    assert unseen(plan, state, columns_of(problem.fact, [rows[0]])) == {}


def test_numbers_beyond_float32_are_unknown():
    problem = only({"kind": "columns", "columns": ["big"]}, derived={"big": "store * 1e38"})
    plan, state, facts = fitted(problem, random_rows(1))
    found = transform(plan, state, {**facts, "store": np.full(len(facts["store"]), 9)})
    assert np.isnan(found).all()


def test_a_caller_need_not_send_what_no_feature_uses():
    plan, state, facts = fitted(shop(), random_rows(1))
    assert set(plan.inputs) == {"date", "store", "item", "promo"}
    asked = {name: facts[name] for name in plan.inputs}
    assert same_bits(transform(plan, state, asked), transform(plan, state, facts))


def test_a_missing_input_is_named():
    plan, state, facts = fitted(shop(), random_rows(1))
    wrong = {"stores" if name == "store" else name: value for name, value in facts.items()}
    with pytest.raises(DataError, match="expected the column 'store'; did you mean 'stores'"):
        transform(plan, state, wrong)
    with pytest.raises(DataError, match="expected the column 'promo'; it is absent"):
        transform(plan, state, {name: facts[name] for name in ("date", "store", "item")})


def test_no_rows_give_no_features():
    plan, state, facts = fitted(shop(), random_rows(1))
    assert transform(plan, state, take(facts, slice(0, 0))).shape == (0, len(state.names))


def test_features_are_written_where_the_caller_wants_them():
    plan, state, facts = fitted(shop(), random_rows(1))
    place = np.full((len(facts["store"]), len(state.names)), 5, dtype=np.float32)
    assert transform(plan, state, facts, out=place, chunk_rows=7) is place
    assert same_bits(place, transform(plan, state, facts))


def test_enrich_gives_all_that_can_be_made_or_what_is_asked_for():
    plan, state, facts = fitted(shop(), random_rows(1))
    assert set(enrich(plan, state, facts)) >= {"log_amount", "line", "holiday", "price", "family"}
    without = {name: value for name, value in facts.items() if name not in ("amount", "item")}
    partly = enrich(plan, state, without)
    assert "log_amount" not in partly
    assert "family" not in partly
    assert "holiday" in partly
    assert set(enrich(plan, state, facts, ["family"])) == {*facts, "family", "size"}


def test_a_large_history_without_entity_columns_is_read_in_the_order_of_the_rows():
    plan, state, facts = fitted(
        only({"kind": "lag", "of": "price", "by": [], "lags": ["3d"]}), random_rows(1)
    )
    found = transform(plan, state, facts, chunk_rows=5, memory_budget_bytes=0)
    assert same_bits(found, transform(plan, state, facts))


def test_windows_longer_than_a_chunk_may_be_are_worked_on_in_small_chunks():
    feature = {"kind": "rolling", "of": "amount", "windows": ["9000000d"], "statistics": ["count"]}
    plan, state, facts = fitted(only(feature, entity=[]), random_rows(1)[:5])
    assert transform(plan, state, facts).shape == (5, 1)


def test_a_state_serves_two_plans():
    rows = random_rows(1)
    plan, state, facts = fitted(only({"kind": "age"}), rows)
    first = transform(plan, state, facts)
    other = fitted(only({"kind": "age"}), rows)[0]
    assert same_bits(transform(other, state, facts), first)
    assert same_bits(transform(plan, state, facts), first)
