"""A small shop on disk: CSV files, its snapshot and its dataset."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cd4ml.adapters.storage import open_store
from cd4ml.problem import Problem
from cd4ml.tables.snapshot import take_snapshot
from tests.features.samples import random_rows, tables

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def write_tables(folder: Path, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write rows as CSV files named by table; null is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in found.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def shop_rows(seed: int = 1, days: int = 30) -> list[dict[str, Any]]:
    rows = random_rows(seed, days=days)
    for row in rows[::11]:
        row["amount"] = -1.0  # a return
    return rows


def taken(problem: Problem, place: Path) -> Path:
    """Return the folder of a snapshot of the files in `place`/data."""
    store = open_store(str(place / "store"))
    return take_snapshot(problem, str(place / "data"), store, place / "snapshot", now=NOW).path


def snapshot_of(problem: Problem, place: Path, sales: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """Return the folder of a snapshot of the shop under `place`."""
    rows = shop_rows() if sales is None else sales
    write_tables(place / "data", {"sales": rows, **tables(days=40)})
    return taken(problem, place)
