"""What a scenario plants is told, and can be found again in the data with the size that is told."""

import json

import numpy as np
import pytest

from cd4ml.domain.shop import (
    FAMILIES,
    SCENARIOS,
    ShopSpec,
    breaches,
    cached_shop,
    irreducible_errors,
    planted,
    row_dates,
    sales_of_day,
    spoil,
)
from cd4ml.errors import UsageError
from tests.domain.test_shop import sold_by

ROWS, DAYS = 200_000, 200
PLAIN = ShopSpec(ROWS, DAYS, seed=7)


def spec(*names):
    return ShopSpec(ROWS, DAYS, seed=7, scenarios=names)


def truth(*names):
    one = spec(*names)
    return planted(one, cached_shop(one).demand.shop)[names[0]]


def late(name):
    """Return the days before and since the scenario's first date."""
    first = spec(name).late_day
    assert truth(name)["first_date"] == spec(name).date_of(first).isoformat()
    return slice(0, first), slice(first, DAYS)


def level(sold, pairs, days):
    """Return sales per listed pair and day over the mean rate that the shop without scenarios has."""
    listed = sold.listed[days][:, pairs].sum(axis=0)
    expected = sold.shop.demand.shop.rate[pairs] * listed
    return sold.sales[days][:, pairs].sum() / expected.sum()


def lift(sold, days):
    logs = []
    for pair in np.flatnonzero(sold.family("GROCERY I") & (sold.shop.rows_per_pair > 100)):
        listed, promoted = sold.listed[days, pair], sold.promoted[days, pair]
        if (listed & promoted).sum() >= 10:
            on, off = (sold.sales[days, pair][listed & (promoted == flag)].mean() for flag in (True, False))
            logs.append(np.log(on / off))
    return np.mean(logs)


def scatter(sold, days):
    """Return the mean squared deviation of busy pairs' log sales from their log rate, its mean taken off."""
    off = []
    for day in range(*days.indices(DAYS)):
        rate = sold.shop.demand.means(day)
        busy = (rate > 8) & (sold.sales[day] > 0)
        off.append(np.log(sold.sales[day, busy]) - np.log(rate[busy]))
    return np.concatenate(off).var()


def test_each_scenario_tells_its_truth_as_json():
    one = spec(*SCENARIOS)
    told = planted(one, cached_shop(one).demand.shop)
    assert sorted(told) == sorted(SCENARIOS)
    assert json.loads(json.dumps(told)) == told


def test_without_scenarios_nothing_is_told():
    assert planted(PLAIN, cached_shop(PLAIN).demand.shop) == {}


def test_drift_lowers_one_family_since_its_date_by_its_factor():
    told, (before, after) = truth("drift"), late("drift")
    sold, plain = sold_by(spec("drift")), sold_by(PLAIN)
    change = {}
    for name in (told["family"], "GROCERY I"):
        then, now = (
            level(sold, sold.family(name), days) / level(plain, plain.family(name), days)
            for days in (before, after)
        )
        change[name] = now / then
    assert change[told["family"]] == pytest.approx(told["rate_factor"], rel=0.1)
    assert change["GROCERY I"] == pytest.approx(1.0, rel=0.1)


def test_bias_lowers_and_blurs_one_citys_sales():
    told, sold, plain = truth("bias"), sold_by(spec("bias")), sold_by(PLAIN)
    there, elsewhere = (
        [shop.in_stores(lambda s, flag=flag: (s.city == told["city"]) == flag) for shop in (sold, plain)]
        for flag in (True, False)
    )
    every = slice(0, DAYS)
    assert level(sold, there[0], every) / level(plain, there[1], every) == pytest.approx(
        told["recorded_share"], rel=0.1
    )
    assert level(sold, elsewhere[0], every) / level(plain, elsewhere[1], every) == pytest.approx(1, rel=0.1)
    numbers = {store.store_nbr for store in sold.shop.demand.shop.stores}
    assert set(told["stores"]) < numbers
    inside, outside = (
        irreducible_errors(sold.shop, stores=chosen)["rmsle"]
        for chosen in (told["stores"], numbers - set(told["stores"]))
    )
    assert inside > 1.3 * outside


