"""The corner shop's sales that went on after its bundle was made, as files."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cd4ml.features.columns import ColumnSet, concat, texts
from tests.models.bundles import category, sales

STORES = ["north", "south", "östlich", "west"]
"""The last one opened after the bundle was made."""
OLD_DAYS = 100
LAST_OLD = np.datetime64("2020-06-08", "s")


def later_sales(days: int = 20, seed: int = 5) -> ColumnSet:
    """Return the sales of the days after those of the bundle alone."""
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = days * len(STORES)
    day = np.repeat(LAST_OLD + np.arange(1, days + 1) * np.timedelta64(86400, "s"), len(STORES))
    return {
        "day": day,
        "store": category(STORES * days),
        "promoted": rng.random(rows) < 0.2,
        "price": rng.uniform(2, 9, rows),
        "weather": category(["sun", "rain"] * (rows // 2)),
        "visitors": rng.integers(0, 80, rows),
        "opened": day + np.timedelta64(8 * 3600, "s"),
        "units": rng.poisson(20, rows).astype(np.float64),
    }


def all_sales(days: int = 20) -> ColumnSet:
    """Return the sales that the bundle was made of, and those of the days after."""
    old = sales(OLD_DAYS)
    return concat([old, later_sales(days)]) if days else old


def _plain(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return times in a unit that a frame takes."""
    return values.astype("datetime64[us]") if values.dtype.kind == "M" else values


def write_sales(columns: ColumnSet, folder: Path) -> Path:
    """Write sales.csv and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(
        {
            name: texts(values) if name in ("store", "weather") else _plain(np.asarray(values))
            for name, values in columns.items()
        }
    )
    frame = frame.with_columns(pl.col("day").dt.date(), pl.col("price").fill_nan(None))
    frame.write_csv(folder / "sales.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    return folder
