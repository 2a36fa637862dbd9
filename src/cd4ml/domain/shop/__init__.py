"""A shop to practise on: the tables of Corporación Favorita from a process whose truth is known.

`ShopSpec` says what is wanted; `plan_shop` decides which pairs of store and item make exactly so many rows;
`sales_of_day` makes a day; `irreducible_error` tells the error of the best forecast that there can be.
`docs/shop.md` has the formulas.
"""

from __future__ import annotations

from cd4ml.domain.shop.assortment import FAMILIES, STORES, Assortment, Family, Store, make_assortment
from cd4ml.domain.shop.breach import breaches, row_dates, spoil
from cd4ml.domain.shop.calendar import EARTHQUAKE, Holiday, holiday_table, holidays_on, is_closed, payday_lift
from cd4ml.domain.shop.demand import PROMOTIONS_RECORDED_FROM, Demand, make_demand
from cd4ml.domain.shop.oracle import (
    METRICS,
    BestForecast,
    best_forecast,
    irreducible_error,
    irreducible_errors,
)
from cd4ml.domain.shop.process import DaySales, Shop, cached_shop, oil_prices, plan_shop, sales_of_day
from cd4ml.domain.shop.scenarios import planted
from cd4ml.domain.shop.spec import FIRST_DATE, LAST_DATE, MAX_DAYS, SCENARIOS, ShopSpec

__all__ = [
    "EARTHQUAKE",
    "FAMILIES",
    "FIRST_DATE",
    "LAST_DATE",
    "MAX_DAYS",
    "METRICS",
    "PROMOTIONS_RECORDED_FROM",
    "SCENARIOS",
    "STORES",
    "Assortment",
    "BestForecast",
    "DaySales",
    "Demand",
    "Family",
    "Holiday",
    "Shop",
    "ShopSpec",
    "Store",
    "best_forecast",
    "breaches",
    "cached_shop",
    "holiday_table",
    "holidays_on",
    "irreducible_error",
    "irreducible_errors",
    "is_closed",
    "make_assortment",
    "make_demand",
    "oil_prices",
    "payday_lift",
    "plan_shop",
    "planted",
    "row_dates",
    "sales_of_day",
    "spoil",
]
