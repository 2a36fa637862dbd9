"""A small shop: a problem with every kind of feature, and rows for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import date, timedelta
from typing import Any

import numpy as np

from cd4ml.features.columns import CategoryArray, ColumnLike, ColumnSet, length, take
from cd4ml.features.plan import Plan, compile_plan
from cd4ml.features.state import State
from cd4ml.features.transform import fit_state
from cd4ml.problem import Problem, Table

FIRST = date(2024, 2, 20)
HORIZON_DAYS = 3
SHOP: dict[str, Any] = {
    "name": "shop",
    "task": "regression",
    "tables": {
        "sales": {
            "file": "sales.csv",
            "columns": {
                "date": {"type": "date"},
                "store": {"type": "integer"},
                "item": {"type": "category"},
                "amount": {"type": "number"},
                "promo": {"type": "boolean", "nulls": True, "known": "ahead"},
                "stock": {"type": "number", "nulls": True, "known": "2d"},
            },
        },
        "items": {
            "file": "items.csv",
            "columns": {
                "item": {"type": "category"},
                "family": {"type": "category", "nulls": True},
                "size": {"type": "integer"},
            },
        },
        "days": {
            "file": "days.csv",
            "known": "ahead",
            "columns": {"date": {"type": "date"}, "kind": {"type": "text"}},
        },
        "oil": {
            "file": "oil.csv",
            "optional": True,
            "columns": {"date": {"type": "date"}, "price": {"type": "number", "nulls": True}},
        },
    },
    "facts": "sales",
    "derived": {
        "log_amount": "log1p(maximum(amount, 0))",
        "promoted": "fill(promo, 0)",
        "line": "lower(fill(family, 'None'))",
        "weekday": "day_of_week(date)",
    },
    "time": {"column": "date", "step": "1d"},
    "entity": ["store", "item"],
    "panel": {"absent": "zero"},
    "filters": [{"name": "returns", "drop": "amount < 0", "reason": "a return is not demand"}],
    "joins": [
        {"table": "items", "on": "item"},
        {"table": "days", "on": "date", "where": "kind == 'holiday'", "flag": "holiday"},
        {"table": "oil", "on": "date"},
    ],
    "target": {"column": "amount", "transform": "log1p", "min": 0},
    "horizon": "3d",
    "features": [
        {"kind": "columns", "columns": ["promoted", "holiday", "size"]},
        {"kind": "category", "columns": ["family", "store"]},
        {"kind": "category", "columns": ["line"], "encoding": "one_hot", "max_categories": 2},
        {"kind": "category", "columns": ["item"], "encoding": "frequency"},
        {"kind": "calendar", "parts": ["day_of_week", "payday", "trend"]},
        {"kind": "lag", "of": "log_amount", "lags": ["3d", "7d"]},
        {"kind": "lag", "of": "stock", "lags": ["5d"]},
        {
            "kind": "rolling",
            "of": "amount",
            "windows": ["3d", "8d"],
            "statistics": ["mean", "std", "min", "max", "sum", "median", "share_nonzero", "count"],
        },
        {"kind": "rolling", "of": "promoted", "windows": ["4d"], "after": "4d"},
        {"kind": "rolling", "of": "stock", "windows": ["4d"]},
        {"kind": "rolling", "of": "amount", "by": "family", "windows": ["5d"]},
        {"kind": "rolling", "of": "amount", "by": "item", "windows": ["5d"], "aggregate": "sum"},
        {"kind": "rolling", "of": "price", "by": [], "windows": ["5d"]},
        {"kind": "seasonal", "of": "amount", "period": "2d", "cycles": [1, 3]},
        {"kind": "age"},
        {"kind": "age", "by": "family"},
    ],
    "split": {"kind": "time", "holdout": "4d", "folds": 2, "fold": "3d", "gap": "2d"},
    "candidates": [{"name": "linear", "family": "ridge"}],
    "metrics": {"primary": "wape", "cluster": "day"},
    "baselines": [
        {"name": "week", "kind": "seasonal_naive", "period": "7d"},
        {"name": "group", "kind": "group_mean", "by": ["store", "weekday"]},
        {"name": "all", "kind": "mean"},
    ],
    "slices": ["family", "holiday"],
    "sensitive": ["store"],
}
ITEMS = [("apple", "Fruit", 3), ("pear", "Fruit", 2), ("bread", "Bakery", 7), ("nail", None, 1)]


def document(**changes: Any) -> dict[str, Any]:
    """Return the shop's document with some keys replaced; None takes a key away."""
    found = deepcopy(SHOP) | changes
    return {key: value for key, value in found.items() if value is not None}


