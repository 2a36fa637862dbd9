"""The practice shop is written as the six files that Kaggle hands out, whole, repeatable and in blocks."""

import csv
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from datetime import date

import polars as pl
import pytest

from cd4ml.domain.shop import ShopSpec, cached_shop, sales_of_day
from cd4ml.errors import UsageError
from cd4ml.tables.simulate import BLOCK_ROWS, FILES, train_frames, write_shop

SPEC = ShopSpec(rows=20_000, days=1300, seed=2)
HEADERS = {
    "train.csv": "id,date,store_nbr,item_nbr,unit_sales,onpromotion",
    "items.csv": "item_nbr,family,class,perishable",
    "stores.csv": "store_nbr,city,state,type,cluster",
    "holidays_events.csv": "date,type,locale,locale_name,description,transferred",
    "oil.csv": "date,dcoilwtico",
    "transactions.csv": "date,store_nbr,transactions",
}
DAY = r"20\d\d-\d\d-\d\d"
LINES = {
    "train.csv": rf"\d+,{DAY},\d+,\d+,-?\d+\.\d{{1,3}},(True|False)?",
    "items.csv": r'\d+,("LIQUOR,WINE,BEER"|[A-Z/ ]+),\d{4},[01]',
    "stores.csv": r"\d+,[A-Z][A-Za-z ]+,[A-Z][A-Za-z ]+,[A-E],\d+",
    "holidays_events.csv": rf"{DAY},[A-Za-z ]+,(National|Regional|Local),[A-Za-z ]+,[^,]+,(True|False)",
    "oil.csv": rf"{DAY},(\d+\.\d{{1,2}})?",
    "transactions.csv": rf"{DAY},\d+,\d+",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("shop")
    steps = []
    summary = write_shop(SPEC, out, lambda done, total: steps.append((done, total)))
    return out, summary, steps


def digests(out):
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES}


def test_only_the_six_files_are_written(written):
    out, summary, _ = written
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES) == sorted(HEADERS)
    assert summary["files"] == {name: (out / name).stat().st_size for name in FILES}


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_headers_and_values_are_laid_out_as_kaggle_does(written, name):
    header, *lines = (written[0] / name).read_text().splitlines()
    assert header == HEADERS[name]
    wrong = [line for line in lines if not re.fullmatch(LINES[name], line)]
    assert lines and not wrong, wrong[:3]


def test_train_has_exactly_the_rows_in_order_with_unique_keys(written):
    train = pl.read_csv(written[0] / "train.csv", try_parse_dates=True)
    assert train.height == SPEC.rows == written[1]["rows"]
    assert train["id"].to_list() == list(range(SPEC.rows))
    keys = train.select("date", "store_nbr", "item_nbr")
    assert keys.equals(keys.sort("date", "store_nbr", "item_nbr")) and not keys.is_duplicated().any()
    assert (train["unit_sales"] != 0).all() and (train["unit_sales"] < 0).any()
    assert train["date"].min() >= SPEC.first_date and train["date"].max() == date(2017, 8, 15)


def test_promotions_are_blank_until_they_were_recorded(written):
    train = pl.read_csv(written[0] / "train.csv", try_parse_dates=True)
    early = train["date"] < date(2014, 4, 1)
    assert early.any() and train["onpromotion"].is_null().to_list() == early.to_list()
    assert 0.05 < (train["onpromotion"].drop_nulls() == "True").mean() < 0.2


def test_the_tables_fit_each_other(written):
    out, summary, _ = written
    train, items, stores, receipts = (
        pl.read_csv(out / name) for name in ("train.csv", "items.csv", "stores.csv", "transactions.csv")
    )
    assert set(train["item_nbr"]) <= set(items["item_nbr"]) and items["item_nbr"].is_unique().all()
    assert set(train["store_nbr"]) <= set(stores["store_nbr"]) == set(receipts["store_nbr"])
    assert train.select("store_nbr", "item_nbr").unique().height == summary["entities"]
    assert train["store_nbr"].n_unique() == summary["stores"]
    assert train["item_nbr"].n_unique() == summary["items"]
    assert set(train["date"]) <= set(receipts["date"])


def test_oil_begins_blank(written):
    rows = list(csv.DictReader((written[0] / "oil.csv").open()))
    assert rows[0]["dcoilwtico"] == "" and rows[1]["dcoilwtico"] != ""
    assert rows[-1]["date"] == "2017-08-31"


def test_progress_is_told_to_its_end(written):
    done = [step for step, _ in written[2]]
    assert done == sorted(done) and written[2][-1] == (2 * SPEC.days, 2 * SPEC.days)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("first", 2), ("again", 2), ("other", 3)):
        write_shop(ShopSpec(3000, 90, seed), tmp_path / name)
    first, again, other = (digests(tmp_path / name) for name in ("first", "again", "other"))
    assert again == first
    assert all(other[name] != first[name] for name in ("train.csv", "items.csv", "oil.csv"))


