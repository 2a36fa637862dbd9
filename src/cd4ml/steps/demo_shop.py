"""The demonstration's shop: its data, the requests of its future, and one problem file a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SERVICE", "Shop", "make_shop"]

SERVICE = "shop-demo"
_ROWS, _DAYS, _FUTURE_DAYS = 50_000, 100, 7
_RARE_FRACTIONS = (0.004, 0.012)
"""A product with about so much of the rows: some requests in a hundred ask for it."""
_DAMAGED_FACTOR = 0.55
_DAMAGED_DAYS = 56
_LARGEST_REQUEST_ROWS = 6

_PROBLEM = Template("""\
# $comment
name: shop-demo
description: Unit sales of each product in each shop, 7 days ahead; small enough for a demonstration
task: regression
tables:
  train:
    file: train.csv
    columns:
      id: {type: integer, min: 0}
      date: {type: date, min: "2013-01-01", max: today}
      store_nbr: {type: integer, min: 1}
      item_nbr: {type: integer, min: 1}
      unit_sales: {type: number, min: -100000, max: 200000}
      onpromotion: {type: boolean, nulls: true, known: ahead}
    unique: [{columns: [date, store_nbr, item_nbr]}]
    foreign_keys: [{columns: store_nbr, table: stores}, {columns: item_nbr, table: items}]
  items:
    file: items.csv
    columns:
      item_nbr: {type: integer}
      family: {type: category}
      class: {type: integer}
      perishable: {type: integer, min: 0, max: 1}
    unique: [{columns: item_nbr}]
  stores:
    file: stores.csv
    columns:
      store_nbr: {type: integer}
      city: {type: category}
      state: {type: category}
      type: {type: category, allowed: [A, B, C, D, E]}
      cluster: {type: integer}
    unique: [{columns: store_nbr}]
facts: train
derived:
  log_sales: log1p(maximum(unit_sales, 0))
  promoted: fill(onpromotion, 0)
time: {column: date, step: 1d}
entity: [store_nbr, item_nbr]
panel: {absent: zero}
filters: [{name: returns, drop: unit_sales < 0, reason: a return is not demand}]
joins: [{table: items, on: item_nbr}, {table: stores, on: store_nbr}]
target: {column: unit_sales, transform: log1p, min: 0}
horizon: 7d
features:
  - {kind: columns, columns: [promoted, perishable]}
  - {kind: category, columns: [family, city, type]}
  - {kind: calendar, parts: [day_of_week, day_of_month, payday]}
  - {kind: lag, of: log_sales, lags: [7d, 14d, 21d]}
  - {kind: rolling, of: log_sales, windows: [28d], statistics: [mean, std]}
  - {kind: seasonal, of: log_sales, period: 7d, cycles: [4]}
split: {kind: time, holdout: 7d, folds: 1, fold: 7d, gap: 6d}
candidates:
  - name: boosting
    family: gradient_boosting
    parameters: {max_iter: $trees, max_bins: 63, learning_rate: 0.12}
search: {budget_row_fits: 40000, seed: $seed}
metrics: {primary: rmsle, also: [mae], resamples: 200}
baselines: [{name: week_before, kind: seasonal_naive, period: 7d}]
slices: [city]
serving: {unknown: $unknown}
rollout:
  shadow_requests: $shadow_requests
  canary_percent: [10, 50]
  min_requests: 300
  negligible_fraction: 0.08
  slow_seconds: 0.06
  loss_margin_fraction: 0.2
  slices: [store_nbr]
  step_seconds: 60
  ready_seconds: 60
  watch_seconds: 4
