"""Seasons, paydays, holidays, promotions and the earthquake can be found again in what was sold."""

from datetime import date, timedelta

import numpy as np
import pytest

from cd4ml.domain.shop import (
    EARTHQUAKE,
    FAMILIES,
    ShopSpec,
    holiday_table,
    holidays_on,
    is_closed,
    payday_lift,
)
from cd4ml.domain.shop.demand import QUAKE_DECAY_DAYS, QUAKE_LIFTS, WEEK
from tests.domain.test_shop import sold_by

SPEC = ShopSpec(rows=600_000, days=1688, seed=3)
GROCERY = FAMILIES[0]


def national_lift(when):
    lifts = [lift for row, lift in holidays_on(when) if row.locale == "National"]
    return max(lifts, default=0.0)


def evened(sold, pairs):
    """Return sales of the pairs over their own mean, so that no popular pair drowns the others."""
    sales = np.maximum(sold.sales[:, pairs], 0)
    return sales / (sales.sum(axis=0) / sold.listed[:, pairs].sum(axis=0))


def staying(sold):
    plan, demand = sold.shop.demand.shop, sold.shop.demand
    return (plan.first_day == 0) & (plan.last_day == SPEC.days - 1) & (demand.admitted == 0)


def family_days(name):
    """Return the dates without the earthquake and the log of a family's sales on each."""
    sold = sold_by(SPEC)
    keep = [
        day
        for day, when in enumerate(sold.dates)
        if not is_closed(when) and not 0 <= (when - EARTHQUAKE).days < 40
    ]
    sales = evened(sold, sold.family(name) & staying(sold))
    return [sold.dates[day] for day in keep], np.log(sales[keep].mean(axis=1))


def design(dates):
    week = [[float(when.weekday() == n) for n in range(7)] for when in dates]
    angle = [2 * np.pi * when.timetuple().tm_yday / 365.25 for when in dates]
    other = [
        [
            payday_lift(when),
            national_lift(when),
            np.exp(-(((when.timetuple().tm_yday - 357) / 8) ** 2)),
            (when - dates[0]).days / 365.25,
        ]
        for when in dates
    ]
    return np.column_stack([week, np.cos(angle), np.sin(angle), other])


@pytest.fixture(scope="module")
def grocery():
    dates, logs = family_days("GROCERY I")
    moved = {row.date for row in holiday_table() if row.type == "Transfer" or row.transferred}
    plain = np.array([when not in moved for when in dates])
    found = np.linalg.lstsq(design(dates)[plain], logs[plain], rcond=None)[0]
    return dates, found, logs - design(dates) @ found


def test_the_week_is_as_planted(grocery):
    _, found, _ = grocery
    planted = np.array(WEEK) * GROCERY.weekly
    assert found[:7] - found[:7].mean() == pytest.approx(planted - planted.mean(), abs=0.035)


def test_paydays_and_national_holidays_are_as_planted(grocery):
    _, found, _ = grocery
    assert found[9] == pytest.approx(GROCERY.payday, abs=0.2)
    assert found[10] == pytest.approx(GROCERY.festive, abs=0.3)


def test_advent_and_growth_are_as_planted(grocery):
    _, found, _ = grocery
    assert found[11] == pytest.approx(0.35 * GROCERY.festive, abs=0.12)
    assert found[12] == pytest.approx(0.05, abs=0.03)


def test_a_moved_holiday_is_a_holiday_on_the_day_it_was_moved_to_alone(grocery):
    dates, found, residual = grocery
    left = dict(zip(dates, residual, strict=True))
    moved = [row for row in holiday_table() if row.type == "Transfer" and row.locale == "National"]
    celebrated = [left[row.date] + found[10] * national_lift(row.date) for row in moved if row.date in left]
    official = [
        left[row.date]
        for row in holiday_table()
        if row.transferred and row.locale == "National" and row.date in left
    ]
    assert len(celebrated) >= 6 and len(official) >= 5
    assert np.mean(celebrated) == pytest.approx(0.30 * GROCERY.festive, abs=0.1)
    assert np.mean(official) == pytest.approx(0.0, abs=0.1)


def test_the_year_is_a_wave_with_its_crest_where_it_was_planted():
    drinks = FAMILIES[1]
    dates, logs = family_days(drinks.name)
    cosine, sine = np.linalg.lstsq(design(dates), logs, rcond=None)[0][7:9]
    crest = np.arctan2(sine, cosine) / (2 * np.pi) * 365.25 % 365.25
    assert np.hypot(cosine, sine) == pytest.approx(drinks.yearly, abs=0.04)
    assert crest == pytest.approx(drinks.crest, abs=20)


