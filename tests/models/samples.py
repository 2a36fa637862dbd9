"""Small problems and rows to fit on; all numbers come from seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cd4ml.problem import Candidate, Problem

NAMES = ("price", "day", "shop", "code", "noise")
SMALL = {"max_iter": 20, "max_leaf_nodes": 7}
TREES = {"n_estimators": 8, "min_samples_leaf": 3}
TABLES = {"sales": {"file": "s.csv", "columns": {"sold": {"type": "number"}, "price": {"type": "number"}}}}


def make_problem(task: str = "regression", **changes: Any) -> Problem:
    """Return a problem of five features; `changes` replace keys of the document."""
    regression = task == "regression"
    document: dict[str, Any] = {
        "name": "small",
        "task": task,
        "tables": TABLES,
        "facts": "sales",
        "target": {"column": "sold", "transform": "log1p", "min": 0}
        if regression
        else {"column": "sold", "positive": True},
        "features": [{"kind": "columns", "columns": ["price"]}],
        "split": {"kind": "random", "holdout": 0.25, "folds": 2},
        "candidates": [
            {"name": "boosting", "family": "gradient_boosting", "parameters": SMALL},
            {"name": "forest", "family": "random_forest", "parameters": TREES},
            {"name": "linear", "family": "ridge" if regression else "logistic"},
        ],
        "search": {"budget_row_fits": 100_000, "seed": 3},
        "metrics": {"primary": "wape" if regression else "roc_auc", "resamples": 100},
        "baselines": [{"name": "mean", "kind": "mean"}],
    }
    return Problem.model_validate(document | changes)


def candidate(family: str, **changes: Any) -> Candidate:
    """Return a quick candidate of a family."""
    parameters = {"gradient_boosting": SMALL, "random_forest": TREES}.get(family, {})
    return Candidate.model_validate({"name": "one", "family": family, "parameters": parameters} | changes)


@dataclass(frozen=True)
class Rows:
    """A dataset in memory: two folds, a quarter of holdout."""

    X: Any
    y: Any
    names: tuple[str, ...] = NAMES
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weight(self) -> Any:
        return np.linspace(0.5, 1.5, len(self.y))

    @property
    def step(self) -> Any:
        return np.arange(len(self.y)) // 20

    @property
    def cluster(self) -> Any:
        return self.step

    @property
    def role(self) -> Any:
        return (np.arange(len(self.y)) >= len(self.y) * 3 // 4).astype(np.int8)

    @property
    def folds(self) -> list[tuple[Any, Any]]:
        third = np.where(self.role == 0, np.arange(len(self.y)) * 4 // len(self.y), 9)
        return [(third < 1, third == 1), (third < 2, third == 2)]


def make_rows(task: str = "regression", count: int = 1200, seed: int = 1) -> Rows:
    """Return rows whose features are smooth, whole, categories, missing and useless."""
    rng = np.random.Generator(np.random.PCG64(seed))
    price = rng.normal(size=count)
    day, shop, code = rng.integers(0, 7, count), rng.integers(0, 12, count), rng.integers(-1, 4, count)
    mean = np.exp(1.5 - 0.5 * price + 0.2 * (day > 4) + 0.1 * (shop % 3) + 0.3 * (code == 2))
    y = rng.poisson(mean).astype(np.float64)
    X = np.column_stack([price, day, shop, code, rng.normal(size=count)]).astype(np.float32)
    X[rng.random(count) < 0.05, 0] = np.nan
    if task == "classification":
        y = (y > 5).astype(np.float64)
    return Rows(X, y)
