"""Columns outside of a frame: taken, put together, and read as categories."""

import numpy as np
import pytest

from cd4ml.features.columns import (
    CategoryArray,
    as_category,
    as_float,
    concat,
    empty_columns,
    kind_of,
    length,
    number_text,
    take,
    texts,
)
from cd4ml.problem import Column
from tests.features.samples import column


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([3, 1, 3]), ["3", "1", "3"]),
        (np.array([3.0, np.nan, -0.5]), ["3", None, "-0.5"]),
        (np.array([True, False]), ["1", "0"]),
        (np.array([2**60, 2**60 + 1]), [str(2**60), str(2**60 + 1)]),
        (column("date", ["2017-08-15", None]), ["2017-08-15", None]),
        (column("timestamp", ["2017-08-15T10:00:00"]), ["2017-08-15T10:00:00"]),
        (column("text", ["a", None, "a"]), ["a", None, "a"]),
        (np.array([np.nan, np.nan]), [None, None]),
        (np.empty(0), []),
    ],
)
def test_any_column_can_be_read_as_categories(values, expected):
    assert texts(values) == expected
    assert as_category(values).codes.dtype == np.int32
    alone = [take({"c": values}, slice(row, row + 1))["c"] for row in range(len(values))]
    assert [texts(one)[0] for one in alone] == expected
    assert all(as_category(one).codes.dtype == np.int32 for one in alone)


def test_a_number_has_one_text_whatever_its_type():
    assert {number_text(3), number_text(3.0), number_text(np.int64(3)), number_text(np.float32(3))} == {"3"}
    assert number_text(True) == "1"
    assert number_text(np.float64(0.1)) == "0.1"


def test_rows_are_taken_by_position_mask_or_slice():
    columns = {"n": np.arange(4), "c": column("text", ["a", "b", None, "a"])}
    for index in (np.array([3, 1]), np.array([False, True, False, True]), slice(1, 4, 2)):
        found = take(columns, index)
        assert sorted(found["n"].tolist()) == [1, 3]
        assert sorted(texts(found["c"])) == ["a", "b"]
        assert found["c"].categories is columns["c"].categories


def test_columns_put_together_share_categories():
    first = {"n": np.arange(2), "c": column("text", ["a", None])}
    second = {"n": np.arange(2) + 5.5, "c": column("text", ["b", "a"])}
    found = concat([first, second, take(first, slice(0, 1))])
    assert found["n"].tolist() == [0, 1, 5.5, 6.5, 0]
    assert texts(found["c"]) == ["a", None, "b", "a", "a"]
    same = concat([first, take(first, slice(0, 1))])
    assert same["c"].categories is first["c"].categories
    assert texts(same["c"]) == ["a", None, "a"]


def test_kinds_and_lengths():
    assert length({}) == 0
    assert length({"c": column("text", ["a", "b"])}) == 2
    assert kind_of("a") == kind_of(column("text", [])) == "text"
    assert kind_of(column("date", [])) == "time"
    assert kind_of(np.timedelta64(1, "s")) == "duration"
    assert kind_of(True) == kind_of(np.array([1.5])) == kind_of(3) == "number"
    assert as_float(np.array([True, False])).dtype == np.float64


def test_declared_types_have_columns_without_rows():
    kinds = ["integer", "number", "text", "category", "boolean", "date", "timestamp"]
    found = empty_columns({kind: Column(type=kind) for kind in kinds})
    assert {kind: kind_of(value) for kind, value in found.items()} == {
        "integer": "number", "number": "number", "text": "text", "category": "text", "boolean": "number",
        "date": "time", "timestamp": "time",
    }  # fmt: skip
    assert all(len(value) == 0 for value in found.values())
    assert isinstance(found["text"], CategoryArray)
