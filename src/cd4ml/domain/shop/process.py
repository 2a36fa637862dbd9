"""The sales of the practice shop, a day at a time, and the cut that makes the rows come out exactly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import accumulate

import numpy as np

from cd4ml.domain.shop.assortment import FAMILIES, BoolArray, FloatArray, IntArray
from cd4ml.domain.shop.demand import PROMOTIONS_RECORDED_FROM, Demand, day_effects, make_demand
from cd4ml.domain.shop.scenarios import late_noise, stockout_share
from cd4ml.domain.shop.spec import ShopSpec, generator
from cd4ml.errors import UsageError

__all__ = [
    "DayMap",
    "DaySales",
    "Shop",
    "cached_shop",
    "cells_of_day",
    "oil_prices",
    "plan_shop",
    "sales_of_day",
]

RETURN_SHARE, RETURNED_PART = 0.002, 0.3
FAMILY_SHOCK, STORE_SHOCK = 0.05, 0.06
PIECE_SPREAD = 0.2
"""Spread of the weight of a piece of an item that is sold by the kilogram, whose mean is 1."""
FORTNIGHT = 14
EMPTY_DAYS_STOP = 0.4
"""Probability, on each further day, that an empty shelf is filled."""
TRANSACTIONS = 1500.0
OIL_STEP, OIL_MEMORY = 0.8, 0.97
SAMPLED_DAYS = 28
ATTEMPTS = 8
TAIL_SHARE, MIN_TAIL = 0.2, 64

DayMap = Callable[[Callable[[int], "DaySales"], Iterable[int]], Iterator["DaySales"]]
"""A `map` that keeps the order; one with threads makes days at the same time."""


@dataclass(frozen=True, eq=False)
class DaySales:
    """What was sold on a day: the rows of train.csv and of transactions.csv.

    Attributes
    ----------
    date : datetime.date
    pair : ndarray of int, shape (n,)
        Index of the pair of each row, ascending.
    store_nbr, item_nbr : ndarray of int, shape (n,)
    unit_sales : ndarray of float, shape (n,)
        Never zero; negative for a return.
    onpromotion : ndarray of bool, shape (n,), or None
        None on days on which promotions were not yet recorded.
    transactions : ndarray of int, shape (S,)
        Receipts of each store; empty when the stores are closed.
    """

    date: date
    pair: IntArray
    store_nbr: IntArray
    item_nbr: IntArray
    unit_sales: FloatArray
    onpromotion: BoolArray | None
    transactions: IntArray


@dataclass(frozen=True, eq=False)
class Shop:
    """A planned shop, whose days hold `spec.rows` rows together.

    Attributes
    ----------
    demand : Demand
        The rates of its pairs; those that the plan left out are listed on no day.
    rows_per_day : ndarray of int, shape (D,)
    rows_per_pair : ndarray of int, shape (P,)
    """

    demand: Demand
    rows_per_day: IntArray
    rows_per_pair: IntArray

    @property
    def spec(self) -> ShopSpec:
        """What was asked for."""
        return self.demand.spec


def shocks_of_day(demand: Demand, day: int) -> FloatArray:
    """Return what nobody foresees: a factor of mean 1 for each store and each family of a day (S, F)."""
    rng = generator(demand.spec.seed, "shocks", demand.spec.date_of(day).toordinal())
    _, shrink = late_noise(demand.spec, day)
    store, family = STORE_SHOCK * shrink, FAMILY_SHOCK * shrink
    by_store = np.exp(store * rng.standard_normal(len(demand.shop.stores)) - store**2 / 2)
    by_family = np.exp(family * rng.standard_normal(len(FAMILIES)) - family**2 / 2)
    return np.outer(by_store, by_family)


def draw_sales(
    rng: np.random.Generator, mean: FloatArray, dispersion: FloatArray, weighed: BoolArray
) -> FloatArray:
    """Draw units, or kilograms of weighed items, of a Poisson-gamma distribution with the mean `mean`."""
    units = rng.poisson(mean * (rng.standard_gamma(dispersion) / dispersion)).astype(np.float64)
    scales = np.flatnonzero(weighed)
    pieces = units[scales]
    spread = PIECE_SPREAD * rng.standard_normal(scales.size)
    kilograms = pieces + np.sqrt(pieces) * np.maximum(spread, -0.9)
    units[scales] = np.round(kilograms, 3)
    return units


def take_returns(rng: np.random.Generator, sales: FloatArray) -> None:
    """Turn some sales, in place, into returns of about a third of them."""
    returned = np.flatnonzero(rng.random(sales.size, dtype=np.float32) < RETURN_SHARE)
    part = sales[returned]
    whole = part == np.floor(part)
    sales[returned] = -np.where(
        whole, np.ceil(RETURNED_PART * part), np.round(RETURNED_PART * part + 5e-4, 3)
    )


def cap_sales(sales: FloatArray, left: FloatArray, weighed: BoolArray) -> FloatArray:
    """Return what is sold of a demand of which a share `left` was on the shelf."""
    return np.where(weighed, np.round(sales * left, 3), np.floor(sales * left))


def empty_shelves(demand: Demand, sales: FloatArray, day: int) -> None:
    """Censor, in place, the sales of pairs that run out of stock on this day or have run out before.

    In each fortnight, counted from the shop's first day, a pair runs out with a certain probability on a
    random day, on which a random share of its demand is sold; it stays out for a geometric number of days,
    at most to the fortnight's end, when it is delivered.
    """
    rng = generator(demand.spec.seed, "stock", day // FORTNIGHT)
    out = np.flatnonzero(rng.random(sales.size, dtype=np.float32) < stockout_share(demand.spec))
    since = day % FORTNIGHT - rng.integers(0, FORTNIGHT, size=out.size)
    lasts = rng.geometric(EMPTY_DAYS_STOP, size=out.size)
    left = rng.random(out.size)
    now = since == 0
    sales[out[now]] = cap_sales(sales[out[now]], left[now], demand.shop.weighed[out[now]])
    sales[out[(since > 0) & (since <= lasts)]] = 0.0


def cells_of_day(demand: Demand, day: int) -> FloatArray:
    """Return the sales of every pair on a day (P,): 0 where nothing was sold, negative where returned."""
    spec, shop = demand.spec, demand.shop
    rng = generator(spec.seed, "sales", spec.date_of(day).toordinal())
    quieter, _ = late_noise(spec, day)
    mean = demand.means(day, shocks_of_day(demand, day))
    sales = draw_sales(rng, mean, demand.dispersion * quieter, shop.weighed)
    empty_shelves(demand, sales, day)
    take_returns(rng, sales)
    sales[~demand.listed(day)] = 0.0
    return sales


def _transactions(demand: Demand, day: int) -> IntArray:
    """Return the receipts of each store (S,), which know the store's shock of the day."""
    items = np.array([family.items for family in FAMILIES], dtype=np.float64)
    rates = np.exp(day_effects(demand.spec, demand.shop, day)) * shocks_of_day(demand, day)
    level = TRANSACTIONS * np.exp(demand.shop.store_level) * (rates @ items) / items.sum()
    rng = generator(demand.spec.seed, "transactions", demand.spec.date_of(day).toordinal())
    receipts: IntArray = rng.poisson(level)
    return receipts