@pytest.mark.parametrize("name", ["GROCERY I", "BEVERAGES", "CLEANING"])
def test_promotions_lift_sales_by_what_was_planted(name):
    sold = sold_by(SPEC)
    pairs = np.flatnonzero(sold.family(name) & (sold.shop.rows_per_pair > 300))
    logs = []
    for pair in pairs:
        on, off = (
            sold.sales[sold.listed[:, pair] & (sold.promoted[:, pair] == flag), pair]
            for flag in (True, False)
        )
        if on.size > 20:
            logs.append(np.log(on.mean() / off.mean()))
    lift = next(family.promotion for family in FAMILIES if family.name == name)
    assert np.mean(logs) == pytest.approx(lift, abs=0.06)


def quake_ratio(relief, manabi):
    sold = sold_by(SPEC)
    plan = sold.shop.demand.shop
    wanted = np.array([family.relief == relief for family in FAMILIES])[plan.item_family[plan.item]]
    pairs = wanted & sold.in_stores(lambda store: (store.state == "Manabi") == manabi)
    pairs &= (plan.first_day == 0) & (plan.last_day == SPEC.days - 1) & (sold.shop.demand.admitted == 0)
    start = SPEC.day_of(EARTHQUAKE)
    after, before = (
        sold.sales[start : start + 14, pairs].sum(),
        sold.sales[start - 28 : start, pairs].sum() / 2,
    )
    return np.log(after / before)


@pytest.mark.parametrize("manabi", [True, False])
@pytest.mark.parametrize("relief", [True, False])
def test_the_earthquake_brings_relief_goods_up_and_hits_manabi_hardest(relief, manabi):
    lift = QUAKE_LIFTS["Manabi" if manabi else "", relief]
    planted = np.log(np.mean(np.exp(lift * np.exp(-np.arange(14) / QUAKE_DECAY_DAYS))))
    assert quake_ratio(relief, manabi) == pytest.approx(planted, abs=0.2)


def test_a_local_holiday_lifts_its_city_and_no_other():
    sold = sold_by(SPEC)
    cities = {store.city for store in sold.shop.demand.shop.stores}
    found = []
    for row in holiday_table():
        if row.locale != "Local" or row.transferred or row.locale_name not in cities:
            continue
        if row.date not in sold.dates or row.date in (date(2016, 4, 21), date(2016, 11, 3)):
            continue
        day = SPEC.day_of(row.date)
        weeks = [day + 7 * n for n in (-3, -2, -1, 1, 2, 3) if 0 <= day + 7 * n < SPEC.days]
        ratio = []
        for there in (True, False):
            in_city = sold.in_stores(lambda s, name=row.locale_name, there=there: (s.city == name) == there)
            sales = evened(sold, in_city & staying(sold)).mean(axis=1)
            ratio.append(np.log(sales[day] / sales[weeks].mean()))
        found.append(ratio[0] - ratio[1])
    assert len(found) >= 10
    assert np.mean(found) == pytest.approx(0.14, abs=0.06)


def test_a_worked_saturday_is_a_weekday():
    sold = sold_by(SPEC)
    day = SPEC.day_of(date(2016, 11, 12))
    total = sold.sales.sum(axis=1)
    other = np.mean([total[day + 7 * n] for n in (-3, 2, 3, 1)])
    assert np.log(total[day] / other) < -0.08


def test_paydays_are_the_15th_and_the_last_day_with_an_after_effect():
    lifts = [payday_lift(date(2016, 2, 13) + timedelta(days=n)) for n in range(6)]
    assert lifts == [0.0, 0.0, 0.18, 0.12, 0.06, 0.0]
    assert payday_lift(date(2016, 2, 29)) == 0.18 and payday_lift(date(2016, 3, 1)) == 0.12
    assert payday_lift(date(2017, 2, 28)) == 0.18 and payday_lift(date(2017, 2, 27)) == 0.0


def test_each_moved_holiday_has_a_row_on_the_day_it_was_moved_to():
    rows = holiday_table()
    moved = [row for row in rows if row.transferred]
    assert len(moved) == 12
    for row in moved:
        assert row.type == "Holiday" and any(
            other.type == "Transfer" and other.description == f"Traslado {row.description}"
            for other in rows
            if abs((other.date - row.date).days) <= 3
        )
        assert all(other is not row for other, _ in holidays_on(row.date))


def test_the_earthquake_has_a_row_for_each_of_its_days():
    quake = [row for row in holiday_table() if row.description.startswith("Terremoto Manabi")]
    assert [row.date for row in quake] == [EARTHQUAKE + timedelta(days=n) for n in range(31)]
    assert quake[0].description == "Terremoto Manabi" and quake[3].description == "Terremoto Manabi+3"
    assert all(row.type == "Event" and row.locale == "National" for row in quake)


def test_the_table_speaks_only_kaggles_words():
    rows = holiday_table()
    assert {row.type for row in rows} == {"Holiday", "Transfer", "Additional", "Bridge", "Work Day", "Event"}
    assert {row.locale for row in rows} == {"National", "Regional", "Local"}
    assert {row.locale_name for row in rows if row.locale == "National"} == {"Ecuador"}
    assert len({(row.date, row.locale_name, row.description) for row in rows}) == len(rows)
