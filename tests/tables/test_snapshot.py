"""Snapshots: named by their content, whole or absent, verified when they are opened."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.problem_files import dumps, load
from cd4ml.adapters.storage import FolderStorage, open_store
from cd4ml.errors import ContractError, IntegrityError, NotFoundError, SourceError
from cd4ml.tables.history import SnapshotHistory
from cd4ml.tables.snapshot import open_snapshot, take_snapshot, validate
from tests.tables.contract_samples import NOW, sales_rows, shop_problem, write_shop


@pytest.fixture
def data(tmp_path):
    return write_shop(tmp_path / "data")


def taken(tmp_path, data, problem=None, store="store", now=NOW):
    return take_snapshot(
        problem or shop_problem(), data, open_store(str(tmp_path / store)), tmp_path / "taken", now=now
    )


def test_a_snapshot_holds_the_rows_typed_and_in_order_and_says_where_they_came_from(tmp_path, data):
    found = taken(tmp_path, data)
    frame = found.frame("sales")
    assert dict(frame.schema) == {
        "day": pl.Date, "shop": pl.String, "units": pl.Float64, "promoted": pl.Boolean
    }  # fmt: skip
    assert frame.get_column("units").to_list() == [row[2] for row in sales_rows()]
    manifest = found.manifest
    assert (manifest["problem"], manifest["parent"], manifest["created"]) == ("shop", None, NOW.isoformat())
    assert manifest["time"] == {
        "column": "day",
        "first": "2024-01-01T00:00:00",
        "last": "2024-02-29T00:00:00",
    }
    sales = manifest["tables"]["sales"]
    assert (sales["rows"], sales["rows_quarantined"], sales["sources"]) == (180, 0, ["sales.csv"])
    assert sales["columns"][2] == {
        "name": "units", "type": "number", "nulls": False, "min": 0, "max": 1000, "description": ""
    }  # fmt: skip
    assert sorted(manifest["files"]) == [
        "profile.json", "quarantine/sales.parquet", "quarantine/shops.parquet", "sales.parquet",
        "shops.parquet", "validation.json",
    ]  # fmt: skip
    assert found.quarantine("sales").height == 0


def test_the_same_content_has_the_same_id_wherever_whenever_and_from_whatever_file(tmp_path, data):
    first = taken(tmp_path, data)
    frame = first.frame("sales")
    other = Path(write_shop(tmp_path / "other"))
    (other / "sales.csv").unlink()
    frame.write_parquet(other / "sales.parquet", row_group_size=7)
    again = taken(tmp_path, str(other), store="elsewhere", now=NOW + timedelta(days=9))
    assert again.id == first.id and again.manifest["fingerprint"] != first.manifest["fingerprint"]


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 179), st.sampled_from([(2, 51), (3, "true"), (1, "B")]))
def test_a_changed_value_changes_the_id(tmp_path_factory, row, change):
    folder, (column, value) = tmp_path_factory.mktemp("changed"), change
    rows = sales_rows()
    same = rows[row][column] == value
    rows[row][column] = value
    first = taken(folder, write_shop(folder / "a"))
    second = taken(folder, write_shop(folder / "b", rows))
    assert (first.id == second.id) == same


def test_the_id_knows_the_quarantine_and_the_order_of_the_rows(tmp_path, data):
    rows = sales_rows()
    ids = {taken(tmp_path, data).id}
    ids.add(taken(tmp_path, write_shop(tmp_path / "b", [*rows, ["2024-01-01", "A", -1, ""]])).id)
    ids.add(taken(tmp_path, write_shop(tmp_path / "c", [*rows, ["2024-01-01", "A", -2, ""]])).id)
    ids.add(taken(tmp_path, write_shop(tmp_path / "d", [rows[1], rows[0], *rows[2:]])).id)
    assert len(ids) == 4


def test_each_snapshot_names_the_one_before_and_none_is_its_own_parent(tmp_path, data):
    first = taken(tmp_path, data)
    other = write_shop(tmp_path / "b", sales_rows(50))
    second = taken(tmp_path, other)
    again = taken(tmp_path, other)
    assert [one.manifest["parent"] for one in (first, second, again)] == [None, first.id, first.id]
    history = SnapshotHistory(open_store(str(tmp_path / "store")))
    assert [entry["id"] for entry in history.entries("shop")] == [first.id, second.id]
    back = taken(tmp_path, data)
    assert back.id == first.id and history.latest("shop") == first.id


def test_refused_data_leave_the_last_snapshot_and_the_folder_alone(tmp_path, data):
    first = taken(tmp_path, data)
    with pytest.raises(ContractError, match="expected at least 1 rows"):
        taken(tmp_path, write_shop(tmp_path / "bad", []))
    assert open_snapshot(tmp_path / "taken").id == first.id
    assert SnapshotHistory(open_store(str(tmp_path / "store"))).latest("shop") == first.id


def test_a_long_refusal_says_three_reasons_and_how_many_more(tmp_path):
    def refuse(document):
        for column in document["tables"]["sales"]["columns"].values():
            column["severity"] = "refuse"

    rows = [["", "", "", "perhaps"], *sales_rows()]
    with pytest.raises(ContractError) as caught:
        taken(tmp_path, write_shop(tmp_path / "bad", rows), shop_problem(refuse))
    assert str(caught.value).count("sales.") == 3 and "and 1 more" in str(caught.value)


def test_an_absent_source_is_named(tmp_path, data):
    (tmp_path / "data" / "shops.csv").unlink()
    with pytest.raises(SourceError, match=r"table 'shops': expected shops.csv, shops.csv.gz, shops.parquet"):
        taken(tmp_path, data)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["sales.parquet", "validation.json", "quarantine/shops.parquet"])
def test_a_changed_file_is_seen(tmp_path, data, name):
    path = taken(tmp_path, data).path / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=name):
        open_snapshot(tmp_path / "taken")


def test_a_folder_that_is_no_snapshot_is_not_opened(tmp_path, data):
    folder = taken(tmp_path, data).path
    for extra, found in (({"kind": "event"}, "event"), ({}, "a bundle")):
        write_manifest(folder, **extra)
        with pytest.raises(IntegrityError, match=f"expected a snapshot in .*; found {found}"):
            open_snapshot(folder)
    with pytest.raises(IntegrityError):
        open_snapshot(tmp_path)


def test_an_unknown_table_gets_the_nearest_name(tmp_path, data):
    with pytest.raises(NotFoundError, match="did you mean 'sales'"):
        taken(tmp_path, data).frame("sale")


def test_the_time_range_of_facts_without_a_calendar_is_that_of_their_first_date(tmp_path, data):
    def timeless(document):
        for key in ("time", "panel", "horizon"):
            del document[key]
        document["features"] = [{"kind": "category", "columns": ["shop"]}]
        document["split"] = {"kind": "random", "holdout": 0.3, "folds": 2}

    assert taken(tmp_path, data, shop_problem(timeless)).manifest["time"]["first"][:10] == "2024-01-01"

    def stamped(document):
        timeless(document)
        document["tables"]["sales"]["columns"]["day"]["type"] = "timestamp"

    assert taken(tmp_path, data, shop_problem(stamped)).manifest["time"] == {
        "column": "day", "first": "2024-01-01T00:00:00", "last": "2024-02-29T00:00:00"
    }  # fmt: skip

    def undated(document):
        timeless(document)
        document["tables"]["sales"]["columns"]["day"]["type"] = "text"

    assert taken(tmp_path, data, shop_problem(undated)).manifest["time"] is None


def test_validation_keeps_nothing(tmp_path, data):
    before = sorted(tmp_path.rglob("*"))
    assert validate(shop_problem(), data, now=NOW)["refused"] == []
    assert sorted(tmp_path.rglob("*")) == before


def test_two_writers_of_the_same_content_leave_one_whole_snapshot(tmp_path, data):
    store = open_store(str(tmp_path / "store"))

    def take(number):
        # Each has its own clock, so that their manifests differ.
        return take_snapshot(
            shop_problem(), data, store, tmp_path / f"taken{number}", now=NOW + timedelta(seconds=number)
        ).id

    with ThreadPoolExecutor(4) as pool:
        (identity,) = set(pool.map(take, range(8)))
    history = SnapshotHistory(store)
    assert [entry["id"] for entry in history.entries("shop")] == [identity]
    open_snapshot(history.fetch(identity, tmp_path / "fetched"))
    sets = {path.parent for path in (tmp_path / "store" / "snapshots" / identity).glob("*/manifest.json")}
    assert len(sets) == 1, "the losers' files are removed"


class Interrupted(BaseException):
    """Stands for a killed process: nothing catches it."""


class DyingStore(FolderStorage):
    """A folder whose process dies before its n-th write."""

    def __init__(self, root, writes):
        super().__init__(root)
        self.left = writes

    def _copy_in(self, source, key):
        self._count()
        return super()._copy_in(source, key)

    def compare_and_swap(self, key, data, expected):
        self._count()
        return super().compare_and_swap(key, data, expected)

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise Interrupted


@pytest.mark.parametrize("writes", range(9))
def test_a_writer_that_dies_anywhere_leaves_nothing_or_all(tmp_path, data, writes):
    root = tmp_path / "store"
    try:
        take_snapshot(shop_problem(), data, DyingStore(root, writes), tmp_path / "dead", now=NOW)
        assert writes == 8 + 1
    except Interrupted:
        pass
    history = SnapshotHistory(FolderStorage(root))
    if writes < 9:
        assert history.entries("shop") == [] and not (tmp_path / "dead").exists()
    found = taken(tmp_path, data)
    assert history.latest("shop") == found.id
    assert open_snapshot(history.fetch(found.id, tmp_path / "fetched")).frame("sales").height == 180


_LOOP = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.problem_files import load
from cd4ml.adapters.storage import open_store
from cd4ml.tables.snapshot import take_snapshot
problem, data, store, out = sys.argv[1:]
print("ready", flush=True)
while True:
    take_snapshot(load(problem), data, open_store(store), Path(out), now=datetime.now(UTC))
"""


