"""Left joins: each fact finds its row, or null."""

import numpy as np
import pytest

from cd4ml.errors import DataError
from cd4ml.features.columns import texts
from cd4ml.features.joins import apply_join, build_lookup
from cd4ml.features.layout import JoinTable
from tests.features.samples import column

TABLE = {
    "store": column("integer", [2, 1, None, 3]),
    "city": column("category", ["Quito", "Manta", "Loja", None]),
    "opened": column("date", ["2001-01-01", None, "2002-01-01", "2003-01-01"]),
    "size": column("integer", [20, 10, 0, 30]),
    "open": np.array([True, False, True, True]),
}
FACTS = {"shop": np.array([3.0, 1.0, np.nan, 9.0, 2.0])}


def _join(columns=(), flag=None, keys=(("shop", "store"),)):
    return JoinTable(4, "stores", keys, columns, flag)


def test_columns_are_brought_and_null_where_no_row_matches():
    join = _join((("city", "town"), ("opened", "opened"), ("size", "size"), ("open", "open")))
    found = apply_join(join, build_lookup(join, None, TABLE), FACTS, {})
    assert texts(found["town"]) == [None, "Manta", None, None, "Quito"]
    np.testing.assert_array_equal(found["size"], [30, 10, np.nan, np.nan, 20])
    np.testing.assert_array_equal(found["open"], [1, 0, np.nan, np.nan, 1])
    assert np.isnat(found["opened"]).tolist() == [False, True, True, True, False]


def test_a_flag_is_one_where_at_least_one_row_matches():
    table = {"store": column("integer", [1, 1, 2, 3]), "kind": column("text", ["a", "a", "b", "a"])}
    join = _join(flag="has_a")
    lookup = build_lookup(join, "kind == 'a'", table)
    assert apply_join(join, lookup, FACTS, {})["has_a"].tolist() == [1, 1, 0, 0, 0]


def test_only_rows_where_the_condition_holds_take_part():
    table = {"store": column("integer", [1, 1, 2]), "size": column("integer", [5, 7, 9])}
    join = _join((("size", "size"),))
    found = apply_join(join, build_lookup(join, "size > 5", table), FACTS, {})
    np.testing.assert_array_equal(found["size"], [np.nan, 7, np.nan, np.nan, 9])


def test_several_rows_for_a_key_are_refused_by_name():
    table = {
        "store": column("integer", [1, 2, 1]),
        "city": column("text", ["a", "b", "a"]),
        "size": column("integer", [5, 7, 9]),
    }
    join = _join((("size", "size"),), keys=(("shop", "store"), ("town", "city")))
    with pytest.raises(DataError, match="table 'stores' has more than one row for store=1, city=a; a join"):
        build_lookup(join, None, table)


def test_keys_that_are_not_whole_are_refused_by_name():
    table = {"store": column("number", [1, 2.5]), "size": column("integer", [5, 7])}
    with pytest.raises(DataError, match=r"found 2.5 in 'stores.store'"):
        build_lookup(_join((("size", "size"),)), None, table)


def test_an_empty_table_matches_nothing():
    table = {"store": column("integer", []), "size": column("integer", [])}
    join = _join((("size", "size"),))
    assert np.isnan(apply_join(join, build_lookup(join, None, table), FACTS, {})["size"]).all()
    flag = _join(flag="there")
    assert not apply_join(flag, build_lookup(flag, None, table), FACTS, {})["there"].any()
