"""Bundles of two small problems, made once: a shop's sales over time, and whether people stay."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters import problem_files
from cd4ml.adapters.git import Git
from cd4ml.domain.fairness.catalogue import default_blocking, find
from cd4ml.domain.fairness.check import check_bias
from cd4ml.domain.fairness.measure import Sample
from cd4ml.domain.fairness.slices import build_slices
from cd4ml.features.columns import CategoryArray, ColumnSet, take
from cd4ml.features.fitting import fit_state
from cd4ml.features.plan import compile_plan, target_values
from cd4ml.features.state import State
from cd4ml.features.transform import transform
from cd4ml.models import evaluation
from cd4ml.models.bundle import Holdout, Papers, write_bundle
from cd4ml.models.contract import known_values
from cd4ml.models.fit import fit
from cd4ml.models.lineage import build_lineage
from cd4ml.models.persist import Model, export_model
from cd4ml.models.search import Refit
from cd4ml.problem import Problem

SHOP = """
name: corner-shop
description: Units that a store sells on a day
owner: the buyers
task: regression
assumptions: [Promotions are planned two days ahead]
tables:
  sales:
    file: sales.csv
    description: One row a store and day
    columns:
      day: {type: date, min: "2020-01-01", max: "2020-12-31"}
      store: {type: category}
      promoted: {type: boolean, known: ahead}
      price: {type: number, min: 0.5, max: 20, nulls: true, known: ahead, description: of the basket}
      weather: {type: category, allowed: [sun, rain], nulls: true, known: ahead}
      visitors: {type: integer, min: 0, known: ahead}
      opened: {type: timestamp, min: "2019-01-01", max: "2020-12-31 23:00:00", known: ahead}
      units: {type: number, min: 0}
facts: sales
derived: {opening_hour: hour(opened)}
time: {column: day, step: 1d}
entity: [store]
panel: {absent: zero}
target: {column: units, transform: log1p, min: 0}
horizon: 2d
features:
  - {kind: columns, columns: [promoted, price, visitors, opening_hour]}
  - {kind: category, columns: [store, weather]}
  - {kind: calendar, parts: [day_of_week]}
  - {kind: lag, of: units, lags: [2d, 7d]}
  - {kind: rolling, of: units, windows: [7d]}
split: {kind: time, holdout: 28d, folds: 2, fold: 14d, gap: 2d}
candidates: [{name: boosting, family: gradient_boosting, parameters: {max_iter: 15}}]
metrics: {primary: wape, also: [rmsle, bias], cluster: day, resamples: 100}
baselines: [{name: last_week, kind: seasonal_naive, period: 7d}]
stock: {under_cost: 3, over_cost: 1}
slices: [store]
gates: {max_latency_ms: 500}
"""

PEOPLE = """
name: people
task: classification
tables:
  members:
    file: members.csv
    columns:
      age: {type: integer, min: 0, max: 120}
      plan: {type: category}
      note: {type: text, nulls: true}
      stays: {type: text, allowed: ["no", "yes"]}
facts: members
target: {column: stays, positive: "yes"}
features:
  - {kind: columns, columns: [age]}
  - {kind: category, columns: [plan, note]}