def sales_of_day(demand: Demand, day: int) -> DaySales:
    """Make the rows of a day; they depend on the spec and the day alone, so days can be made in any order."""
    shop, when = demand.shop, demand.spec.date_of(day)
    is_open = demand.is_open(day)
    sales = cells_of_day(demand, day) if is_open else np.zeros(0)
    pair = np.flatnonzero(sales)
    recorded = when >= PROMOTIONS_RECORDED_FROM
    numbers = np.array([store.store_nbr for store in shop.stores])
    return DaySales(
        date=when,
        pair=pair,
        store_nbr=numbers[shop.store[pair]],
        item_nbr=shop.item_nbr[shop.item[pair]],
        unit_sales=sales[pair],
        onpromotion=demand.promoted(day)[pair] if recorded else None,
        transactions=_transactions(demand, day) if is_open else np.zeros(0, dtype=np.int64),
    )


@dataclass(frozen=True, eq=False)
class _Count:
    """How many rows the candidate pairs have, and on which days those of the last ranks have them."""

    by_pair: IntArray
    by_day: IntArray
    tail: IntArray
    tail_days: BoolArray


def _count(demand: Demand, day_map: DayMap) -> _Count:
    pairs = demand.rate.size
    kept = max(pairs - max(math.ceil(TAIL_SHARE * pairs), MIN_TAIL), 0)
    tail = np.flatnonzero(demand.shop.rank >= kept)
    by_pair = np.zeros(pairs, dtype=np.int64)
    written = np.zeros(pairs, dtype=np.bool_)
    packed, by_day = [], []
    for sold in day_map(lambda day: sales_of_day(demand, day), range(demand.spec.days)):
        by_pair[sold.pair] += 1
        written[:] = False
        written[sold.pair] = True
        packed.append(np.packbits(written[tail]))
        by_day.append(sold.pair.size)
    days = np.unpackbits(np.stack(packed), axis=1, count=tail.size).astype(np.bool_)
    return _Count(by_pair, np.array(by_day, dtype=np.int64), tail, days)


