"""A shop so small that a whole run takes seconds: two tables, a regression, and a classification on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

REGRESSION = """
name: small-shop
task: regression
tables:
  sales:
    file: sales.csv
    columns:
      day: {type: date, max: today}
      shop: {type: integer}
      item: {type: category}
      units: {type: number, min: 0, max: 100000}
      price: {type: number, min: 0, known: ahead}
    unique: [{columns: [day, shop, item]}]
    foreign_keys: [{columns: item, table: items}]
  items:
    file: items.csv
    columns:
      item: {type: category}
      kind: {type: category, allowed: [food, drink]}
    unique: [{columns: item}]
facts: sales
time: {column: day, step: 1d}
entity: [shop, item]
panel: {absent: zero}
joins: [{table: items, on: item}]
target: {column: units, min: 0}
horizon: 2d
features:
  - {kind: columns, columns: [price]}
  - {kind: category, columns: [kind]}
  - {kind: calendar, parts: [day_of_week]}
  - {kind: lag, of: units, lags: [7d]}
  - {kind: seasonal, of: units, period: 7d, cycles: [3]}
split: {kind: time, holdout: 28d, folds: 2, fold: 7d}
candidates:
  - name: boosting
    family: gradient_boosting
    parameters: {max_iter: 20}
    search: {max_leaf_nodes: [7, 15]}
    tries: 2
  - {name: linear, family: ridge, search: {alpha: [1.0, 10.0]}, tries: 2}
search: {budget_row_fits: 20000, seed: 1}
metrics: {primary: mae, also: [rmse, wape], cluster: day, resamples: 200}
baselines: [{name: week_before, kind: seasonal_naive, period: 7d}]
gates: {max_quarantined_fraction: 0.05, baseline_margin_fraction: 0.02}
"""

CLASSIFICATION = (
    REGRESSION.replace("name: small-shop", "name: small-sellout")
    .replace("task: regression", "task: classification")
    .replace(
        "units: {type: number, min: 0, max: 100000}",
        "units: {type: number}\n      sold_out: {type: category}",
    )
    .replace("target: {column: units, min: 0}", 'target: {column: sold_out, positive: "yes"}')
    .replace(
        "{name: linear, family: ridge, search: {alpha: [1.0, 10.0]}, tries: 2}",
        "{name: linear, family: logistic}",
    )
    .replace("primary: mae, also: [rmse, wape]", "primary: roc_auc, also: [log_loss]")
    .replace("{name: week_before, kind: seasonal_naive, period: 7d}", "{name: prior, kind: mean}")
)

ITEMS = "item,kind\nbread,food\nwater,drink\n"


def sales(*, days: int = 150, shops: int = 3, seed: int = 5) -> list[str]:
    """Return sales.csv as lines, header first: a weekly season, a trend of prices, and noise."""
    random = np.random.default_rng(seed)
    lines = ["day,shop,item,units,price"]
    for day in np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-01-01") + days):
        weekday = int(day.astype(int) + 3) % 7
        for shop in range(1, shops + 1):
            for item, level in (("bread", 20), ("water", 8)):
                price = round(1 + random.random(), 2)
                mean = level * shop * (1 + 0.5 * (weekday >= 5)) / price
                lines.append(f"{day},{shop},{item},{random.poisson(mean)},{price}")
    return lines


def write_shop(folder: Path, lines: list[str] | None = None) -> Path:
    """Write sales.csv, items.csv and both problems; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = sales() if lines is None else lines
    (folder / "sales.csv").write_text("\n".join(made) + "\n", encoding="utf-8")
    (folder / "items.csv").write_text(ITEMS, encoding="utf-8")
    (folder / "problem.yaml").write_text(REGRESSION, encoding="utf-8")
    return folder


def sold_out(lines: list[str], limit: float = 20) -> list[str]:
    """Return sales with the column of the classification: whether more than `limit` units were sold."""
    made = [lines[0] + ",sold_out"]
    return made + [f"{line},{'yes' if float(line.split(',')[3]) > limit else 'no'}" for line in lines[1:]]


def command(*arguments: object, store: Path) -> subprocess.CompletedProcess[str]:
    """Run `cd4ml` as a user does, with a store of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cd4ml.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "CD4ML_STORE": str(store)},
        timeout=240,
        check=False,
    )


def run(shop: Path, out: Path, store: Path) -> subprocess.CompletedProcess[str]:
    """Run the training pipeline on a shop."""
    return command("run", shop / "problem.yaml", "--data", shop, "--out", out, store=store)


def registered(store: Path) -> list[dict[str, object]]:
    """Return what the registry of a store lists."""
    listed = command("models", "list", "--json", store=store)
    found: list[dict[str, object]] = json.loads(listed.stdout)
    return found
