"""A bundle that is called like `sales-forecast` and takes what it takes, made in a second."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from tests.models import bundles

SALES = """
name: sales-forecast
task: regression
tables:
  train:
    file: train.csv
    columns:
      date: {type: date}
      store_nbr: {type: integer, min: 1}
      item_nbr: {type: integer, min: 1}
      onpromotion: {type: boolean, nulls: true, known: ahead}
      unit_sales: {type: number, min: 0}
facts: train
time: {column: date, step: 1d}
entity: [store_nbr, item_nbr]
panel: {absent: zero}
target: {column: unit_sales, transform: log1p, min: 0}
horizon: 16d
features:
  - {kind: columns, columns: [onpromotion]}
  - {kind: category, columns: [store_nbr, item_nbr]}
  - {kind: calendar, parts: [day_of_week]}
  - {kind: lag, of: unit_sales, lags: [21d]}
split: {kind: time, holdout: 28d, folds: 2, fold: 14d, gap: 16d}
candidates: [{name: boosting, family: gradient_boosting, parameters: {max_iter: 10}}]
metrics: {primary: wape, cluster: day, resamples: 100}
baselines: [{name: last_week, kind: seasonal_naive, period: 7d}]
stock: {under_cost: 3, over_cost: 1}
slices: [store_nbr]
gates: {max_latency_ms: 500}
"""
_KEPT = tempfile.TemporaryDirectory(prefix="cd4ml-small-sales-")


@cache
def small_sales() -> Path:
    """Return the folder of the bundle."""
    rng = np.random.Generator(np.random.PCG64(9))
    pairs = [(store, item) for store in (3, 7) for item in (103_665, 281_668)]
    days, rows = 120, 120 * len(pairs)
    one_day = np.timedelta64(86_400, "s")
    day = np.repeat(np.datetime64("2017-04-18", "s") + np.arange(days) * one_day, len(pairs))
    store, item = (np.tile(values, days) for values in np.array(pairs).T)
    promoted = rng.random(rows) < 0.2
    columns = {
        "date": day,
        "store_nbr": store,
        "item_nbr": item,
        "onpromotion": np.where(rng.random(rows) < 0.1, np.nan, promoted.astype(np.float64)),
        "unit_sales": rng.poisson(store * (1 + promoted)).astype(np.float64),
        "day": day,  # where the fixture looks for it
        "shop": bundles.category([str(one) for one in store]),
    }
    held = day >= day.max() - 27 * one_day
    case = bundles._case(SALES, columns, held, True, {"store_nbr": "shop"})
    folder = Path(_KEPT.name) / "bundle"
    case.write(folder, signed=False)
    return folder
