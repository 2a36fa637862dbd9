"""A training small enough for tests, step by step, with its bundle in a registry."""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path

from cd4ml.adapters.registry import ModelVersion, Registry
from cd4ml.adapters.storage import open_store

PROBLEM = """
name: bakery
task: regression
tables:
  sales:
    file: sales.csv
    columns:
      day: {type: date}
      shop: {type: text}
      loaves: {type: number, min: 0}
    unique: [{columns: [day, shop]}]
facts: sales
time: {column: day, step: 1d}
entity: [shop]
panel: {absent: missing}
target: {column: loaves, min: 0}
horizon: 1d
features:
  - {kind: calendar, parts: [day_of_week]}
  - {kind: lag, of: loaves, lags: [1d, 7d]}
split: {kind: time, holdout: 14d, folds: 2, fold: 7d}
candidates:
  - {name: line, family: ridge, search: {alpha: [1.0, 10.0]}, tries: 2}
  - {name: trees, family: gradient_boosting, search: {max_iter: [10, 15], min_samples_leaf: [5]}, tries: 2}
search: {budget_row_fits: 20000, max_seconds: 60, seed: 3, repeats: 2}
stock: {under_cost: 3, over_cost: 1}
metrics: {primary: wape, also: [mae], cluster: day, resamples: 200}
baselines: [{name: week_before, kind: seasonal_naive, period: 7d}]
"""
DAYS = 120


def write_sources(folder: Path) -> Path:
    """Write the problem and the sales of two shops."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bakery.yaml").write_text(PROBLEM)
    rows = [
        f"{date(2025, 1, 1) + timedelta(days=day)},{shop},"
        f"{round(base + 20 * math.sin(day % 7) + 5 * math.sin(day * day), 2)}"
        for day in range(DAYS)
        for shop, base in (("north", 60), ("south", 90))
    ]
    (folder / "sales.csv").write_text("day,shop,loaves\n" + "\n".join(rows) + "\n")
    return folder


def train(folder: Path, store: Path) -> ModelVersion:
    """Run all steps up to the bundle in `folder` and register it; return its version."""
    from cd4ml.steps.features import build_features
    from cd4ml.steps.fingerprint import fingerprint, resolve_problem
    from cd4ml.steps.package import package_model
    from cd4ml.steps.score import score_model
    from cd4ml.steps.search import choose_model, plan_search, search_family
    from cd4ml.steps.snapshot import take_snapshot

    data = write_sources(folder / "sources")
    problem, snapshot, dataset = folder / "problem.json", folder / "snapshot", folder / "dataset"
    hashes = fingerprint(str(data / "bakery.yaml"), str(data))
    resolve_problem(str(data / "bakery.yaml"), hashes["problem"], problem)
    take_snapshot(problem, str(data), str(store), snapshot, folder / "profile.html")
    build_features(problem, snapshot, dataset)
    results = []
    for task in plan_search(problem, dataset):
        results.append(folder / f"result-{task['name']}")
        search_family(problem, dataset, task, results[-1])
    choose_model(problem, dataset, results, folder / "model")
    score_model(problem, snapshot, dataset, folder / "model", folder / "evaluation")
    lineage = hashes | {"git_commit": "c" * 40, "git_branch": "main"}
    paths = (problem, snapshot, dataset, folder / "model", folder / "evaluation")
    package_model(*paths, lineage, folder / "bundle", folder / "checks")
    return Registry(open_store(str(store))).push(folder / "bundle", "bakery", "accept")
