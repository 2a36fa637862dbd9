"""The identity of a holdout: its rows, whatever snapshot, order, features or problem they come with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.problem import Problem
from cd4ml.tables.dataset import Dataset, build_dataset
from cd4ml.tables.holdout import HoldoutRows, holdout_rows
from tests.tables.dataset_samples import taken, write_tables

DAYS = 40


def rows(days: int = DAYS) -> list[dict[str, Any]]:
    return [
        {
            "day": str(np.datetime64("2025-01-01") + day),
            "shop": shop,
            "promo": day % 3,
            "sold": day * 2.5 + len(shop),
        }
        for day in range(days)
        for shop in ("north", "south")
    ]


def problem(unique: bool = True, **changes: Any) -> Problem:
    columns = {
        "day": {"type": "date"},
        "shop": {"type": "text"},
        "promo": {"type": "integer", "known": "ahead"},
        "sold": {"type": "number"},
    }
    table = {"file": "sales.csv", "columns": columns}
    if unique:
        table["unique"] = [{"columns": ["day", "shop"]}]
    document = {
        "name": "bakery",
        "task": "regression",
        "tables": {"sales": table},
        "facts": "sales",
        "time": {"column": "day", "step": "1d"},
        "entity": ["shop"],
        "panel": {"absent": "missing"},
        "target": {"column": "sold"},
        "horizon": "1d",
        "features": [{"kind": "calendar", "parts": ["day_of_week"]}],
        "split": {"kind": "time", "holdout": "14d", "folds": 2, "fold": "7d"},
        "candidates": [{"name": "line", "family": "ridge"}],
        "metrics": {"primary": "wape", "cluster": "day"},
        "baselines": [{"name": "mean", "kind": "mean"}],
    }
    return Problem.model_validate(document | changes)


def identify(place: Path, found: Problem, sales: list[dict[str, Any]]) -> HoldoutRows:
    write_tables(place / "data", {"sales": sales})
    return holdout_rows(found, taken(found, place))


@pytest.fixture
def first(tmp_path: Path) -> HoldoutRows:
    return identify(tmp_path / "first", problem(), rows())


def test_it_is_the_holdout_of_the_dataset(first: HoldoutRows, tmp_path: Path) -> None:
    snapshot = tmp_path / "first/snapshot"
    build_dataset(problem(), snapshot, tmp_path / "dataset")
    data = Dataset.load(tmp_path / "dataset")
    held = data.role == 1
    assert first.rows == held.sum() == 28
    assert first.size == len(np.unique(data.cluster[held])) == 14
    assert (first.first, first.last) == ("2025-01-27T00:00:00", "2025-02-09T00:00:00")
    assert first.columns == ("day", "shop", "sold")
    assert first.sketch.rows == 28


def test_another_snapshot_with_the_same_holdout_is_the_same_holdout(
    first: HoldoutRows, tmp_path: Path
) -> None:
    longer = [{**row, "sold": 99.5} if row["day"] < "2025-01-10" else row for row in rows()]
    assert identify(tmp_path / "history", problem(), longer[4:]).id == first.id
    assert identify(tmp_path / "order", problem(), rows()[::-1]).id == first.id


def test_features_names_and_search_have_no_part_in_it(first: HoldoutRows, tmp_path: Path) -> None:
    more = [{"kind": "columns", "columns": ["promo"]}, {"kind": "lag", "of": "sold", "lags": ["7d"]}]
    other = problem(name="patisserie", features=more, search={"seed": 9})
    assert identify(tmp_path / "other", other, rows()).id == first.id
    promoted = [{**row, "promo": 7} for row in rows()]
    assert identify(tmp_path / "promo", problem(), promoted).id == first.id, (
        "rows are known by key and target"
    )


def test_other_labels_or_days_are_another_holdout(first: HoldoutRows, tmp_path: Path) -> None:
    changed = rows()
    changed[-1] = {**changed[-1], "sold": 1.0}
    assert identify(tmp_path / "label", problem(), changed).id != first.id
    assert identify(tmp_path / "later", problem(), rows(DAYS + 1)).id != first.id
    shorter = problem(split={"kind": "time", "holdout": "13d", "folds": 2, "fold": "7d"})
    assert identify(tmp_path / "shorter", shorter, rows()).id != first.id


def test_without_unique_columns_all_of_a_row_count(tmp_path: Path) -> None:
    plain = identify(tmp_path / "plain", problem(unique=False), rows())
    assert plain.columns == ("day", "promo", "shop", "sold")
    promoted = [{**row, "promo": 7} for row in rows()]
    assert identify(tmp_path / "promo", problem(unique=False), promoted).id != plain.id


def test_nulls_and_texts_are_told_apart(tmp_path: Path) -> None:
    columns = {
        "a": {"type": "text", "nulls": True},
        "b": {"type": "text", "nulls": True},
        "n": {"type": "number", "nulls": True},
        "y": {"type": "number"},
    }
    found = Problem.model_validate(
        {
            **problem().model_dump(include={"task", "facts", "candidates", "baselines"}),
            "name": "texts",
            "tables": {"facts": {"file": "facts.csv", "columns": columns}},
            "facts": "facts",
            "target": {"column": "y"},
            "features": [{"kind": "columns", "columns": ["n"]}],
            "split": {"kind": "random", "holdout": 0.5, "folds": 2},
            "metrics": {"primary": "mae", "cluster": "row"},
        }
    )
    kinds = [("x", "yz", 0), ("xy", "z", 0), ("xyz", "", 0), ("", "xyz", 0), ("x", "yz", ""), ("-", "-", 0)]
    sales = [{"a": a, "b": b, "n": n, "y": i % 5} for i, (a, b, n) in enumerate(kinds * 40)]
    write_tables(tmp_path / "data", {"facts": sales})
    held = holdout_rows(found, taken(found, tmp_path))
    assert held.size == held.rows
    assert held.sketch.rows == len({tuple(row.values()) for row in sales})
    assert (held.first, held.last) == ("", "")


@pytest.mark.parametrize(("cluster", "size"), [("entity", 2), ("step", 14), ("row", 28)])
def test_its_size_is_what_the_intervals_resample(tmp_path: Path, cluster: str, size: int) -> None:
    found = problem(metrics={"primary": "wape", "cluster": cluster})
    assert identify(tmp_path, found, rows()).size == size
