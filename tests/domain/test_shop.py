"""The practice shop has exactly the rows that were asked for, and sells by the laws that it tells."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.shop import (
    FAMILIES,
    STORES,
    ShopSpec,
    cached_shop,
    is_closed,
    make_demand,
    oil_prices,
    plan_shop,
    sales_of_day,
)
from cd4ml.domain.shop.process import shocks_of_day
from cd4ml.errors import NotFoundError, UsageError

SPEC = ShopSpec(rows=150_000, days=730, seed=3)


@dataclass(frozen=True)
class Sold:
    """All of a shop as matrices of days by pairs: sales, whether promoted, whether listed."""

    shop: object
    sales: np.ndarray
    promoted: np.ndarray
    listed: np.ndarray

    def family(self, name):
        plan = self.shop.demand.shop
        number = next(i for i, family in enumerate(FAMILIES) if family.name == name)
        return plan.item_family[plan.item] == number

    def in_stores(self, keep):
        plan = self.shop.demand.shop
        return np.array([keep(store) for store in plan.stores])[plan.store]

    @cached_property
    def dates(self):
        return [self.shop.spec.date_of(day) for day in range(self.shop.spec.days)]


@cache
def sold_by(spec):
    shop = cached_shop(spec)
    demand, shape = shop.demand, (spec.days, shop.demand.rate.size)
    sales, promoted, listed = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    for day in range(spec.days):
        rows = sales_of_day(demand, day)
        sales[day, rows.pair] = rows.unit_sales
        promoted[day] = demand.promoted(day)
        listed[day] = demand.listed(day) & demand.is_open(day)
    return Sold(shop, sales, promoted, listed)


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(100, 6000), days=st.integers(28, 100), seed=st.integers(0, 2**32))
def test_the_rows_come_out_exactly(rows, days, seed):
    shop = plan_shop(ShopSpec(rows=rows, days=days, seed=seed))
    made = [sales_of_day(shop.demand, day) for day in range(days)]
    assert sum(sold.pair.size for sold in made) == rows
    assert [sold.pair.size for sold in made] == shop.rows_per_day.tolist()
    by_pair = np.bincount(np.concatenate([sold.pair for sold in made]), minlength=shop.rows_per_pair.size)
    assert by_pair.tolist() == shop.rows_per_pair.tolist()


def test_one_row_a_day_is_enough_for_a_shop():
    assert plan_shop(ShopSpec(rows=28, days=28)).rows_per_day.sum() == 28


def test_at_most_one_pair_is_cut_within_its_time():
    shop = cached_shop(SPEC)
    admitted = shop.demand.admitted
    assert ((admitted > 0) & (admitted < SPEC.days)).sum() <= 1
    assert shop.demand.shop.rank[admitted == 0].max() < shop.demand.shop.rank[admitted > 0].min()


def test_a_day_is_the_same_whatever_was_made_before_it():
    shop = cached_shop(SPEC)
    forward = [sales_of_day(shop.demand, day) for day in range(100, 110)]
    backward = [sales_of_day(shop.demand, day) for day in reversed(range(100, 110))][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert one.unit_sales.tolist() == other.unit_sales.tolist()
        assert one.transactions.tolist() == other.transactions.tolist()


def test_the_plan_does_not_touch_the_draws_of_the_pairs_that_stay():
    shop = cached_shop(SPEC)
    candidates = make_demand(SPEC, shop.demand.rate.size)
    for day in (0, 300, 729):
        planned, free = sales_of_day(shop.demand, day), sales_of_day(candidates, day)
        stays = np.isin(free.pair, np.flatnonzero(shop.demand.listed(day)))
        assert free.unit_sales[stays].tolist() == planned.unit_sales.tolist()


def test_another_seed_makes_another_shop():
    other = cached_shop(ShopSpec(SPEC.rows, SPEC.days, seed=4))
    assert other.demand.shop.item_nbr.tolist() != cached_shop(SPEC).demand.shop.item_nbr.tolist()


def test_the_default_shop_is_dense_enough_to_learn_from_its_days():
    sold = sold_by(SPEC)
    assert 7 <= len(sold.shop.demand.shop.stores) <= 11
    assert 200 <= (sold.shop.rows_per_pair > 0).sum() <= 500
    assert 0.75 < (sold.sales != 0).sum() / sold.listed.sum() < 0.95


def test_a_large_shop_has_all_stores_and_a_tiny_one_three():
    assert len(make_demand(ShopSpec(20_000_000, 1688), 100).shop.stores) == len(STORES) == 54
    assert len(make_demand(ShopSpec(300, 100), 4).shop.stores) == 3


def test_returns_are_a_small_share_and_no_sale_is_zero():
    sold = sold_by(SPEC)
    share = (sold.sales < 0).sum() / (sold.sales != 0).sum()
    assert 0.001 < share < 0.003


def test_only_weighed_items_have_decimals_and_at_most_three():
    sold = sold_by(SPEC)
    plan = sold.shop.demand.shop
    broken = (sold.sales != np.floor(sold.sales)).any(axis=0)
    assert broken.any() and plan.weighed[broken].all()
    assert np.array_equal(np.round(sold.sales, 3), sold.sales)


def test_popularity_has_a_heavy_tail():
    sold = sold_by(ShopSpec(400_000, 60, seed=1))
    plan = sold.shop.demand.shop
    by_item = np.sort(np.bincount(plan.item, weights=sold.sales.sum(axis=0)))[::-1]
    tenth = by_item[: by_item.size // 10].sum() / by_item.sum()
    assert 0.25 < tenth < 0.7


def test_some_items_are_new_and_some_leave():
    sold = sold_by(SPEC)
    plan = sold.shop.demand.shop
    new, left = plan.first_day > 0, plan.last_day < SPEC.days - 1
    assert 0.05 < new.mean() < 0.4 and 0.01 < left.mean() < 0.25
    assert plan.item[new].min() > plan.item[~new].max()
    for pair in np.flatnonzero((new | left) & (sold.shop.rows_per_pair > 0)):
        days = np.flatnonzero(sold.sales[:, pair])
        assert plan.first_day[pair] <= days[0] and days[-1] <= plan.last_day[pair]


def test_nothing_is_sold_and_nobody_comes_when_stores_are_closed():
    sold = sold_by(SPEC)
    closed = [day for day, when in enumerate(sold.dates) if is_closed(when)]
    assert len(closed) == 4
    for day in closed:
        rows = sales_of_day(sold.shop.demand, day)
        assert rows.pair.size == rows.transactions.size == 0


def test_transactions_follow_the_sales_of_their_store():
    shop = cached_shop(SPEC)
    days = [d for d in range(400, 520) if shop.demand.is_open(d)]
    made = [sales_of_day(shop.demand, day) for day in days]
    receipts = np.array([sold.transactions for sold in made])
    assert receipts.min() > 100
    store = shop.demand.shop.store
    sales = np.array([np.bincount(store[s.pair], s.unit_sales, receipts.shape[1]) for s in made])
    assert np.corrcoef(receipts.sum(axis=1), sales.sum(axis=1))[0, 1] > 0.7


def test_oil_has_working_days_alone_and_starts_blank():
    days, price = oil_prices(ShopSpec(100_000, 1688))
    assert all(when.weekday() < 5 for when in days)
    assert np.isnan(price[0]) and 0.01 < np.isnan(price).mean() < 0.06
    known = price[~np.isnan(price)]
    assert known[:200].mean() > 80 and known[-200:].mean() < 65 and known.min() >= 26


@pytest.mark.parametrize(
    ("rows", "days", "seed", "words"),
    [
        (100, 730, 0, "expected at least one row a day, found 100 rows for 730 days"),
        (10_000, 2000, 0, "expected 28 to 1688 days, found 2000"),
        (10_000, 7, 0, "expected 28 to 1688 days, found 7"),
        (10_000, 100, -1, "expected a seed of 0 or more, found -1"),
    ],
)
def test_an_impossible_shop_is_refused_with_what_was_found(rows, days, seed, words):
    with pytest.raises(UsageError, match=words):
        ShopSpec(rows, days, seed)


def test_a_misspelt_scenario_gets_its_nearest_name():
    with pytest.raises(NotFoundError, match="did you mean 'drift'"):
        ShopSpec(10_000, 100, scenarios=("drit",))


def test_scenarios_are_a_set():
    one = ShopSpec(10_000, 100, scenarios=("drift", "bias", "drift"))
    assert one == ShopSpec(10_000, 100, scenarios=("bias", "drift"))


def test_a_date_outside_the_shop_is_refused():
    with pytest.raises(UsageError, match="expected a date from"):
        SPEC.day_of(SPEC.first_date.replace(year=2012))


def test_stores_of_a_cluster_share_their_taste_for_families():
    plan = make_demand(ShopSpec(4_000_000, 60, seed=8), 40_000).shop
    item_level = np.bincount(plan.item, np.log(plan.rate)) / np.bincount(plan.item)
    cluster = np.array([store.cluster for store in plan.stores])
    table = np.full((len(plan.stores), 3), np.nan)
    for store in range(len(plan.stores)):
        for family in range(3):
            there = (plan.store == store) & (plan.item_family[plan.item] == family)
            table[store, family] = (np.log(plan.rate[there]) - item_level[plan.item[there]]).mean()
    taste = table - table.mean(axis=1, keepdims=True)
    same = cluster[:, None] == cluster[None, :]
    np.fill_diagonal(same, False)
    off = np.abs(taste[:, None, :] - taste[None, :, :]).mean(axis=2)
    assert off[same].mean() < 0.5 * off[~same & ~np.eye(len(cluster), dtype=bool)].mean()


def test_the_shocks_of_stores_and_families_have_mean_one():
    demand = make_demand(ShopSpec(20_000_000, 1688), 100)
    shocks = np.array([shocks_of_day(demand, day) for day in range(1500)])
    assert shocks.shape == (1500, len(STORES), len(FAMILIES))
    assert shocks.mean() == pytest.approx(1, abs=0.0009)
    assert np.log(shocks[:, :, 0]).std() == pytest.approx(np.hypot(0.05, 0.06), rel=0.05)