def shop(**changes: Any) -> Problem:
    return Problem.model_validate(document(**changes))


def only(*features: dict[str, Any], **changes: Any) -> Problem:
    """Return a shop with these features alone."""
    return shop(features=list(features), baselines=[{"name": "all", "kind": "mean"}], **changes)


def column(kind: str, values: Sequence[Any]) -> ColumnLike:
    """Return values as a column of a declared type; None is null."""
    if kind in ("text", "category"):
        names = tuple(dict.fromkeys(value for value in values if value is not None))
        position = {name: code for code, name in enumerate(names)}
        return CategoryArray(np.array([position.get(v, -1) for v in values], dtype=np.int32), names)
    if kind in ("date", "timestamp"):
        return np.array([np.datetime64("NaT" if v is None else v, "s") for v in values], "datetime64[s]")
    if kind == "integer" and None not in values:
        return np.array(values, dtype=np.int64)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def columns_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[str, ColumnLike]:
    """Return rows as the columns of a table; absent fields are null."""
    return {name: column(c.type, [row.get(name) for row in rows]) for name, c in table.columns.items()}


def day(step: int) -> date:
    return FIRST + timedelta(days=step)


def random_rows(seed: int, days: int = 24, share: float = 0.6) -> list[dict[str, Any]]:
    """Return rows of some days, stores and items: with holes, births, returns and nulls, in random order."""
    rng = np.random.default_rng(seed)
    rows = []
    for store in (1, 2):
        for item, _, _ in ITEMS:
            born = int(rng.integers(0, days // 2))
            rows += [
                {
                    "date": day(step),
                    "store": store,
                    "item": item,
                    "amount": float(np.round(8 * rng.gamma(1.0, 9.0)) / 8),  # sums of eighths are exact
                    "promo": [True, False, None][rng.integers(0, 3)],
                    "stock": None if rng.random() < 0.3 else float(rng.integers(0, 50)),
                }
                for step in range(born, days)
                if rng.random() < share
            ]
    return [rows[i] for i in rng.permutation(len(rows))]


def tables(seed: int = 0, days: int = 40) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the joined tables."""
    rng = np.random.default_rng(seed)
    return {
        "items": [{"item": item, "family": family, "size": size} for item, family, size in ITEMS],
        "days": [
            {"date": day(step), "kind": ["holiday", "event"][step % 2]}
            for step in range(days)
            if step % 5 < 2
        ],
        "oil": [
            {"date": day(step), "price": None if step % 6 == 5 else float(np.round(rng.normal(50, 4), 2))}
            for step in range(days)
            if step % 7 < 5
        ],
    }


def table_columns(problem: Problem, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, ColumnSet]:
    return {name: columns_of(problem.tables[name], found) for name, found in rows.items()}


def fitted(
    problem: Problem,
    rows: Sequence[Mapping[str, Any]],
    train: np.ndarray[Any, Any] | None = None,
    others: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    **options: Any,
) -> tuple[Plan, State, dict[str, ColumnLike]]:
    """Return plan, state and facts of rows; all of them train by default."""
    plan, facts = compile_plan(problem), columns_of(problem.fact, rows)
    mask = np.ones(length(facts), dtype=bool) if train is None else train
    found = table_columns(problem, tables() if others is None else others)
    return plan, fit_state(plan, facts, found, mask, **options), facts


def same_bits(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    """Are two arrays equal to the bit, type and shape?"""
    return (left.dtype, left.shape) == (right.dtype, right.shape) and left.tobytes() == right.tobytes()


def pick(facts: ColumnSet, index: Any) -> dict[str, ColumnLike]:
    return take(facts, np.atleast_1d(index))
