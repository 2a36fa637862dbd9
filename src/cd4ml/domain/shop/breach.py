"""The scenario `contract-breach`: a few rows, known by their ids, that break the contract."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import NamedTuple

import numpy as np

from cd4ml.domain.shop.process import DaySales, Shop
from cd4ml.domain.shop.scenarios import BREACHES, FUTURE_DATE, UNKNOWN_STORE
from cd4ml.errors import UsageError

__all__ = ["Breach", "breaches", "row_dates", "spoil"]


class Breach(NamedTuple):
    """Rows of one day, by place within the day, that are spoilt in one way."""

    kind: str
    day: int
    place: int
    size: int


def breaches(shop: Shop) -> tuple[Breach, ...]:
    """Return where the rows are spoilt: on four days of the last stretch; nowhere without the scenario.

    Raises
    ------
    UsageError
        No day of that stretch has enough rows.
    """
    if "contract-breach" not in shop.spec.scenarios:
        return ()
    needed = 2 * sum(BREACHES.values())
    late = np.arange(shop.spec.late_day, shop.spec.days)
    days = late[shop.rows_per_day[late] >= needed]
    if days.size == 0:
        raise UsageError(
            f"expected a day of at least {needed} rows to plant breaches in, found at most "
            f"{int(shop.rows_per_day[late].max())}: give more --rows or fewer --days"
        )
    found, place = [], 0
    for i, (kind, count) in enumerate(BREACHES.items()):
        found.append(Breach(kind, int(days[i * days.size // len(BREACHES)]), place, count))
        place += 2 * count
    return tuple(found)


def spoil(shop: Shop, sold: DaySales) -> DaySales:
    """Return a day's rows with the breaches of that day in them; the number of rows stays.

    A duplicate overwrites the key of a row with that of the row before it; the rows of an unknown store get a
    number that stores.csv lacks; blank sales are NaN. Future dates are planted where dates are written: see
    `row_dates`.
    """
    for breach in breaches(shop):
        if shop.spec.date_of(breach.day) != sold.date or breach.kind == "future_date":
            continue
        rows = slice(breach.place, breach.place + breach.size)
        store, item, sales = sold.store_nbr.copy(), sold.item_nbr.copy(), sold.unit_sales.copy()
        if breach.kind == "unknown_store":
            store[rows] = UNKNOWN_STORE
        elif breach.kind == "blank_unit_sales":
            sales[rows] = np.nan
        else:
            copies = np.arange(breach.place + 1, breach.place + 2 * breach.size, 2)
            store[copies], item[copies] = store[copies - 1], item[copies - 1]
        sold = dataclasses.replace(sold, store_nbr=store, item_nbr=item, unit_sales=sales)
    return sold


def row_dates(shop: Shop, sold: DaySales) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Return the date of each row of a day in days since 1970-01-01 (n,), some of them far in the future."""
    epoch = date(1970, 1, 1)
    dates = np.full(sold.pair.size, (sold.date - epoch).days, dtype=np.int32)
    for breach in breaches(shop):
        if breach.kind == "future_date" and shop.spec.date_of(breach.day) == sold.date:
            dates[breach.place : breach.place + breach.size] = (FUTURE_DATE - epoch).days
    return dates
