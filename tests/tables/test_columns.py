"""Between frames and columns: what a null becomes, and back."""

from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import SourceError
from cd4ml.features.columns import CategoryArray, texts
from cd4ml.problem import Table
from cd4ml.tables.columns import from_columns, to_columns

TYPES = {
    "whole": ("integer", pl.Int64, st.integers(-(2**53), 2**53)),
    "part": ("number", pl.Float64, st.floats(allow_nan=False, allow_infinity=False)),
    "text": ("text", pl.String, st.text(max_size=4)),
    "kind": ("category", pl.String, st.sampled_from(["a", "b", "é", ""])),
    "yes": ("boolean", pl.Boolean, st.booleans()),
    "day": ("date", pl.Date, st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    "at": ("timestamp", pl.Datetime("us"), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),
}
TABLE = Table.model_validate(
    {
        "file": "x.csv",
        "columns": {name: {"type": kind, "nulls": True} for name, (kind, _, _) in TYPES.items()},
    }
)
SCHEMA = {name: kind for name, (_, kind, _) in TYPES.items()}
rows = st.fixed_dictionaries({name: values | st.none() for name, (_, _, values) in TYPES.items()})


@settings(deadline=None, max_examples=50)
@given(st.lists(rows, max_size=12))
def test_a_frame_becomes_columns_and_a_frame_again(found):
    frame = pl.DataFrame(found, schema=SCHEMA)
    columns = to_columns(frame, TABLE)
    again = from_columns(columns)
    whole = frame.with_columns(pl.col("at").dt.truncate("1s"))
    expected = whole.with_columns(
        pl.col("day").cast(pl.Datetime("ms")), pl.col("at").cast(pl.Datetime("ms")),
        *(pl.col(n).cast(pl.Float64) for n in ("whole", "yes") if frame[n].null_count()),
    )  # fmt: skip
    assert again.rows() == expected.rows()
    for name in ("whole", "yes"):
        assert (columns[name].dtype == np.float64) == bool(frame[name].null_count())
    assert columns["day"].dtype == columns["at"].dtype == "datetime64[s]"


def test_categories_are_sorted_and_nulls_have_no_category():
    frame = pl.DataFrame({"kind": ["b", None, "a", "b"]})
    table = Table.model_validate({"file": "x.csv", "columns": {"kind": {"type": "category"}}})
    found = to_columns(frame, table)["kind"]
    assert found.categories == ("a", "b")
    assert found.codes.tolist() == [1, -1, 0, 1]
    assert found.codes.dtype == np.int32


def test_columns_that_are_not_declared_are_left_out_and_absent_ones_named():
    frame = pl.DataFrame({"kind": ["a"], "other": [1]})
    table = Table.model_validate({"file": "x.csv", "columns": {"kind": {"type": "text"}}})
    assert list(to_columns(frame, table)) == ["kind"]
    wrong = Table.model_validate({"file": "x.csv", "columns": {"kinds": {"type": "text"}}})
    with pytest.raises(
        SourceError, match="expected a column 'kinds'; found kind, other; did you mean 'kind'"
    ):
        to_columns(frame, wrong)


def test_categories_without_a_text_are_nulls():
    found = from_columns({"kind": CategoryArray(np.array([-1, -1], dtype=np.int32), ())})
    assert found["kind"].to_list() == [None, None]
    assert texts(to_columns(found, Table.model_validate(
        {"file": "x.csv", "columns": {"kind": {"type": "text"}}}
    ))["kind"]) == [None, None]  # fmt: skip