def test_the_file_is_what_single_days_say(written):
    shop = cached_shop(SPEC)
    train = pl.read_csv(written[0] / "train.csv")
    for day in (5, 700, 1299):
        sold = sales_of_day(shop.demand, day)
        rows = train.filter(pl.col("date") == sold.date.isoformat())
        assert rows["unit_sales"].to_list() == sold.unit_sales.tolist()
        assert rows["item_nbr"].to_list() == sold.item_nbr.tolist()


def test_train_is_made_in_blocks_of_bounded_size():
    shop = cached_shop(ShopSpec(rows=3 * BLOCK_ROWS, days=60))
    sizes = [frame.height for frame in train_frames(shop)]
    assert len(sizes) >= 3 and sum(sizes) == 3 * BLOCK_ROWS
    assert max(sizes) < BLOCK_ROWS + shop.rows_per_day.max()


def test_files_of_an_earlier_shop_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "train.csv").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    write_shop(ShopSpec(1000, 60), tmp_path)
    assert (tmp_path / "train.csv").read_text().startswith(HEADERS["train.csv"])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_impossible_shop_leaves_nothing_behind(tmp_path):
    out = tmp_path / "shop"
    with pytest.raises(UsageError, match="to plant breaches in"):
        write_shop(ShopSpec(300, 60, scenarios=("contract-breach",)), out)
    assert not out.exists()


def test_breaches_stand_in_the_file_as_told(tmp_path):
    summary = write_shop(ShopSpec(9000, 60, scenarios=("contract-breach",)), tmp_path)
    told = summary["scenarios"]["contract-breach"]
    train = pl.read_csv(tmp_path / "train.csv", try_parse_dates=True)
    stores = pl.read_csv(tmp_path / "stores.csv")["store_nbr"]
    assert train.height == 9000
    assert train["unit_sales"].null_count() == told["blank_unit_sales"]
    assert (~train["store_nbr"].is_in(stores.implode())).sum() == told["unknown_store"]
    assert (train["date"] > date(2017, 8, 15)).sum() == told["future_date"]
    keys = train.select("date", "store_nbr", "item_nbr")
    assert keys.height - keys.unique().height == told["duplicate_key"]
    blank = train.filter(pl.col("unit_sales").is_null())["date"].unique().to_list()
    assert [day.isoformat() for day in blank] == [told["planted_on"]["blank_unit_sales"]]


def test_the_summary_is_json_and_has_the_irreducible_errors(written):
    summary = json.loads(json.dumps(written[1], allow_nan=False))
    assert summary["days"] == 1300 and summary["seed"] == 2 and summary["scenarios"] == {}
    errors = summary["irreducible_error"]
    assert sorted(errors) == ["last_16_days", "last_57_days"]
    for window in errors.values():
        assert window["all"]["nwrmsle"] > window["written"]["nwrmsle"] > 0.2


WRITE = """
import resource, signal, sys
from pathlib import Path
from cd4ml.domain.shop import ShopSpec
from cd4ml.errors import UsageError
from cd4ml.tables.simulate import write_shop

rows, days, out, file_bytes = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
import polars  # before files are limited
if file_bytes:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
try:
    write_shop(ShopSpec(rows, days, seed=1), out)
except UsageError as error:
    sys.exit(str(error))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def writing(rows, days, out, file_bytes=0):
    command = [sys.executable, "-c", WRITE, *map(str, (rows, days, out, file_bytes))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    found = []
    for rows, days in ((400_000, 120), (1_600_000, 480)):  # as many pairs of store and item
        printed, complaint = writing(rows, days, tmp_path / str(rows)).communicate()
        assert not complaint
        found.append(int(printed))
    assert found[1] < found[0] + 40  # megabytes; 70 more when the blocks are not written on the way


def test_a_killed_writer_leaves_the_earlier_shop_and_the_next_one_tidies_up(tmp_path):
    write_shop(ShopSpec(1000, 60), tmp_path)
    earlier = digests(tmp_path)
    process = writing(2_000_000, 400, tmp_path)
    until = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(".incomplete-*/train.csv")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert digests(tmp_path) == earlier
    assert list(tmp_path.glob(".incomplete-*"))
    write_shop(ShopSpec(1000, 60), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    _, complaint = writing(20_000, 60, tmp_path, file_bytes=200_000).communicate()
    assert f"expected a folder to write to at {tmp_path}; found: " in complaint and "make room" in complaint
    assert not list(tmp_path.iterdir())


def test_two_shops_are_not_written_to_one_folder_at_once(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="found another process that writes one there"):
        write_shop(ShopSpec(1000, 60), tmp_path)
    os.close(descriptor)
    assert write_shop(ShopSpec(1000, 60), tmp_path)["rows"] == 1000


def test_files_of_two_shops_are_never_taken_for_one(tmp_path):
    write_shop(ShopSpec(1000, 60), tmp_path)
    (tmp_path / "items.csv").unlink()
    (tmp_path / "items.csv").mkdir()  # the third file from the end cannot be replaced
    with pytest.raises(UsageError, match="Is a directory"):
        write_shop(ShopSpec(2000, 60), tmp_path)
    assert not (tmp_path / "train.csv").exists()


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Give another --out"):
        write_shop(ShopSpec(1000, 60), tmp_path / "file" / "shop")
