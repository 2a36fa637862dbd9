from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.reports.formats import (
    alike,
    band,
    count,
    dash,
    day,
    days,
    finite,
    flatten,
    limits,
    number,
    percent,
    share_band,
    short_id,
    slug,
    stretch,
)
from cd4ml.reports.metric_view import MetricView, estimates

FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.21543, "0.2154"),
        (1234567, "1,234,567"),
        (1234.5, "1,234"),
        (-0.5, "−0.5"),
        (0.0, "0"),
        (12.0, "12"),
        (3.1e-7, "3.10e−07"),
        (float("nan"), "not measured"),
        (None, "not measured"),
        (float("-inf"), "−∞"),
        (True, "yes"),
        ("text", "text"),
        (9999.96, "10,000"),
    ],
)
def test_a_number_is_written_with_four_digits_and_separators(value: object, said: str) -> None:
    assert number(value) == said


def test_a_share_that_is_not_zero_is_not_written_as_zero() -> None:
    assert [percent(x) for x in (0, 1e-7, 0.0123, 0.5, None)] == [
        "0 %",
        "<0.01 %",
        "1.23 %",
        "50.0 %",
        "not measured",
    ]


def test_intervals_are_read_from_pairs_and_from_names() -> None:
    assert limits({"low": 1, "high": 2.5}) == limits([1, 2.5]) == (1.0, 2.5)
    assert limits(None) == limits("ab") == limits({"low": float("nan")}) == (None, None)
    assert band([1, None]) == "1 to ∞"
    assert band([None, None]) == ""


def test_small_forms() -> None:
    assert count(1234.0) == "1,234"
    assert count(True) == "not measured"
    assert day("2012-01-02T00:00:00") == "2012-01-02"
    assert day("2012-01-02T03:04:05+01:00") == "2012-01-02 02:04"
    assert day("soon") == "soon"
    assert short_id("a" * 64) == "a" * 16 + "…"
    assert flatten({"a": {"b": [1, 2], "c": []}, "d": [{"e": None}]}) == [("a.b", "1, 2"), ("d.0.e", None)]


def test_numbers_of_a_column_have_the_same_decimals() -> None:
    assert alike([0.202, 0.2079, None]) == ["0.2020", "0.2079", "–"]
    assert alike([164.71, 2.5, 0.0]) == ["164.7", "2.5", "0"]
    assert alike([1200.4, -3.4]) == ["1,200", "−3"]
    assert alike([1.0, 2.0, math.nan]) == ["1", "2", "–"]
    assert alike([0.0000123, -1e-9]) == ["0.000012", "0.000000"]
    assert alike([]) == []
    assert alike([1e16]) == [number(1e16)]


@given(st.lists(FINITE, min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_numbers_of_a_column_keep_their_order_and_nearly_their_values(values: list[float]) -> None:
    read = [float(said.replace(",", "").replace("−", "-")) for said in alike(values)]
    largest = max(map(abs, values))
    assert all(abs(a - b) <= max(largest * 1e-3, 1e-6) for a, b in zip(read, values, strict=True))


def test_times_of_a_column_are_written_alike() -> None:
    assert days(["2012-01-02T00:00:00", "2012-01-03"]) == ["2012-01-02", "2012-01-03"]
    assert days(["2012-01-02T00:00:00", "2012-01-03T05:00:00", None, "soon"]) == [
        "2012-01-02 00:00",
        "2012-01-03 05:00",
        "–",
        "soon",
    ]


def test_lengths_of_time_are_written_in_their_largest_whole_unit() -> None:
    assert [stretch(s) for s in (3600, 86400, 604800, 7200, 90, 0.5, None)] == [
        "hour",
        "day",
        "week",
        "2 hours",
        "90 seconds",
        "0.5 seconds",
        "not measured",
    ]


def test_an_id_has_no_other_letters_and_differs_where_names_differ() -> None:
    assert slug("bike-demand") == "bike-demand"
    assert slug("a b") != slug("a  b") != slug("a-b")
    assert slug('<a id="x">').startswith("a-id-x-")


def test_absent_values_have_a_dash_and_intervals_need_both_ends() -> None:
    assert (dash(None), dash(0.5)) == ("–", "0.5")
    assert share_band([0.1, 0.25]) == "10.0 % to 25.0 %"
    assert share_band([0.1, None]) == share_band(None) == ""
    assert finite(True) is None and finite(3) == 3.0


def test_scores_that_are_compared_have_the_same_decimals_and_no_empty_interval() -> None:
    found = estimates(
        [{"estimate": 0.5, "low": 0.5, "high": 0.5}, {"estimate": 0.9269, "low": 0.9, "high": 1}]
    )
    assert [(one.said, one.interval) for one in found] == [("0.500", ""), ("0.927", "0.900 to 1.000")]
    assert estimates([None])[0].said == "–"


def test_a_gain_is_a_share_of_the_references_distance_from_perfect() -> None:
    wape, auc = MetricView("wape"), MetricView("roc_auc")
    assert wape.gain(0.2, 0.4) == "50.0 % smaller" and wape.gain(0.6, 0.4) == "50.0 % larger"
    assert auc.gain(0.9, 0.8) == "50.0 % smaller"
    assert wape.gain(0.2, 0.0) == wape.gain(None, 0.4) == wape.gain(0.2, None) == ""
    assert MetricView("r2").title == "R²" and MetricView("unheard_of").title == "unheard of"
