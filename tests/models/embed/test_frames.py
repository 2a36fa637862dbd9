"""Rows as applications have them become what the contract reads."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from cd4ml.errors import DataError
from cd4ml.models.embed.frames import field_lists

FIELDS = {
    "day": {"kind": "date"},
    "opened": {"kind": "timestamp"},
    "store": {"kind": "category"},
    "count": {"kind": "integer"},
    "open": {"kind": "boolean"},
}
SENT = {
    "day": ["2020-05-13", None],
    "opened": ["2020-05-13T07:00:00", None],
    "store": ["north", None],
    "count": [3, None],
    "open": [True, None],
}


def pandas_frame():
    return pd.DataFrame(
        {
            "day": pd.to_datetime(["2020-05-13", None]),
            "opened": [pd.Timestamp("2020-05-13 07:00"), pd.NaT],
            "store": pd.Categorical(["north", None]),
            "count": pd.array([3, None], dtype="Int64"),
            "open": pd.array([True, None], dtype="boolean"),
            "more": [1, 2],
        },
        index=[7, 3],
    )


def polars_frame():
    return pl.DataFrame(
        {
            "day": [date(2020, 5, 13), None],
            "opened": [datetime(2020, 5, 13, 7), None],
            "store": pl.Series(["north", None], dtype=pl.Categorical),
            "count": [3, None],
            "open": [True, None],
        }
    )


def arrays():
    return {
        "day": np.array(["2020-05-13", "NaT"], dtype="datetime64[ns]"),
        "opened": np.array(["2020-05-13T07", "NaT"], dtype="datetime64[h]"),
        "store": ("north", None),
        "count": [np.int64(3), float("nan")],
        "open": np.array([True, None], dtype=object),
    }


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, arrays])
def test_every_form_gives_the_same_values(make):
    lists, rows = field_lists(make(), FIELDS)
    assert lists == SENT
    assert rows == 2
    assert type(lists["count"][0]) is int
    assert type(lists["open"][0]) is bool


def test_floats_stay_floats_and_nan_becomes_null():
    frame = pd.DataFrame({"count": [3.0, np.nan]})
    assert field_lists(frame, {"count": {"kind": "integer"}}) == ({"count": [3.0, None]}, 2)


def test_a_time_of_day_a_zone_and_fractions_are_left_for_the_contract_to_refuse():
    values = [
        datetime(2020, 5, 13, 7),
        datetime(2020, 5, 13, tzinfo=UTC),
        np.datetime64("2020-05-13T00:00:00.5"),
    ]
    found, _ = field_lists({"day": values}, {"day": {"kind": "date"}})
    assert found["day"] == ["2020-05-13T07:00:00", "2020-05-13T00:00:00+00:00", "2020-05-13T00:00:00.500000"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (7, "expected a pandas or Polars DataFrame, .*; found int"),
        ({"store": "north"}, "found str in place of a column"),
        ({"store": 7}, "found int in place of a column"),
        ({"stroe": ["north"], "count": [1]}, "expected a column 'store'; found none; did you mean 'stroe'"),
        ({"store": ["a", "b"], "count": [1]}, "of one length; found store 2, count 1"),
        ({"x": [1]}, "expected columns day, .*; found x"),
        ({}, "found none"),
        ({"store": np.zeros((2, 2))}, "found ndarray in place of a column"),
    ],
)
def test_other_forms_are_refused(rows, told):
    with pytest.raises(DataError, match=told):
        field_lists(rows, FIELDS)
