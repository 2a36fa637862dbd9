"""Small real bundles in a real registry: some better, some worse, some of other features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters import problem_files
from cd4ml.adapters.git import Git
from cd4ml.adapters.registry import ModelVersion, Registry
from cd4ml.adapters.storage import atomic, open_store
from cd4ml.features.columns import CategoryArray
from cd4ml.features.plan import compile_plan
from cd4ml.features.state import State
from cd4ml.models import evaluation
from cd4ml.models.bundle import Holdout, Papers, write_bundle
from cd4ml.models.lineage import build_lineage
from cd4ml.models.persist import export_model
from cd4ml.models.search import refit
from cd4ml.problem import Problem
from cd4ml.steps.documents import read
from cd4ml.steps.features import build_features
from cd4ml.steps.snapshot import take_snapshot
from cd4ml.tables.columns import to_columns
from cd4ml.tables.dataset import Dataset

BAKERY = """
name: bakery
task: regression
tables:
  sales:
    file: sales.csv
    columns:
      day: {type: date}
      shop: {type: text}
      region: {type: category, known: ahead}
      offer: {type: number, known: ahead}
      loaves: {type: number, min: 0}
    unique: [{columns: [day, shop]}]
  shops:
    file: shops.csv
    columns:
      shop: {type: text}
      size: {type: number}
    unique: [{columns: shop}]
facts: sales
time: {column: day, step: 1d}
entity: [shop]
panel: {absent: missing}
joins: [{table: shops, on: shop}]
target: {column: loaves, min: 0}
horizon: 1d
features:
  - {kind: calendar, parts: [day_of_week, trend]}
  - {kind: category, columns: [region], encoding: one_hot}
  - {kind: columns, columns: [offer, size]}
  - {kind: lag, of: loaves, lags: [1d, 7d]}
split: {kind: time, holdout: 28d, folds: 1, fold: 7d}
candidates: [{name: line, family: ridge}]
metrics: {primary: wape, also: [mae], cluster: day, resamples: 200}
baselines: [{name: week_before, kind: seasonal_naive, period: 7d}]
slices: [region]
bias: {min_rows: 100}
champion: {margin_fraction: 0.02}
"""
DAYS, SHOPS = 100, 12
Tamper = Callable[[Dataset], Any]
"""Returns a target that is learnt in place of the dataset's."""


def write_bakery(folder: Path, days: int = DAYS) -> Path:
    """Write sales of twelve shops in three regions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.PCG64(5))
    rows, first = [], date(2025, 1, 1)
    for day in range(days):
        for shop in range(SHOPS):
            offer = round(float(rng.random()), 3)
            base = 60 + 5 * shop + 15 * math.sin(day % 7)
            loaves = max(0.0, base * (1 + 0.5 * offer) + rng.normal(0, 6))
            rows.append(f"{first + timedelta(days=day)},s{shop:02d},r{shop % 3},{offer},{loaves:.2f}")
    (folder / "sales.csv").write_text("day,shop,region,offer,loaves\n" + "\n".join(rows) + "\n")
    shops = "\n".join(f"s{shop:02d},{10 + shop}" for shop in range(SHOPS))
    (folder / "shops.csv").write_text(f"shop,size\n{shops}\n")
    return folder


def changed(text: str, *pairs: tuple[str, str]) -> str:
    """Return a problem with some text replaced; each must be there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Place:
    """What the steps wrote for one problem and its data."""

    folder: Path
    store: Path

    @property
    def problem(self) -> Path:
        return self.folder / "problem.json"

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    def train(self, name: str, tamper: Tamper | None = None) -> Path:
        """Fit, write `name`/predictions.npy and metrics.json as the score step does, and `name`/bundle."""
        problem, data = problem_files.loads(self.problem.read_text()), Dataset.load(self.dataset)
        learnt = data if tamper is None else replace(data, y=tamper(data))
        candidate = problem.candidates[0]
        winner = {"name": candidate.name, "family": candidate.family, "parameters": {}}
        model = export_model(refit(problem, learnt, winner, 1), data.names)
        held = np.flatnonzero(data.role == 1)
        predicted = model.fitted.predict(np.ascontiguousarray(data.X[held]))
        judged = _judged(data, held)
        metrics = evaluation.metric_table(problem, judged, predicted, {})
        with atomic.directory(self.folder / name) as folder:
            np.save(folder / "predictions.npy", predicted)
            atomic.write_json(folder / "metrics.json", metrics)
        manifest = read(self.snapshot / "manifest.json")
        lineage = build_lineage(
            problem, model, snapshot=manifest["id"], git=Git("c" * 40, "main", False), environment={}
        )
        page = evaluation.evaluate(problem, judged, predicted) | {"importances": []}
        papers = Papers(metrics, lineage, {"rows": []}, data.meta, page)
        state = State.load(self.dataset / "state")
        if problem.time:
            state = state.trim(28, compile_plan(problem).needed_steps)
        parts = (problem, model, state, _holdout(problem, data), papers)
        write_bundle(self.folder / name / "bundle", *parts, signed=False)
        return self.folder / name

    def crown(self, trained: Path, limits: Mapping[str, Any] | None = None) -> ModelVersion:
        """Register a bundle and name it champion."""
        registry = Registry(open_store(str(self.store)))
        record = {"verdict": "accept", "limits": dict(limits or {})}
        version = registry.register("bakery", trained / "bundle", record)
        registry.set_alias("bakery", "champion", version.version, reason="test", by="ann")
        return version


def _judged(data: Dataset, held: Any) -> evaluation.Holdout:
    return evaluation.Holdout(
        y=np.asarray(data.y[held]),
        weight=np.asarray(data.weight[held]),
        cluster=np.asarray(data.cluster[held]),
        times=np.asarray(data.times[held]),
        baselines={name: np.asarray(values[held]) for name, values in data.baselines.items()},
        slices={k: CategoryArray(v.codes[held], v.categories) for k, v in data.slices.items()},
    )


def _holdout(problem: Problem, data: Dataset) -> Holdout:
    import polars as pl

    chosen = data.role == 1
    frame = pl.read_parquet(data.folder / "holdout.parquet")
    kept = {name: column for name, column in problem.fact.columns.items() if name in frame.columns}
    inputs = to_columns(frame, problem.fact.model_copy(update={"columns": kept}))
    return Holdout(np.ascontiguousarray(data.X[chosen]), inputs, np.asarray(data.y[chosen]))


def prepare(folder: Path, store: Path, text: str = BAKERY, sources: Path | None = None) -> Place:
    """Take the snapshot and make the dataset of a problem."""
    sources = sources or write_bakery(folder / "sources")
    place = Place(folder, store)
    folder.mkdir(parents=True, exist_ok=True)
    place.problem.write_text(problem_files.dumps(problem_files.loads(text)))
    take_snapshot(place.problem, str(sources), str(store), place.snapshot, folder / "profile.html")
    build_features(place.problem, place.snapshot, place.dataset)
    return place


def region(data: Dataset, name: str) -> Any:
    """Return which rows are of a region."""
    groups = data.slices["region"]
    return np.asarray(groups.codes) == groups.categories.index(name)
