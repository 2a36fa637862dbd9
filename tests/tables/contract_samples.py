"""A small shop: its problem, 60 days of right rows, and ways to spoil them."""

from __future__ import annotations

import copy
import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from cd4ml.problem import Problem
from cd4ml.tables.snapshot import validate

NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
FIRST = date(2024, 1, 1)

_SHOP: dict[str, Any] = {
    "name": "shop",
    "task": "regression",
    "tables": {
        "sales": {
            "file": "sales.csv",
            "columns": {
                "day": {"type": "date"},
                "shop": {"type": "category"},
                "units": {"type": "number", "min": 0, "max": 1000},
                "promoted": {"type": "boolean", "nulls": True, "known": "ahead"},
            },
            "unique": [{"columns": ["day", "shop"]}],
            "foreign_keys": [{"columns": "shop", "table": "shops"}],
        },
        "shops": {
            "file": "shops.csv",
            "columns": {
                "shop": {"type": "category"},
                "city": {"type": "category", "allowed": ["Quito", "Cuenca"]},
                "size": {"type": "integer", "nulls": True},
            },
            "unique": [{"columns": "shop"}],
        },
    },
    "facts": "sales",
    "time": {"column": "day", "step": "1d"},
    "entity": ["shop"],
    "panel": {"absent": "zero"},
    "joins": [{"table": "shops", "on": "shop"}],
    "target": {"column": "units"},
    "horizon": "1d",
    "features": [{"kind": "lag", "of": "units", "lags": ["1d", "7d"]}],
    "split": {"kind": "time", "holdout": "14d", "folds": 1, "fold": "7d"},
    "candidates": [{"name": "linear", "family": "ridge"}],
    "metrics": {"primary": "wape"},
    "baselines": [{"name": "mean", "kind": "mean"}],
}


def shop_document() -> dict[str, Any]:
    return copy.deepcopy(_SHOP)


def shop_problem(change: Any = None) -> Problem:
    """Return the shop's problem; `change` may alter the document first."""
    document = shop_document()
    if change is not None:
        change(document)
    return Problem.model_validate(document)


def sales_rows(days: int = 60) -> list[list[Any]]:
    return [
        [(FIRST + timedelta(days=n)).isoformat(), shop, (n * 7 + i * 3) % 50, ("true", "", "false")[n % 3]]
        for n in range(days)
        for i, shop in enumerate("ABC")
    ]


SHOPS = [["A", "Quito", 10], ["B", "Quito", ""], ["C", "Cuenca", 30]]


def write_table(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def write_shop(
    folder: Path, sales: list[list[Any]] | None = None, shops: list[list[Any]] | None = None
) -> str:
    """Write the two tables and return the folder as --data takes it."""
    rows = sales_rows() if sales is None else sales
    write_table(folder / "sales.csv", ["day", "shop", "units", "promoted"], rows)
    write_table(folder / "shops.csv", ["shop", "city", "size"], SHOPS if shops is None else shops)
    return str(folder)


def found_by(problem: Problem, data: str, **more: Any) -> dict[str, Any]:
    return validate(problem, data, now=NOW, **more)


def kinds(validation: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return (place, kind, severity) of each anomaly."""
    return {
        (".".join(part for part in (one["table"], one["column"]) if part), one["kind"], one["severity"])
        for one in validation["anomalies"]
    }


def balanced(validation: dict[str, Any]) -> bool:
    """Tell whether no row was dropped silently."""
    return all(
        table["rows_in"] == table["rows_accepted"] + table["rows_quarantined"]
        for table in validation["tables"].values()
    )
