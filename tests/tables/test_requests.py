"""Values of a file of rows as a caller of a model sends them."""

from datetime import date, datetime

import polars as pl
import pytest

from cd4ml.errors import DataError
from cd4ml.problem import Column, Csv, Table
from cd4ml.tables.requests import read_requests, sent_values

NAMES = ("day", "at", "count", "price", "open", "plan")
KINDS = ("date", "timestamp", "integer", "number", "boolean", "category")


@pytest.fixture
def table():
    columns = {name: Column(type=kind) for name, kind in zip(NAMES, KINDS, strict=True)}
    return Table(file=["x.csv"], columns=columns, csv=Csv(delimiter=";", missing=["", "?"], header=False))


def test_texts_become_values_of_json_and_what_is_none_stays_to_be_refused(tmp_path, table):
    (tmp_path / "x.csv").write_text(
        "plan;open;price;count;at;day;more\n"
        "a;yes;1.5;3;2020-01-02 03:04;2020-01-02;x\n"
        "?;maybe;;2.5;noon;2020-02-30;y\n"
    )
    empty, frame = read_requests(tmp_path / "x.csv", table, 10)
    assert (empty.height, frame.height) == (0, 2)
    assert sent_values(frame, table, dict.fromkeys(NAMES, False)) == {
        "day": ["2020-01-02", "2020-02-30"],
        "at": ["2020-01-02T03:04:00", "noon"],
        "count": [3, "2.5"],
        "price": [1.5, None],
        "open": [True, "maybe"],
        "plan": ["a", None],
    }


def test_typed_values_are_those_of_json_and_nan_is_none(table):
    frame = pl.DataFrame(
        {
            "day": [date(2020, 1, 2), None],
            "at": [datetime(2020, 1, 2, 3, 4, 5, 600_000), None],
            "count": [3.0, float("nan")],
            "price": [float("nan"), 2.0],
            "open": [True, None],
            "plan": pl.Series(["a", None], dtype=pl.Categorical),
        }
    )
    assert sent_values(frame, table, dict.fromkeys(NAMES, True)) == {
        "day": ["2020-01-02", None],
        "at": ["2020-01-02T03:04:05", None],
        "count": [3, None],
        "price": [None, 2.0],
        "open": [True, None],
        "plan": ["a", None],
    }


def test_a_field_that_may_be_left_out_is_left_out_and_another_asked_for(table):
    frame = pl.DataFrame({"plans": ["a"]})
    assert sent_values(frame, table, {"plan": True}) == {}
    with pytest.raises(DataError, match="expected a column 'plan'; found plans; did you mean 'plans'"):
        sent_values(frame, table, {"plan": False})