def test_kill_minus_9_leaves_whole_snapshots_alone(tmp_path, data):
    (tmp_path / "shop.yaml").write_text(dumps(shop_problem()))
    arguments = [str(tmp_path / name) for name in ("shop.yaml", "data", "store", "out")]
    process = subprocess.Popen([sys.executable, "-c", _LOOP, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.35)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = taken(tmp_path, data, load(arguments[0]))
    history = SnapshotHistory(open_store(arguments[2]))
    assert [entry["id"] for entry in history.entries("shop")] == [found.id]
    assert open_snapshot(history.fetch(found.id, tmp_path / "fetched")).id == found.id


REAL = [("bike-demand", "bike", {"hour": 17379}), ("adult-income", "adult", {"train": 32561, "test": 16281})]


@pytest.mark.skipif("CD4ML_TEST_DATA" not in os.environ, reason="needs CD4ML_TEST_DATA")
@pytest.mark.parametrize(("name", "folder", "rows"), REAL)
def test_real_data_keep_their_contract(tmp_path, name, folder, rows):
    source = str(Path(os.environ["CD4ML_TEST_DATA"]) / folder)
    found = taken(tmp_path, source, load(name))
    assert {table: found.frame(table).height for table in rows} == rows
    assert found.document("validation.json")["anomalies"] == []
