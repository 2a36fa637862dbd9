"""The facts of a snapshot as columns: read in order over tables, filtered by name, written as they are."""

import numpy as np
import polars as pl
import pytest

from cd4ml.adapters.storage import open_store
from cd4ml.errors import SourceError
from cd4ml.features.columns import length
from cd4ml.features.plan import compile_plan
from cd4ml.tables.facts import apply_filters, columns_needed, read_facts, read_tables
from cd4ml.tables.snapshot import take_snapshot
from tests.tables.contract_samples import NOW, sales_rows, shop_problem, write_shop, write_table


def two_tables(document):
    document["tables"]["later"] = {**document["tables"]["sales"], "file": "later.csv"}
    document["facts"] = ["sales", "later"]
    document["filters"] = [
        {"name": "promotions", "drop": "promoted == True", "reason": "planned by hand"},
        {"name": "small", "drop": "units < 5", "reason": "not worth a forecast"},
    ]


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facts")
    data, rows = write_shop(folder / "data", sales_rows()[:90]), sales_rows()[90:]
    write_table(folder / "data" / "later.csv", ["day", "shop", "units", "promoted"], rows)
    problem = shop_problem(two_tables)
    take_snapshot(problem, data, open_store(str(folder / "store")), folder / "taken", now=NOW)
    return problem, folder / "taken"


def read(taken):
    problem, folder = taken
    return read_facts(problem, folder, columns_needed(compile_plan(problem)))


def test_facts_of_several_tables_stand_one_after_another(taken):
    facts = read(taken)
    assert facts.columns["units"].tolist() == [row[2] for row in sales_rows()]
    assert facts.table.tolist() == [0] * 90 + [1] * 90 and facts.row.tolist() == [*range(90), *range(90)]


def test_what_the_dataset_needs_is_read_and_no_more(taken):
    problem, folder = taken
    needed = columns_needed(compile_plan(problem))
    assert {"day", "shop", "units", "promoted"} == needed
    assert set(read_facts(problem, folder, {"units"}).columns) == {"units"}


def test_a_weight_needs_its_columns(taken):
    def weighed(document):
        document["metrics"]["weight"] = "where(promoted == True, 2, 1)"

    assert "promoted" not in columns_needed(compile_plan(shop_problem()))
    assert "promoted" in columns_needed(compile_plan(shop_problem(weighed)))


def test_entities_are_dense_codes(taken):
    facts = read(taken)
    codes = facts.entity_codes(["shop"])
    assert sorted(set(codes.tolist())) == [0, 1, 2] and (codes[:3] == codes[3:6]).all()
    assert set(facts.entity_codes([]).tolist()) == {0}


def test_each_dropped_row_is_counted_by_the_first_rule_that_it_meets(taken):
    problem, _ = taken
    kept, counts = apply_filters(compile_plan(problem), read(taken))
    promoted = [row for row in sales_rows() if row[3] == "true"]
    small = [row for row in sales_rows() if row[3] != "true" and row[2] < 5]
    assert counts == {"promotions": len(promoted), "small": len(small)}
    assert length(kept.columns) == 180 - len(promoted) - len(small)
    assert kept.columns["units"].min() >= 5


def test_nothing_is_copied_where_no_rule_drops(taken):
    facts = read(taken)
    assert apply_filters(compile_plan(shop_problem()), facts) == (facts, {})


def test_rows_are_written_as_they_are_in_the_snapshot(taken, tmp_path):
    facts = read(taken)
    facts.write_rows(np.array([0, 5, 90, 179]), ["units", "day"], tmp_path / "rows.parquet")
    found = pl.read_parquet(tmp_path / "rows.parquet")
    assert found.columns == ["units", "day"]
    assert found.get_column("units").to_list() == [sales_rows()[i][2] for i in (0, 5, 90, 179)]


def test_joined_tables_are_read_once_and_optional_ones_may_be_absent(taken, tmp_path):
    problem, folder = taken
    assert set(read_tables(problem, folder)) == {"shops"}
    with pytest.raises(SourceError, match=r"expected shops.parquet in the snapshot"):
        read_tables(problem, tmp_path)

    def optional(document):
        document["tables"]["shops"]["optional"] = True

    assert read_tables(shop_problem(optional), tmp_path) == {}


def test_an_absent_fact_table_is_named(taken, tmp_path):
    with pytest.raises(SourceError, match=r"expected sales.parquet in the snapshot"):
        read_facts(taken[0], tmp_path, {"units"})
