"""No feature at a time changes when what is recorded later changes."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.transform import seasonal_naive, transform
from tests.features.samples import (
    HORIZON_DAYS,
    ITEMS,
    columns_of,
    day,
    fitted,
    random_rows,
    same_bits,
    shop,
    tables,
)

STOCK_LATE_DAYS = 2
DAYS = 24


def _changed_rows(rows, cut, rng):
    """Return rows that agree with `rows` in all that is recorded until the day `cut`."""
    found = []
    for old in rows:
        row = dict(old)
        if row["date"] > cut:
            if rng.random() < 0.4:
                continue
            row |= {"amount": float(rng.gamma(2.0, 50.0)), "promo": bool(rng.random() < 0.5)}
        if row["date"] > cut - timedelta(days=STOCK_LATE_DAYS):
            row["stock"] = float(rng.integers(0, 900))
        found.append(row)
    for store in (1, 2, 7):  # rows, entities and days that were not there
        for item, _, _ in ITEMS:
            for step in range(DAYS + 5):
                if day(step) > cut and rng.random() < 0.2:
                    found.append(
                        {"date": day(step), "store": store, "item": item, "amount": 77.5, "promo": True}
                    )
    seen = {(row["date"], row["store"], row["item"]): row for row in reversed(found)}
    return [seen[key] for key in sorted(seen, key=lambda _: rng.random())]


def _changed_tables(cut, rng):
    found = tables()
    found["oil"] = [
        {**row, "price": float(rng.normal(500, 9))} if row["date"] > cut else row
        for row in found["oil"]
        if row["date"] <= cut or rng.random() < 0.8
    ]
    return found


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), absent=st.sampled_from(["zero", "missing"]), data=st.data())
def test_no_feature_changes_when_data_after_its_horizon_change(seed, absent, data):
    problem, rows = shop(panel={"absent": absent}), random_rows(seed, days=DAYS)
    first = min(row["date"] for row in rows)
    later = [row for row in rows if row["date"] >= first + timedelta(days=HORIZON_DAYS)]
    row = data.draw(st.sampled_from(later))
    cut = row["date"] - timedelta(days=HORIZON_DAYS)
    rng = np.random.default_rng(seed)
    others = {"before": rows, "after": _changed_rows(rows, cut, rng)}
    prices = {"before": tables(), "after": _changed_tables(cut, rng)}
    asked = columns_of(problem.fact, [row])
    found, naive = [], []
    for name, members in others.items():
        train = np.array([member["date"] <= cut for member in members])
        plan, state, _ = fitted(problem, members, train=train, others=prices[name])
        found.append(transform(plan, state, asked))
        naive.append(seasonal_naive(plan, state, asked, timedelta(days=7)))
    names = [name for number, name in enumerate(state.names) if not same_bits(*(x[:, number] for x in found))]
    assert names == []
    assert same_bits(*naive)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_the_last_recorded_day_that_is_allowed_does_change_features(seed):
    """The property above would hold of constants too: here the newest allowed day is changed."""
    problem, rows = shop(), random_rows(seed, days=DAYS)
    last = max(row["date"] for row in rows)
    asked = {**rows[0], "date": last + timedelta(days=HORIZON_DAYS)}
    newest = next(row for row in rows if row["date"] == last)
    asked |= {"store": newest["store"], "item": newest["item"]}
    more = [{**row, "amount": row["amount"] + 5.0} if row is newest else row for row in rows]
    found = []
    for members in (rows, more):
        plan, state, _ = fitted(problem, members)
        found.append(transform(plan, state, columns_of(problem.fact, [asked]))[0])
    changed = {name for name, a, b in zip(state.names, *found, strict=True) if not np.array_equal(a, b)}
    assert {"log_amount_lag_3d", "amount_mean_3d", "amount_total_by_item_mean_5d"} <= changed
    assert "log_amount_lag_7d" not in changed
