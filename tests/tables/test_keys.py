"""Rows that repeat a key and rows whose key refers to nothing are found exactly, whatever the batches."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.problem import ForeignKey
from cd4ml.tables.keys import later_duplicates, unmatched
from cd4ml.tables.writer import TableWriter

SCHEMA = {"a": pl.Int64, "b": pl.String}
KEYS = st.tuples(
    st.one_of(st.none(), st.integers(0, 3)), st.one_of(st.none(), st.sampled_from(["x", "y", ""]))
)
TABLES = st.lists(st.lists(KEYS, max_size=8), max_size=4)


def written(path, batches, schema=None):
    with TableWriter(path, schema or SCHEMA) as writer:
        for rows in batches:
            writer.write(pl.DataFrame(rows, schema=schema or SCHEMA, orient="row"))
        writer.finish()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@settings(deadline=None, max_examples=50)
@given(batches=TABLES, same_hash=st.booleans())
def test_each_later_row_of_a_key_is_found_even_when_hashes_meet(folder, batches, same_hash):
    rows = [row for batch in batches for row in batch]
    path = written(folder / "table.parquet", batches)
    hashes = pl.DataFrame(rows, schema=SCHEMA, orient="row").hash_rows(seed=0).to_numpy()
    found = later_duplicates(path, ["a", "b"], np.zeros_like(hashes) if same_hash else hashes)
    assert found.tolist() == [i for i, row in enumerate(rows) if row in rows[:i]]
    assert found.dtype == np.int64


@settings(deadline=None, max_examples=50)
@given(batches=TABLES, others=TABLES)
def test_each_key_without_its_other_row_is_found_and_nulls_refer_to_nothing(folder, batches, others):
    known = {row for batch in others for row in batch}
    path, other = written(folder / "table.parquet", batches), written(folder / "other.parquet", others)
    found = unmatched(path, ForeignKey(columns=["a", "b"], table="other"), other)
    rows = [row for batch in batches for row in batch]
    assert found.tolist() == [i for i, row in enumerate(rows) if None not in row and row not in known]


def test_keys_of_other_names_and_types_are_compared_as_text(tmp_path):
    path = written(tmp_path / "table.parquet", [[(1, "x"), (2, "x"), (7, "x")]])
    other = written(tmp_path / "other.parquet", [[("1",), ("2",)]], {"number": pl.String})
    key = ForeignKey(columns="a", table="other", references="number")
    assert unmatched(path, key, other).tolist() == [2]


def test_a_table_without_rows_has_no_wrong_keys(tmp_path):
    path = written(tmp_path / "table.parquet", [])
    assert unmatched(path, ForeignKey(columns="a", table="table"), path).tolist() == []
    assert later_duplicates(path, ["a"], np.empty(0, np.uint64)).tolist() == []
