"""No forecast beats the irreducible error, and the best forecast reaches it."""

from datetime import date

import numpy as np
import pytest

from cd4ml.domain.shop import (
    LAST_DATE,
    METRICS,
    SCENARIOS,
    ShopSpec,
    best_forecast,
    cached_shop,
    irreducible_error,
    irreducible_errors,
    sales_of_day,
)
from cd4ml.errors import NotFoundError, UsageError

SPEC = ShopSpec(rows=250_000, days=120, seed=5)
DAYS = range(63, 120)
FIRST = SPEC.date_of(63)


def error(metric, actual, forecast, weight):
    if metric in ("nwrmsle", "rmsle"):
        weight = weight if metric == "nwrmsle" else np.ones_like(weight)
        return np.sqrt(np.average((np.log1p(actual) - np.log1p(forecast)) ** 2, weights=weight))
    if metric == "rmse":
        return np.sqrt(np.mean((actual - forecast) ** 2))
    off = np.abs(actual - forecast)
    return off.mean() if metric == "mae" else off.sum() / actual.sum()


def judged(metric, rows, change=lambda forecast, shop, day, pair: forecast, spec=SPEC):
    """Return the realised error of the best forecast, or of what `change` makes of it."""
    shop = cached_shop(spec)
    parts = []
    for day in DAYS:
        known, sold = best_forecast(shop, day, rows), sales_of_day(shop.demand, day)
        actual = np.zeros(shop.demand.rate.size)
        actual[sold.pair] = np.maximum(sold.unit_sales, 0)
        counted = actual[known.pair] > 0 if rows == "written" else np.ones(known.pair.size, bool)
        forecast = change(known.forecast(metric), shop, day, known.pair)
        parts.append(np.stack([actual[known.pair], forecast, known.weight])[:, counted])
    return error(metric, *np.concatenate(parts, axis=1))


def last_week(forecast, shop, day, pair):
    before, naive = sales_of_day(shop.demand, day - 7), np.zeros(shop.demand.rate.size)
    naive[before.pair] = np.maximum(before.unit_sales, 0)
    return naive[pair]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", ["written", "all"])
def test_the_best_forecast_reaches_the_irreducible_error(metric, rows):
    limit = irreducible_error(SPEC, metric, FIRST, LAST_DATE, rows)
    assert judged(metric, rows) == pytest.approx(limit, rel=0.05 if metric == "rmse" else 0.02)


@pytest.mark.parametrize("scenario", sorted(set(SCENARIOS) - {"contract-breach"}))
@pytest.mark.parametrize("rows", ["written", "all"])
def test_the_irreducible_error_knows_the_scenario(scenario, rows):
    spec = ShopSpec(rows=250_000, days=120, seed=5, scenarios=(scenario,))
    limit = irreducible_error(spec, "nwrmsle", FIRST, LAST_DATE, rows)
    assert judged("nwrmsle", rows, spec=spec) == pytest.approx(limit, rel=0.02)


@pytest.mark.parametrize("metric", METRICS)
def test_other_forecasts_are_worse(metric):
    limit = irreducible_error(SPEC, metric, FIRST, LAST_DATE)
    assert judged(metric, "written", last_week) > 1.15 * limit
    best = judged(metric, "written")
    assert judged(metric, "written", lambda forecast, *_: 1.3 * forecast) > best
    assert judged(metric, "written", lambda forecast, *_: 0.75 * forecast) > best


def test_the_chance_of_a_row_is_the_share_of_rows():
    shop = cached_shop(SPEC)
    expected = sum(best_forecast(shop, day).present.sum() for day in DAYS)
    found = sum((sales_of_day(shop.demand, day).unit_sales > 0).sum() for day in DAYS)
    assert found == pytest.approx(expected, rel=0.005)


def test_the_errors_fit_each_other():
    errors = irreducible_errors(SPEC)
    assert sorted(errors) == list(METRICS)
    assert errors["mae"] < errors["rmse"]
    assert 0.2 < errors["rmsle"] < 0.8 and 0.2 < errors["wape"] < 0.7
    assert errors["nwrmsle"] != errors["rmsle"]


def test_absent_rows_make_forecasting_harder():
    written, every = (irreducible_errors(SPEC, rows=rows)["rmsle"] for rows in ("written", "all"))
    assert every > written


def test_the_irreducible_error_is_repeatable_and_takes_a_plan_or_a_spec():
    assert irreducible_error(SPEC, "wape") == irreducible_error(cached_shop(SPEC), "wape")


def test_nothing_is_known_of_a_day_on_which_stores_are_closed():
    spec = ShopSpec(30_000, 365, seed=1)
    shop = cached_shop(spec)
    assert best_forecast(shop, spec.day_of(date(2016, 12, 25))).pair.size == 0
    with pytest.raises(UsageError, match="expected sales between 2016-12-25 and 2016-12-25, found none"):
        irreducible_errors(shop, date(2016, 12, 25), date(2016, 12, 25))


def test_an_unknown_metric_is_named_with_its_nearest():
    with pytest.raises(NotFoundError, match="did you mean 'nwrmsle'"):
        irreducible_error(SPEC, "nwrmsel")
    with pytest.raises(NotFoundError, match="no metric of the shop is called 'f1'"):
        best_forecast(cached_shop(SPEC), 3).forecast("f1")
