"""Values of a source become the type of their contract, or null where they are no such thing."""

from datetime import date, datetime, time, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.problem import Column, Csv
from cd4ml.tables.convert import EXPECTED, polars_types, prepared, typed

NOON = datetime(2026, 3, 1, 12, 30)


def converted(values, kind, dtype=None, column=None, **form):
    """Return the values as the type `kind` of a contract."""
    declared = Column.model_validate({"type": kind} | (column or {}))
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=False)})
    ready = frame.select(prepared("x", declared, Csv.model_validate(form), frame.schema["x"]))
    found = ready.select(typed("x", declared, ready.schema["x"])).to_series()
    assert found.dtype == polars_types()[kind] and found.name == "x"
    return found.to_list()


def test_each_type_has_a_name_for_people():
    assert set(EXPECTED) == set(polars_types())


@pytest.mark.parametrize(
    ("kind", "texts", "values"),
    [
        ("integer", ["1", "-2", "1.0", "1e3", "x", None], [1, -2, None, None, None, None]),
        ("integer", [str(2**63 - 1), str(2**63)], [2**63 - 1, None]),
        ("number", ["1", "-2.5", "1e3", "1,5", None], [1.0, -2.5, 1000.0, None, None]),
        ("boolean", ["True", "FALSE", "1", "0", "yes", "No", "2", None], [True, False] * 3 + [None, None]),
        ("date", ["2026-03-01", "2026-02-30", "01.03.2026", None], [date(2026, 3, 1), None, None, None]),
        ("text", ["a", " b ", None], ["a", " b ", None]),
        ("category", ["a", None], ["a", None]),
    ],
)
def test_texts_are_read(kind, texts, values):
    assert converted(texts, kind) == values


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01 12:30",
        "2026-03-01 12:30:00",
        "2026-03-01T12:30:00.000",
        "2026-03-01T12:30:00Z",
        "2026-03-01T14:30:00+02:00",
        "2026-03-01 07:30:00-0500",
    ],
)
def test_timestamps_of_iso_8601_become_utc(text):
    assert converted([text], "timestamp") == [NOON]


def test_a_date_alone_is_its_midnight_and_nonsense_is_null():
    assert converted(["2026-03-01", "2026-03-01 25:00", "noon"], "timestamp") == [
        datetime(2026, 3, 1),
        None,
        None,
    ]


def test_a_format_is_followed():
    assert converted(["1/2/2026"], "date", column={"format": "%d/%m/%Y"}) == [date(2026, 2, 1)]
    assert converted(["1/3/2026 12:30"], "timestamp", column={"format": "%d/%m/%Y %H:%M"}) == [NOON]
    zoned = converted(["1/3/2026 14:30 +0200"], "timestamp", column={"format": "%d/%m/%Y %H:%M %z"})
    assert zoned == [NOON]


def test_missing_values_blanks_and_replacements():
    texts = ["NA", " NA ", "", "-", " a ", None]
    assert converted(texts, "text", missing=["", "NA"]) == [None, " NA ", None, "-", " a ", None]
    assert converted(texts, "text", missing=["", "NA"], strip=True) == [None, None, None, "-", "a", None]
    assert converted(texts, "text", missing=["NA"]) == [None, " NA ", "", "-", " a ", ""]
    assert converted(["<=50K.", "x"], "category", column={"replace": {"<=50K.": "<=50K"}}) == ["<=50K", "x"]


def test_categories_of_a_typed_source_are_texts():
    assert converted(["a", "NA"], "category", pl.Categorical, missing=["NA"]) == ["a", None]
    assert converted(["1", "x"], "integer", pl.Enum(["1", "x"])) == [1, None]


@pytest.mark.parametrize(
    ("kind", "dtype", "values", "found"),
    [
        ("integer", pl.Int16, [1, None], [1, None]),
        ("integer", pl.UInt64, [2**64 - 1, 5], [None, 5]),
        ("integer", pl.Float64, [1.0, 1.5, float("nan"), 1e300], [1, None, None, None]),
        ("integer", pl.Decimal(10, 2), [1, 1.5], [1, None]),
        ("integer", pl.Boolean, [True, False], [1, 0]),
        ("integer", pl.Date, [date(2026, 3, 1)], [None]),
        ("number", pl.Int64, [3], [3.0]),
        ("number", pl.Decimal(10, 2), [1.5], [1.5]),
        ("number", pl.Datetime, [NOON], [None]),
        ("boolean", pl.Int8, [1, 0, 2, None], [True, False, None, None]),
        ("boolean", pl.Boolean, [True, None], [True, None]),
        ("boolean", pl.Date, [date(2026, 3, 1)], [None]),
        ("date", pl.Date, [date(2026, 3, 1)], [date(2026, 3, 1)]),
        ("date", pl.Datetime, [datetime(2026, 3, 1), NOON], [date(2026, 3, 1), None]),
        ("date", pl.Int64, [20260301], [None]),
        ("date", pl.Time, [time(12)], [None]),
        ("timestamp", pl.Date, [date(2026, 3, 1)], [datetime(2026, 3, 1)]),
        ("timestamp", pl.Datetime("ns"), [NOON], [NOON]),
        ("timestamp", pl.Duration, [timedelta(1)], [None]),
        ("text", pl.Int64, [1], ["1"]),
        ("text", pl.Date, [date(2026, 3, 1)], ["2026-03-01"]),
    ],
)
def test_typed_values_are_converted_where_nothing_is_lost(kind, dtype, values, found):
    assert converted(values, kind, dtype) == found


def test_zoned_timestamps_become_utc():
    there = pl.Series([NOON.replace(tzinfo=timezone(timedelta(hours=2)))]).dt.convert_time_zone(
        "Europe/Berlin"
    )
    frame = pl.DataFrame({"x": there})
    found = frame.select(typed("x", Column(type="timestamp"), frame.schema["x"]))
    assert found.to_series().to_list() == [NOON - timedelta(hours=2)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_integers_survive_text(values):
    assert converted([None if v is None else str(v) for v in values], "integer", pl.String) == values


@settings(deadline=None, max_examples=50)
@given(st.lists(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)), min_size=1))
def test_timestamps_survive_text(values):
    assert converted([value.isoformat() for value in values], "timestamp") == values
    assert converted([value.isoformat(" ") + "Z" for value in values], "timestamp") == values
