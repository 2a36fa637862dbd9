"""A snapshot becomes a dataset: every row accounted for, the same bytes each time."""

import json

import numpy as np
import polars as pl
import pytest

from cd4ml.domain.splits import by_time
from cd4ml.errors import DataError, NotFoundError, SourceError
from cd4ml.features.columns import texts
from cd4ml.features.plan import compile_plan
from cd4ml.features.transform import transform
from cd4ml.tables.columns import to_columns
from cd4ml.tables.dataset import Dataset, build_dataset
from tests.features.samples import FIRST, SHOP, same_bits, shop
from tests.tables.dataset_samples import shop_rows, snapshot_of, taken, write_tables

WEIGHT = {"primary": "wape", "cluster": "day", "weight": "where(size > 2, 1.25, 1)"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("shop")
    problem = shop(metrics=WEIGHT)
    snapshot = snapshot_of(problem, place)
    meta = build_dataset(problem, snapshot, place / "dataset")
    return problem, snapshot, meta, Dataset.load(place / "dataset")


def _bytes(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def _steps(rows):
    return np.array([(row["date"] - FIRST).days for row in rows])


def _kept():
    return [row for row in shop_rows() if row["amount"] >= 0]


def test_every_row_is_used_or_left_out_by_a_named_rule(built):
    _, snapshot, meta, data = built
    rows = pl.read_parquet(snapshot / "sales.parquet").height
    returns = sum(row["amount"] < 0 for row in shop_rows())
    assert meta["rows"] == {"in": rows, "filtered": {"returns": returns}, "used": rows - returns}
    assert all(len(array) == rows - returns for array in (data.X, data.y, data.weight, data.role))
    assert json.loads((data.folder / "dataset.json").read_text()) == meta == data.meta


def test_rows_stand_in_the_order_of_the_source(built):
    data, rows = built[3], _kept()
    assert data.y.tolist() == [row["amount"] for row in rows]
    assert [str(time)[:10] for time in data.times] == [str(row["date"]) for row in rows]
    steps = _steps(rows)
    assert data.step.tolist() == (steps - steps.min()).tolist()
    assert data.weight.tolist() == [1.25 if row["item"] in ("apple", "bread") else 1 for row in rows]


def test_entities_and_clusters_are_dense_codes(built):
    _, _, meta, data = built
    rows = _kept()
    pairs = [(row["store"], row["item"]) for row in rows]
    assert len(set(zip(pairs, data.entity.tolist(), strict=True))) == len(set(pairs)) == data.entity.max() + 1
    assert len(set(zip(data.times.tolist(), data.cluster.tolist(), strict=True))) == data.cluster.max() + 1
    assert meta["clusters"] == {"kind": "day", "count": int(data.cluster.max()) + 1}


def test_the_split_is_that_of_the_calendar_and_leaves_the_gap_out(built):
    _, _, meta, data = built
    split = by_time(np.asarray(data.step), 4, 2, 3, 2, 0)
    assert np.flatnonzero(data.role == 0).tolist() == np.flatnonzero(split.train).tolist()
    assert np.flatnonzero(data.role == 1).tolist() == np.flatnonzero(split.holdout).tolist()
    assert (data.role == 2).sum() == split.unused.sum() > 0
    assert data.step[data.role == 0].max() < data.step[data.role == 1].min() - 2
    for (train, validation), fold in zip(data.folds, split.folds, strict=True):
        assert (train == fold.train).all()
        assert (validation == fold.validation).all()
    described = meta["split"]
    assert described["holdout"]["rows"] + described["train"]["rows"] + described["unused"]["rows"] == len(
        data.y
    )
    assert described["holdout"]["last"] == str(max(row["date"] for row in _kept()))
    assert len(described["folds"]) == 2


def test_training_features_are_those_of_serving_to_the_bit(built):
    problem, _, _, data = built
    plan = compile_plan(problem)
    asked = to_columns(pl.read_parquet(data.folder / "holdout.parquet"), problem.fact.model_copy(
        update={"columns": {name: problem.fact.columns[name] for name in [*plan.inputs, "amount"]}}
    ))  # fmt: skip
    held = np.flatnonzero(data.role == 1)
    cut = data.state.trim(4, plan.needed_steps)
    assert same_bits(transform(plan, cut, asked), np.ascontiguousarray(data.X[held]))
    assert asked["amount"].tolist() == data.y[held].tolist()


def test_categories_are_counted_over_training_rows_alone(tmp_path):
    rows = shop_rows()
    newest = max(row["date"] for row in rows)
    later = [{**row, "store": 9, "amount": 3.0} for row in rows if (newest - row["date"]).days < 6]
    data_of = {}
    for name, more in (("plain", []), ("more", later)):
        problem = shop()
        folder = tmp_path / name
        build_dataset(problem, snapshot_of(problem, folder, rows + more), folder / "dataset")
        data_of[name] = Dataset.load(folder / "dataset").state
    assert "9" not in data_of["more"].vocabularies["store"].texts  # in the gap and the holdout alone
    assert data_of["more"].vocabularies == data_of["plain"].vocabularies


def test_slices_are_readable(built):
    data, rows = built[3], _kept()
    assert set(data.slices) == {"family", "holiday", "store"}
    assert texts(data.slices["store"]) == [str(row["store"]) for row in rows]
    assert set(texts(data.slices["holiday"])) == {"0", "1"}
    assert None in texts(data.slices["family"])


def test_the_same_snapshot_gives_the_same_bytes_however_much_memory_there_is(built, tmp_path):
    problem, snapshot, _, data = built
    build_dataset(problem, snapshot, tmp_path / "again")
    assert _bytes(tmp_path / "again") == _bytes(data.folder)
    build_dataset(problem, snapshot, tmp_path / "again", memory_budget_bytes=100)
    assert _bytes(tmp_path / "again") == _bytes(data.folder)


def test_a_failed_build_leaves_nothing_behind(built, tmp_path):
    _, snapshot, _, _ = built
    with pytest.raises(DataError, match="the data cover 28 steps; holdout 40"):
        build_dataset(shop(split={"kind": "time", "holdout": "40d"}), snapshot, tmp_path / "dataset")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_no_dataset(tmp_path):
    with pytest.raises(NotFoundError, match=r"found no dataset.json. Build it from a snapshot"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": [{"name": "all", "drop": "store > 0", "reason": "r"}]},
         r"no rows are left of \d+: dropped were \d+ by 'all'; look at the sources"),
        ({"metrics": {**WEIGHT, "weight": "where(size > 2, -1, 1)"}}, "expected weights of at least 0 from"),
        ({"metrics": {**WEIGHT, "weight": "price"}}, "found nan in .* rows, use fill"),
        ({"metrics": {**WEIGHT, "weight": "size * 0"}}, "expected a weight above 0 from `size . 0`"),
        ({"baselines": [{"name": "g", "kind": "group_mean", "by": ["third"]}],
          "derived": {**SHOP["derived"], "third": "store / 3"}}, "whole numbers; found 0.33.* in 'third'"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_learnt_from_are_refused(built, tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        build_dataset(shop(**changes), built[1], tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_an_absent_file_of_the_snapshot_is_named(built, tmp_path):
    with pytest.raises(SourceError, match=r"expected sales\.parquet in the snapshot; it is absent"):
        build_dataset(built[0], tmp_path, tmp_path / "dataset")


@pytest.mark.parametrize("cluster", ["row", "step", "entity"])
def test_rows_are_clustered_as_asked(built, tmp_path, cluster):
    problem, snapshot = shop(metrics={"primary": "wape", "cluster": cluster}), built[1]
    build_dataset(problem, snapshot, tmp_path / "dataset")
    data = Dataset.load(tmp_path / "dataset")
    expected = {"row": np.arange(len(data.y)), "step": data.step, "entity": data.entity}[cluster]
    assert (np.unique(expected, return_inverse=True)[1] == data.cluster).all()
    assert (data.weight == 1).all()


def test_a_table_of_its_own_may_be_held_out(tmp_path):
    columns = {
        "size": {"type": "number", "nulls": True},
        "town": {"type": "category"},
        "bought": {"type": "category"},
    }
    problem = shop(
        task="classification",
        tables={name: {"file": f"{name}.csv", "columns": columns} for name in ("old", "new")},
        facts=["old", "new"],
        derived={},
        time=None,
        panel=None,
        horizon=None,
        entity=[],
        filters=[],
        joins=[],
        target={"column": "bought", "positive": "yes"},
        features=[{"kind": "columns", "columns": ["size"]}, {"kind": "category", "columns": ["town"]}],
        split={"kind": "table", "holdout": "new", "folds": 2},
        candidates=[{"name": "linear", "family": "logistic"}],
        metrics={"primary": "roc_auc"},
        baselines=[{"name": "rate", "kind": "group_mean", "by": ["town"]}],
        slices=["size"],
        sensitive=["town"],
    )
    rng = np.random.default_rng(0)
    rows = [
        {"size": float(size), "town": "AB"[n % 2], "bought": ["yes", "no"][n % 3 == 0]}
        for n, size in enumerate(rng.normal(5, 2, 60))
    ]
    write_tables(tmp_path / "data", {"old": rows[:40], "new": [{**row, "town": "C"} for row in rows[40:]]})
    meta = build_dataset(problem, taken(problem, tmp_path), tmp_path / "dataset")
    data = Dataset.load(tmp_path / "dataset")
    assert data.role.tolist() == [0] * 40 + [1] * 20
    assert np.isnat(data.times).all()
    assert (data.step == 0).all()
    assert set(data.y.tolist()) == {0, 1}
    assert data.X[:, 1].tolist() == [n % 2 for n in range(40)] + [2] * 20  # C was not seen
    assert data.baselines["rate"][40:].tolist() == [data.y[:40].mean()] * 20
    assert meta["split"]["holdout"] == {"rows": 20}
    assert len(data.slices["size"].categories) == 5