def _cut(demand: Demand, count: _Count) -> Shop | None:
    """Leave out the last pairs by rank and let one begin later, so that the rows come out exactly.

    Returns None when the candidates have too few rows, or so many that the cut is before the tail.
    """
    rank, rows, days = demand.shop.rank, demand.spec.rows, demand.spec.days
    by_rank = np.argsort(rank)
    total = np.cumsum(count.by_pair[by_rank])
    if total[-1] < rows:
        return None
    last = int(np.searchsorted(total, rows, side="left"))
    pair = by_rank[last]
    place = np.flatnonzero(count.tail == pair)
    if place.size == 0:
        return None
    wanted = rows - (int(total[last]) - int(count.by_pair[pair]))
    sold_on = np.flatnonzero(count.tail_days[:, place[0]])
    admitted = np.where(rank > last, days, 0).astype(np.int64)
    admitted[pair] = sold_on[sold_on.size - wanted] if wanted < sold_on.size else 0
    refused = count.tail_days & (np.arange(days)[:, None] < admitted[count.tail])
    by_pair = np.where(admitted < days, count.by_pair, 0)
    by_pair[pair] = wanted
    return Shop(dataclasses.replace(demand, admitted=admitted), count.by_day - refused.sum(axis=1), by_pair)


def _guess_pairs(spec: ShopSpec, day_map: DayMap) -> int:
    """Return about how many pairs have the rows that are wanted, from days spread over the shop's time."""
    pairs = max(math.ceil(spec.rows / (spec.days * 0.75)), 2)
    demand = make_demand(spec, pairs)
    days = np.linspace(0, spec.days - 1, SAMPLED_DAYS).astype(int).tolist()
    rows = sum(sold.pair.size for sold in day_map(lambda day: sales_of_day(demand, day), days))
    return _scaled(pairs, spec.rows, rows * spec.days / SAMPLED_DAYS)


def _scaled(pairs: int, wanted: int, found: float) -> int:
    """Return a number of pairs that has a little more than the wanted rows, when `pairs` have `found`."""
    return math.ceil(pairs * wanted / max(found, 1.0) * 1.04) + 2


def plan_shop(spec: ShopSpec, day_map: DayMap = map) -> Shop:
    """Decide which pairs the shop lists so that it has `spec.rows` rows exactly.

    All days are made once to count. Pairs are taken in random order until the rows are reached; the last one
    enters the assortment on the day from which on it has just the rows that are missing. No row of a listed
    pair is dropped, so the process stays what it is.

    Raises
    ------
    UsageError
        No number of pairs was found, as may happen with a handful of rows.
    """
    pairs = _guess_pairs(spec, day_map)
    for _ in range(ATTEMPTS):
        demand = make_demand(spec, pairs)
        count = _count(demand, day_map)
        shop = _cut(demand, count)
        if shop is not None:
            return shop
        pairs = _scaled(pairs, spec.rows, float(count.by_pair.sum()))
    raise UsageError(
        f"found no shop of exactly {spec.rows} rows in {spec.days} days with seed {spec.seed}: "
        "give more --rows or another --seed"
    )


@lru_cache(maxsize=4)
def cached_shop(spec: ShopSpec) -> Shop:
    """Return the planned shop of a spec, from memory when it was planned lately."""
    return plan_shop(spec)


def oil_prices(spec: ShopSpec) -> tuple[list[date], FloatArray]:
    """Return the working days from the shop's first to the end of August 2017 and the oil price on each.

    An autoregression around a fall from 95 to 45 dollars; NaN on the first day and on some 3 % of others.
    The price has no effect on sales.
    """
    first, last = spec.first_date.toordinal(), date(2017, 8, 31).toordinal()
    days = [when for when in map(date.fromordinal, range(first, last + 1)) if when.weekday() < 5]
    rng = generator(spec.seed, "oil")
    years = np.array([(when - date(2014, 12, 1)).days / 365.25 for when in days])
    steps = (OIL_STEP * rng.standard_normal(len(days))).tolist()
    price = 70 - 25 * np.tanh(2 * years) + list(accumulate(steps, lambda at, step: OIL_MEMORY * at + step))
    price = np.round(np.clip(price, 26.0, 112.0), 2)
    price[rng.random(len(days)) < 0.03] = np.nan
    price[0] = np.nan
    return days, price