""")


@dataclass(frozen=True)
class Shop:
    """What the demonstration begins with.

    Attributes
    ----------
    folder : Path
        Where all of it lies: NAME.yaml is the problem of a model, and NAME/ the data that it learns from.
    requests : Path
        JSON Lines with the requests of the days after the data: the shop, the rows, and what came true.
    damaged_store, rare_item : int
        The shop whose recent sales an export wrote down wrongly, and the product that another one left out.
    rare_fraction : float
        Share of the requests that ask for it.
    """

    folder: Path
    requests: Path
    damaged_store: int
    rare_item: int
    rare_fraction: float
    count: int

    def problem(self, name: str) -> Path:
        """Return the problem file of a model."""
        return self.folder / f"{name}.yaml"

    def data(self, name: str) -> Path:
        """Return the folder of the data of a model."""
        return self.folder / name


def make_shop(folder: Path, seed: int) -> Shop:
    """Simulate a shop; keep its last days as the future; write data and problem of each model.

    Parameters
    ----------
    folder : Path
        Made; it must not exist.
    seed : int
        Of the shop, of the fits and of the order of the requests.
    """
    import polars as pl

    from cd4ml.domain.shop import ShopSpec
    from cd4ml.tables.simulate import write_shop

    whole = folder / "simulated"
    write_shop(ShopSpec(rows=_ROWS, days=_DAYS, seed=seed), whole)
    table = pl.read_csv(whole / "train.csv")
    days = sorted(table["date"].unique())
    today = days[-_FUTURE_DAYS]
    past, future = table.filter(pl.col("date") < today), table.filter(pl.col("date") >= today)
    future = future.filter(pl.col("unit_sales") >= 0)
    store, item = _largest_store(future), _rare_item(future)
    damaged = _damaged(store, days[-_FUTURE_DAYS - _DAMAGED_DAYS])
    changes: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
        "first": lambda frame: frame,
        "better": lambda frame: frame,
        "slice": damaged,
        "rare": lambda frame: frame.filter(pl.col("item_nbr") != item),
    }
    for name, change in changes.items():
        _write_data(folder / name, whole, change(past))
        _write_problem(folder / f"{name}.yaml", name, seed)
    requests = _requests(future, seed)
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in requests), encoding="utf-8")
    asked = sum(any(row["item_nbr"] == item for row in one["rows"]) for one in requests)
    return Shop(folder, path, store, item, asked / len(requests), len(requests))


_COMMENTS = {
    "first": "The first model: ten trees.",
    "better": "More trees on the same data.",
    "slice": "The same model; the export of one shop records too little since some weeks.",
    "rare": "The same model, strict on what it does not know; the export leaves one product out.",
}


_TREES = {"first": 10, "better": 60, "slice": 60, "rare": 60}


def _write_problem(path: Path, name: str, seed: int) -> None:
    text = _PROBLEM.substitute(
        comment=_COMMENTS[name],
        trees=_TREES[name],
        seed=seed,
        unknown="refuse" if name == "rare" else "bucket",
        shadow_requests=500,
    )
    path.write_text(text, encoding="utf-8")


def _write_data(folder: Path, whole: Path, train: pl.DataFrame) -> None:
    import shutil

    folder.mkdir(parents=True)
    train.write_csv(folder / "train.csv")
    for name in ("items.csv", "stores.csv"):
        shutil.copyfile(whole / name, folder / name)


def _largest_store(future: pl.DataFrame) -> int:
    counts = future.group_by("store_nbr").len().sort("len", "store_nbr")
    return int(counts["store_nbr"][-1])


def _rare_item(future: pl.DataFrame) -> int:
    """Return a product whose share of the rows is nearest to the middle of what is called rare."""
    import polars as pl

    low, high = _RARE_FRACTIONS
    middle = (low + high) / 2
    counts = future.group_by("item_nbr").len()
    distance = (pl.col("len") / future.height - middle).abs()
    return int(counts.with_columns(distance=distance).sort("distance", "item_nbr")["item_nbr"][0])


def _damaged(store: int, since: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    import polars as pl

    wrong = (pl.col("store_nbr") == store) & (pl.col("date") >= since) & (pl.col("unit_sales") > 0)
    lowered = (pl.col("unit_sales") * _DAMAGED_FACTOR).round(3)
    return lambda frame: frame.with_columns(unit_sales=pl.when(wrong).then(lowered).otherwise("unit_sales"))


def _requests(future: pl.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Return requests in a random order: a shop asks for some of its products on a day."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64(seed))
    found = []
    for _, group in sorted(future.group_by("date", "store_nbr"), key=lambda one: one[0]):
        rows = group.sort("item_nbr").to_dicts()
        order = random.permutation(len(rows))
        start = 0
        while start < len(rows):
            size = int(random.integers(2, _LARGEST_REQUEST_ROWS + 1))
            chosen = [rows[index] for index in order[start : start + size]]
            found.append({"caller": str(rows[0]["store_nbr"]), "rows": [_asked(row) for row in chosen],
                          "actual": [row["unit_sales"] for row in chosen]})  # fmt: skip
            start += size
    return [found[index] for index in random.permutation(len(found))]


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    promoted = str(row["onpromotion"]).lower() == "true"
    return {name: row[name] for name in ("date", "store_nbr", "item_nbr")} | {"onpromotion": promoted}
