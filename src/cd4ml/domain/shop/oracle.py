"""The error that no forecast can beat in the practice shop, and the forecast that reaches it.

The best forecaster knows the mean rate of each store, item and date and the law of the noise, but not the
noise: not the day's shocks, which shelf is empty, what is returned. Its forecast minimises the expected loss:
expm1(E log1p(y)) for `nwrmsle` and `rmsle`, the mean for `rmse`, the median for `mae` and `wape`.

The moments of a sale given its rate are tabulated by Monte Carlo for each law of noise on a grid of rates and
read off by linear interpolation in the logarithm of the rate.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Literal

import numpy as np

from cd4ml.domain.shop.assortment import FAMILIES, BoolArray, FloatArray, IntArray
from cd4ml.domain.shop.process import (
    EMPTY_DAYS_STOP,
    FAMILY_SHOCK,
    FORTNIGHT,
    RETURN_SHARE,
    STORE_SHOCK,
    Shop,
    cached_shop,
    cap_sales,
    draw_sales,
)
from cd4ml.domain.shop.scenarios import late_noise, stockout_share
from cd4ml.domain.shop.spec import LAST_DATE, ShopSpec, generator
from cd4ml.errors import NotFoundError, UsageError, nearest

__all__ = [
    "METRICS",
    "PERISHABLE_WEIGHT",
    "BestForecast",
    "Rows",
    "best_forecast",
    "irreducible_error",
    "irreducible_errors",
]

METRICS = ("mae", "nwrmsle", "rmse", "rmsle", "wape")
PERISHABLE_WEIGHT = 1.25
Rows = Literal["written", "all"]

DRAWS = 6000
GRID = np.linspace(math.log(0.03), math.log(20_000.0), 134)
COLUMNS = ("present", "mean", "log_mean", "median", "variance", "log_variance", "absolute")


@dataclass(frozen=True, eq=False)
class BestForecast:
    """What the best forecaster knows of a day's listed pairs; all arrays have one entry a pair.

    Attributes
    ----------
    pair : ndarray of int
        Indices of the shop's pairs, ascending.
    weight : ndarray of float
        1.25 for a perishable item, else 1.
    present : ndarray of float
        Probability that the pair counts: that it has a row with positive sales, or 1 for `rows="all"`.
    mean, log_mean, median : ndarray of float
        Of the sale, of log1p of it, and its median, given that it counts.
    variance, log_variance, absolute : ndarray of float
        Expected loss of those three: squared, squared in log1p, absolute.
    """

    pair: IntArray
    weight: FloatArray
    present: FloatArray
    mean: FloatArray
    log_mean: FloatArray
    median: FloatArray
    variance: FloatArray
    log_variance: FloatArray
    absolute: FloatArray

    def forecast(self, metric: str) -> FloatArray:
        """Return the forecast, in units, whose expected error by `metric` is the lowest."""
        _check_metric(metric)
        if metric in ("nwrmsle", "rmsle"):
            return np.expm1(self.log_mean)
        return self.mean if metric == "rmse" else self.median


def _check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise NotFoundError(
            f"no metric of the shop is called '{metric}'{nearest(metric, METRICS)}; "
            f"there are {', '.join(METRICS)}"
        )


def _empty_share(stockouts: float) -> float:
    """Return the probability that a pair is out of stock on a day, the first day of it not counted."""
    stays = (1 - EMPTY_DAYS_STOP) ** np.arange(FORTNIGHT - 1)
    return float(stockouts * (stays * np.arange(FORTNIGHT - 1, 0, -1)).sum() / FORTNIGHT**2)


def _draws(mean: float, shape: float, weighed: bool, shrink: float, stockouts: float) -> FloatArray:
    """Draw sales of pairs of one rate (n,), with empty shelves and returns in their expected shares."""
    rng = generator(0, "oracle", int(mean * 1e6))
    spread = shrink * math.hypot(FAMILY_SHOCK, STORE_SHOCK)
    shocked = mean * np.exp(spread * rng.standard_normal(DRAWS) - spread**2 / 2)
    kinds = np.full(DRAWS, weighed)
    sales = draw_sales(rng, shocked, np.full(DRAWS, shape), kinds)
    capped = round(DRAWS * stockouts / FORTNIGHT)
    nothing = round(DRAWS * (RETURN_SHARE + _empty_share(stockouts)))
    sales[:nothing] = 0.0
    part = slice(nothing, nothing + capped)
    sales[part] = cap_sales(sales[part], rng.random(capped), kinds[part])
    return sales


def _moments(sales: FloatArray, rows: Rows) -> tuple[float, ...]:
    counted = sales[sales > 0] if rows == "written" else sales
    if counted.size == 0:
        return (0.0,) * len(COLUMNS)
    logs, median = np.log1p(counted), float(np.median(counted))
    return (
        counted.size / sales.size,
        float(counted.mean()),
        float(logs.mean()),
        median,
        float(counted.var()),
        float(logs.var()),
        float(np.abs(counted - median).mean()),
    )


@lru_cache(maxsize=64)
def _table(shape: float, weighed: bool, shrink: float, stockouts: float, rows: Rows) -> FloatArray:
    """Return the moments (columns of `COLUMNS`, grid) of a law of noise."""
    lines = [_moments(_draws(float(rate), shape, weighed, shrink, stockouts), rows) for rate in np.exp(GRID)]
    return np.array(lines).T


def _laws(shape: FloatArray, weighed: BoolArray) -> list[tuple[float, bool, IntArray]]:
    """Return each law of noise, as its dispersion and kind, with the places that follow it."""
    signed = np.where(weighed, -shape, shape)
    return [(abs(float(v)), bool(v < 0), np.flatnonzero(signed == v)) for v in np.unique(signed)]


def best_forecast(shop: Shop, day: int, rows: Rows = "written") -> BestForecast:
    """Return what the best forecaster knows of a day's listed pairs; nothing on a day of closed stores.

    Parameters
    ----------
    shop : Shop
    day : int
        Counted from 0.
    rows : {"written", "all"}
        "written": given that a row with positive sales is written, as for a model that learns from and is
        judged on train.csv. "all": of every listed pair, absent rows and returns counting as 0.
    """
    demand, plan = shop.demand, shop.demand.shop
    pair = np.flatnonzero(demand.listed(day)) if demand.is_open(day) else np.zeros(0, dtype=np.int64)
    logs = np.log(demand.means(day)[pair])
    quieter, shrink = late_noise(shop.spec, day)
    moments = np.zeros((len(COLUMNS), pair.size))
    for shape, weighed, places in _laws(demand.dispersion[pair] * quieter, plan.weighed[pair]):
        table = _table(shape, weighed, shrink, stockout_share(shop.spec), rows)
        for column, values in zip(moments, table, strict=True):
            column[places] = np.interp(logs[places], GRID, values)
    perishable = np.array([family.perishable for family in FAMILIES])[plan.item_family[plan.item[pair]]]
    weight = np.where(perishable, PERISHABLE_WEIGHT, 1.0)
    return BestForecast(pair, weight, **dict(zip(COLUMNS, moments, strict=True)))


def _sums(known: BestForecast, chosen: BoolArray) -> FloatArray:
    p, w = known.present[chosen], known.weight[chosen]
    squared, logged, absolute = known.variance[chosen], known.log_variance[chosen], known.absolute[chosen]
    terms = (p, p * w, p * known.mean[chosen], p * squared, p * logged, p * w * logged, p * absolute)
    return np.array([term.sum() for term in terms])


def irreducible_errors(
    shop: ShopSpec | Shop,
    first_date: date | None = None,
    last_date: date | None = None,
    rows: Rows = "written",
    stores: Collection[int] | None = None,
) -> dict[str, float]:
    """Return the expected error of the best forecast by each metric.

    Parameters
    ----------
    shop : ShopSpec or Shop
        A spec is planned first, or taken from memory.
    first_date, last_date : datetime.date, optional
        Both inclusive; by default the shop's first and last.
    rows : {"written", "all"}
        As in `best_forecast`.
    stores : collection of int, optional
        Numbers of the stores to look at; all by default.

    Returns
    -------
    dict
        `mae`, `rmse` in units; `wape`, sum of absolute errors over sum of sales; `rmsle`; `nwrmsle`, in which
        perishable items weigh 1.25.

    Raises
    ------
    UsageError
        No row is expected: the stores are closed, or not in the shop.
    """
    plan = cached_shop(shop) if isinstance(shop, ShopSpec) else shop
    spec, assortment = plan.spec, plan.demand.shop
    first = spec.day_of(first_date) if first_date else 0
    last = spec.day_of(last_date or LAST_DATE)
    within = np.array([stores is None or store.store_nbr in stores for store in assortment.stores])
    total = np.zeros(7)
    for day in range(first, last + 1):
        known = best_forecast(plan, day, rows)
        total += _sums(known, within[assortment.store[known.pair]])
    count, weight, sales, squared, logged, weighted, absolute = total.tolist()
    if sales <= 0:
        raise UsageError(
            f"expected sales between {spec.date_of(first)} and {spec.date_of(last)}, found none: "
            "give dates in order on which stores are open, and stores of the shop"
        )
    return {
        "mae": absolute / count,
        "nwrmsle": math.sqrt(weighted / weight),
        "rmse": math.sqrt(squared / count),
        "rmsle": math.sqrt(logged / count),
        "wape": absolute / sales,
    }


def irreducible_error(
    shop: ShopSpec | Shop,
    metric: str,
    first_date: date | None = None,
    last_date: date | None = None,
    rows: Rows = "written",
) -> float:
    """Return the expected error of the best forecast by one metric; see `irreducible_errors`.

    Raises
    ------
    NotFoundError
        The metric is not one of `METRICS`.
    UsageError
        No row is expected on those dates.
    """
    _check_metric(metric)
    return irreducible_errors(shop, first_date, last_date, rows)[metric]