def test_noise_is_lower_in_the_better_regime():
    before, after = late("better-regime")
    sold, plain = sold_by(spec("better-regime")), sold_by(PLAIN)
    assert scatter(sold, after) < 0.6 * scatter(plain, after)
    assert scatter(sold, before) == pytest.approx(scatter(plain, before), rel=0.1)
    one = spec("better-regime")
    old, new = (
        irreducible_errors(sold.shop, one.date_of(days.start), one.date_of(days.stop - 1))["rmsle"]
        for days in (before, after)
    )
    assert new < 0.8 * old


def test_promotions_do_harm_in_the_worse_regime():
    (before, after), told = late("worse-regime"), truth("worse-regime")
    sold = sold_by(spec("worse-regime"))
    planted_lift = told["promotion_log_lift_before"]["GROCERY I"]
    assert lift(sold, before) == pytest.approx(planted_lift, abs=0.08)
    assert lift(sold, after) == pytest.approx(told["promotion_sign_after"] * planted_lift, abs=0.12)


def test_stockouts_take_rows_away():
    told, sold, plain = truth("stockouts"), sold_by(spec("stockouts")), sold_by(PLAIN)
    busy = [one.shop.demand.shop.rate > 15 for one in (sold, plain)]
    absent = [
        1 - (one.sales[:, pairs] != 0).sum() / one.listed[:, pairs].sum()
        for one, pairs in zip((sold, plain), busy, strict=True)
    ]
    assert told["share_of_pairs_per_fortnight"] / told["share_without"] == pytest.approx(14)
    assert absent[0] > 0.08 and absent[1] < 0.03
    assert absent[0] - absent[1] == pytest.approx(13 * told["share_without"] * 2.2 / 14, abs=0.025)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_rows_come_out_exactly_with_every_scenario(name):
    shop = cached_shop(spec(name))
    rows = sum(spoil(shop, sales_of_day(shop.demand, day)).pair.size for day in range(DAYS))
    assert rows == ROWS == shop.rows_per_day.sum()


def test_breaches_are_as_many_as_told():
    one, told = spec("contract-breach"), truth("contract-breach")
    shop = cached_shop(one)
    found = {"unknown_store": 0, "duplicate_key": 0, "blank_unit_sales": 0, "future_date": 0}
    numbers = [store.store_nbr for store in shop.demand.shop.stores]
    for day in range(DAYS):
        sold = spoil(shop, sales_of_day(shop.demand, day))
        keys = sold.store_nbr * 10**8 + sold.item_nbr
        found["unknown_store"] += int((~np.isin(sold.store_nbr, numbers)).sum())
        found["duplicate_key"] += keys.size - np.unique(keys).size
        found["blank_unit_sales"] += int(np.isnan(sold.unit_sales).sum())
        future = row_dates(shop, sold) > np.datetime64(sold.date).astype(int)
        found["future_date"] += int(future.sum())
    assert found == {kind: told[kind] for kind in found}
    assert all(found.values())


def test_nothing_is_spoilt_without_the_scenario():
    shop = cached_shop(PLAIN)
    sold = sales_of_day(shop.demand, DAYS - 1)
    assert breaches(shop) == () and spoil(shop, sold) is sold


def test_a_shop_too_small_for_breaches_is_refused():
    with pytest.raises(UsageError, match="expected a day of at least 28 rows to plant breaches in"):
        breaches(cached_shop(ShopSpec(300, 60, scenarios=("contract-breach",))))


def test_a_shop_without_beverages_drifts_in_another_family():
    one = ShopSpec(40, 28, scenarios=("drift",))
    told = planted(one, cached_shop(one).demand.shop)["drift"]
    assert told["family"] in {family.name for family in FAMILIES} - {"BEVERAGES"}