split: {kind: random, holdout: 0.3}
candidates: [{name: linear, family: logistic}]
metrics: {primary: roc_auc, also: [log_loss], resamples: 100}
baselines: [{name: prior, kind: mean}]
slices: [plan]
sensitive: [plan]
serving: {unknown: refuse, max_rows: 50}
"""


@dataclass(frozen=True)
class Case:
    """All that a bundle is written of."""

    problem: Problem
    model: Model
    state: State
    holdout: Holdout
    papers: Papers
    known: Mapping[str, list[str]] | None
    judged: evaluation.Holdout

    def write(self, folder: Path, **more: Any) -> str:
        parts = (self.problem, self.model, self.state, self.holdout, self.papers)
        return write_bundle(folder, *parts, **{"known": self.known, **more})

    def changed(self, **parts: Any) -> "Case":
        return replace(self, **parts)


def category(values: list[str | None]) -> CategoryArray:
    names = sorted({value for value in values if value is not None})
    codes = [-1 if value is None else names.index(value) for value in values]
    return CategoryArray(np.array(codes, dtype=np.int32), tuple(names))


def sales(days: int = 100) -> ColumnSet:
    rng = np.random.Generator(np.random.PCG64(3))
    stores = ["north", "south", "östlich"]
    rows = days * len(stores)
    day = np.repeat(
        np.datetime64("2020-03-01", "s") + np.arange(days) * np.timedelta64(86400, "s"), len(stores)
    )
    store = [stores[i % len(stores)] for i in range(rows)]
    promoted = rng.random(rows) < 0.2
    price = np.where(rng.random(rows) < 0.1, np.nan, rng.uniform(2, 9, rows))
    visitors = rng.integers(0, 80, rows)
    hours = rng.integers(7, 10, rows)
    weather: list[str | None] = [None if u < 0.1 else "sun" if u < 0.6 else "rain" for u in rng.random(rows)]
    units = visitors * (0.2 + 0.3 * promoted) + rng.poisson(3, rows)
    return {
        "day": day,
        "store": category(list(store)),
        "promoted": promoted,
        "price": price,
        "weather": category(weather),
        "visitors": visitors,
        "opened": day + hours * np.timedelta64(3600, "s"),
        "units": units.astype(np.float64),
    }


def members(rows: int = 300) -> ColumnSet:
    rng = np.random.Generator(np.random.PCG64(4))
    age = rng.integers(18, 90, rows)
    plan: list[str | None] = [["basic", "plus", "old"][int(i)] for i in rng.integers(0, 3, rows)]
    # Separators that str.splitlines takes for the end of a line, and quotes.
    note: list[str | None] = [
        [None, "a\u2028b", 'says "x"', "new\nline"][int(i)] for i in rng.integers(0, 4, rows)
    ]
    stays = rng.random(rows) < 1 / (1 + np.exp((55 - age) / 12))
    answers: list[str | None] = ["yes" if stay else "no" for stay in stays]
    return {"age": age, "plan": category(plan), "note": category(note), "stays": category(answers)}


def _case(text: str, columns: ColumnSet, held: Any, times: Any, slices: dict[str, str]) -> Case:
    problem = problem_files.loads(text)
    plan = compile_plan(problem)
    state = fit_state(plan, columns, {}, ~held)
    X, y = transform(plan, state, columns), target_values(problem, columns)
    weight = np.ones(len(y))
    train = np.flatnonzero(~held)

    def fitted(quantile: float | None = None) -> Any:
        candidate = problem.candidates[0]
        return fit(problem, candidate, {}, X[train], y[train], weight[train], 5, quantile)

    second = fitted(problem.stock.quantile) if problem.stock else None
    model = export_model(Refit(fitted(), second, [{"seed": 5, "score": 0.1}]), state.names)
    rows = np.flatnonzero(held)
    day = columns["day"].astype("datetime64[D]").astype(np.int64) if times else np.arange(len(y))  # type: ignore[union-attr]
    groups = {name: take(columns, rows)[source] for name, source in slices.items()}
    judged = evaluation.Holdout(
        y=y[rows],
        weight=weight[rows],
        cluster=day[rows],
        times=columns["day"][rows] if times else np.full(len(rows), np.datetime64("NaT", "s")),  # type: ignore[index]
        baselines={problem.baselines[0].name: np.full(len(rows), y[train].mean())},
        slices=groups,  # type: ignore[arg-type]
    )
    inputs = take({name: columns[name] for name in plan.inputs}, rows)
    known = (
        known_values(problem, plan.inputs, take(columns, train))
        if problem.serving.unknown == "refuse"
        else None
    )
    return Case(
        problem,
        model,
        state.trim(40, plan.needed_steps) if times else state,
        Holdout(np.ascontiguousarray(X[rows]), inputs, y[rows]),
        _papers(problem, model, judged, X[rows], [len(train), len(rows)]),
        known,
        judged,
    )


def _papers(problem: Problem, model: Model, judged: evaluation.Holdout, X: Any, counts: list[int]) -> Papers:
    predicted = model.fitted.predict(np.ascontiguousarray(X))
    quantile = model.quantile.predict(np.ascontiguousarray(X)) if model.quantile else None
    page = evaluation.evaluate(problem, judged, predicted, quantile)
    page["importances"] = [{"feature": model.names[0], "increase": 0.5, "low": 0.4, "high": 0.6}]
    column, groups = next(iter(judged.slices.items()))
    decision = (predicted >= 0.5).astype(float) if problem.task == "classification" else None
    bias = check_bias(
        Sample(judged.y, predicted, decision, judged.weight),
        build_slices({column: groups}, 1, 1),
        [find(name) for name in default_blocking(problem.task, problem.metrics.primary)],
        problem.bias,
        today=date(2026, 1, 1),
        resamples=100,
    )
    metrics = evaluation.metric_table(problem, judged, predicted, {"first": predicted})
    lineage = build_lineage(
        problem, model, snapshot="5" * 64, git=Git("c" * 40, "main", False), environment={}
    )
    part = {"rows": counts[0], "first": "2020-03-01", "last": "2020-05-12"}
    held = {"rows": counts[1], "first": "2020-05-13", "last": "2020-06-08"}
    split = {"kind": problem.split.kind, "train": part, "holdout": held, "unused": {"rows": 0}, "folds": []}
    split["folds"] = [{"train": part, "validation": {"rows": 42}}]
    rows = {"in": sum(counts) + 7, "filtered": {"returns": 7}, "used": sum(counts)}
    data = {
        "rows": rows,
        "split": split,
        "clusters": {"kind": "day", "count": 100},
        "names": list(model.names),
    }
    return Papers(metrics, lineage, bias.to_dict(), data, page)


@cache
def shop() -> Case:
    columns = sales()
    day = np.asarray(columns["day"])
    return _case(SHOP, columns, day >= day.max() - 27 * np.timedelta64(86400, "s"), True, {"store": "store"})


@cache
def people() -> Case:
    columns = members()
    return _case(PEOPLE, columns, np.arange(300) % 3 == 0, False, {"plan": "plan"})


_KEPT = tempfile.TemporaryDirectory(prefix="cd4ml-bundles-")


@cache
def bundle(name: str) -> Path:
    """Return a bundle of "shop" or "people"; tests that alter one take a `copy`."""
    folder = Path(_KEPT.name) / name
    {"shop": shop, "people": people}[name]().write(folder, signed=False)
    return folder


def copy(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(bundle(name), folder))


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes by relative name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def document(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_bytes())
