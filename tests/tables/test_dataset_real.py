"""The shipped problems become datasets: on the practice shop always, on real files where they are."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cd4ml.adapters import problem_files
from cd4ml.adapters.storage import open_store
from cd4ml.domain.shop import ShopSpec
from cd4ml.features.plan import compile_plan
from cd4ml.features.transform import transform
from cd4ml.tables.columns import to_columns
from cd4ml.tables.dataset import Dataset, build_dataset
from cd4ml.tables.simulate import write_shop
from cd4ml.tables.snapshot import take_snapshot
from tests.features.samples import same_bits

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _data(name):
    folder = os.environ.get("CD4ML_TEST_DATA")
    if not folder:
        pytest.skip("CD4ML_TEST_DATA is not set: there are no real files")
    return Path(folder) / name


def _dataset(name, data, place):
    """Return problem, snapshot and dataset; every row in is used or filtered."""
    problem = problem_files.load(name)
    store = open_store(str(place / "store"))
    snapshot = take_snapshot(problem, str(data), store, place / "snapshot", now=NOW)
    meta = build_dataset(problem, snapshot.path, place / "dataset")
    data = Dataset.load(place / "dataset")
    rows = meta["rows"]
    assert rows["in"] == sum(snapshot.frame(table).height for table in problem.facts)
    assert rows["in"] == rows["used"] + sum(rows["filtered"].values())
    assert len(data.y) == rows["used"] == sum(np.bincount(data.role).tolist())
    assert all(np.isfinite(values).all() for values in data.baselines.values())
    return problem, snapshot, data


def _unknown_shares(data):
    return dict(zip(data.names, np.isnan(data.X).mean(axis=0).tolist(), strict=True))


def _column(data, name):
    return np.asarray(data.X[:, data.names.index(name)], dtype=np.float64)


def _served_bits(problem, data):
    """Is the holdout, asked as a caller would, the same to the bit as in training?"""
    plan = compile_plan(problem)
    chosen = {name: problem.fact.columns[name] for name in plan.inputs}
    frame = pl.read_parquet(data.folder / "holdout.parquet")
    asked = to_columns(frame, problem.fact.model_copy(update={"columns": chosen}))
    return same_bits(transform(plan, data.state, asked), np.ascontiguousarray(data.X[data.role == 1]))


def test_the_practice_shop(tmp_path):
    spec = ShopSpec(rows=20_000, days=200, seed=7)
    write_shop(spec, tmp_path / "data")
    problem, snapshot, data = _dataset("sales-forecast", tmp_path / "data", tmp_path)
    assert _served_bits(problem, data)
    train = snapshot.frame("train").filter(pl.col("unit_sales") >= 0)
    assert data.meta["rows"]["filtered"] == {"returns": 20_000 - train.height}
    assert data.y.tolist() == train["unit_sales"].to_list()
    unknown = _unknown_shares(data)
    assert unknown["log_sales_lag_364d"] == 1  # there are 200 days
    assert all(share < 0.2 for name, share in unknown.items() if name != "log_sales_lag_364d")
    _check_lag_and_mean(train, data)
    holidays = snapshot.frame("holidays_events").filter(
        (pl.col("locale") == "National")
        & ~pl.col("transferred")
        & pl.col("type").is_in(["Holiday", "Transfer", "Additional", "Bridge"])
    )
    assert (
        _column(data, "national_holiday").tolist()
        == train["date"].is_in(holidays["date"].implode()).cast(pl.Float64).to_list()
    )
    assert (
        _column(data, "promoted").tolist() == train["onpromotion"].fill_null(False).cast(pl.Float64).to_list()
    )
    held = np.bincount(data.role)[1]
    assert data.meta["split"]["holdout"] == {"rows": held, "first": "2017-06-20", "last": "2017-08-15"}


def _check_lag_and_mean(train, data):
    """Compare with a self-join on the calendar, done by the frame library."""
    sales = train.select("date", "store_nbr", "item_nbr", y=pl.col("unit_sales").clip(0).log1p())
    births = sales.group_by("store_nbr", "item_nbr").agg(born=pl.col("date").min())
    asked = sales.drop("y").with_row_index("row").join(births, on=["store_nbr", "item_nbr"])
    days = asked.join(pl.DataFrame({"back": range(16, 23)}), how="cross").with_columns(
        then=pl.col("date") - pl.duration(days=pl.col("back"))
    )
    keys = ["then", "store_nbr", "item_nbr"]
    found = days.join(sales.rename({"date": "then"}), on=keys, how="left").with_columns(
        y=pl.when(pl.col("then") >= pl.col("born")).then(pl.col("y").fill_null(0.0))
    )
    week = found.group_by("row").agg(pl.col("y").mean()).sort("row")["y"].fill_null(np.nan)
    np.testing.assert_allclose(_column(data, "log_sales_mean_7d"), week.to_numpy(), rtol=1e-5, atol=1e-6)
    lag = found.filter(pl.col("back") == 16).sort("row")["y"].fill_null(np.nan)
    np.testing.assert_allclose(_column(data, "log_sales_lag_16d"), lag.to_numpy(), rtol=1e-6)


def test_bike_rentals(tmp_path):
    problem, snapshot, data = _dataset("bike-demand", _data("bike"), tmp_path)
    assert _served_bits(problem, data)
    assert data.X.shape == (17379, 22)
    assert np.bincount(data.role).tolist() == [15992, 1364, 23]
    assert data.meta["split"]["holdout"]["last"] == "2012-12-31T23:00:00"
    assert all(share < 0.03 for share in _unknown_shares(data).values())
    frame = snapshot.frame("hour").select(
        at=pl.col("dteday").cast(pl.Datetime("us")) + pl.duration(hours=pl.col("hr")),
        y=pl.col("cnt").log1p(),
    )
    then = frame.select(pl.col("at") + pl.duration(hours=168), lagged="y")
    wanted = frame.join(then, on="at", how="left", maintain_order="left")["lagged"].fill_null(np.nan)
    np.testing.assert_allclose(_column(data, "log_rentals_lag_7d"), wanted.to_numpy(), rtol=1e-6)
    assert data.meta["clusters"] == {"kind": "day", "count": 731}


def test_census_income(tmp_path):
    problem, _, data = _dataset("adult-income", _data("adult"), tmp_path)
    assert _served_bits(problem, data)
    assert data.X.shape == (48842, 12)
    assert np.bincount(data.role).tolist() == [32561, 16281]
    assert data.y.mean() == pytest.approx(0.2393, abs=1e-4)
    unknown = {name: share for name, share in _unknown_shares(data).items() if share}
    assert set(unknown) == {"workclass", "occupation", "native_country"}
    assert data.baselines["prior"][0] == pytest.approx(data.y[data.role == 0].mean())
    assert data.slices["sex"].categories == ("Female", "Male")
    assert data.slices["age"].categories[0] == "below 26"
