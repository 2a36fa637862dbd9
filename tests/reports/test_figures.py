from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.reports.drawing import Scale, spread, tick_text, time_ticks
from cd4ml.reports.figures import Dot, Series, curve, dots, heatmap, histogram, lines, strips
from cd4ml.reports.formats import band, count, day, flatten, limits, number, percent, short_id

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
        "0.00 %",
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


@given(low=FINITE, span=st.floats(1e-6, 1e12))
@settings(deadline=None, max_examples=50)
def test_ticks_lie_within_their_scale_and_their_texts_differ(low: float, span: float) -> None:
    scale = Scale(low, low + span, 0, 100)
    ticks = scale.ticks()
    assert len(ticks) <= 12
    assert all(scale.low - span * 1e-6 <= value <= scale.high + span * 1e-6 for value, _ in ticks)
    if abs(low) < span * 1e3:
        assert len({text for _, text in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("value", "step", "said"),
    [
        (0.25, 0.05, "0.25"),
        (5000.0, 1000.0, "5,000"),
        (20000.0, 5000.0, "20k"),
        (1.5e6, 5e5, "1.5M"),
        (0.0, 1e-6, "0"),
    ],
)
def test_a_tick_has_the_digits_that_its_step_needs(value: float, step: float, said: str) -> None:
    assert tick_text(value, step) == said


@given(st.lists(st.floats(0, 200), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_labels_are_kept_apart_in_their_order(wanted: list[float]) -> None:
    placed = spread(wanted, 16, 0, 200)
    ordered = [placed[i] for i in sorted(range(len(wanted)), key=lambda i: wanted[i])]
    assert all(b - a >= 16 - 1e-6 for a, b in itertools.pairwise(ordered))
    assert max(placed) <= 200


@given(st.integers(1, 20_000_000))
@settings(deadline=None, max_examples=50)
def test_times_have_a_few_ticks_within_their_range(minutes: int) -> None:
    first = datetime(2011, 3, 5, 7, 20, tzinfo=UTC)
    last = first + timedelta(minutes=minutes)
    ticks = time_ticks(first, last)
    assert len(ticks) <= 6
    assert all(first.timestamp() <= stamp <= last.timestamp() for stamp, _ in ticks)
    assert len({said for _, said in ticks}) == len(ticks)


def test_figures_without_values_say_so() -> None:
    drawn = [
        dots([Dot("a", None)], label="x", axis="y"),
        lines(["2020-01-01"], [Series("a", [None])], label="x", unit="y"),
        curve([(None, 1.0)], label="x", titles=("a", "b")),
        histogram([0, 1], [0], label="x", unit="y"),
        histogram([0, 1], [1, 2], label="x", unit="y"),
        strips([], label="x", timed=False),
        heatmap([], [], label="x"),
    ]
    assert all("Nothing to draw" in svg for svg in drawn)


def test_a_line_breaks_where_a_value_is_missing() -> None:
    times = [f"2020-01-0{i}" for i in range(1, 6)]
    whole = lines(times, [Series("a", [1, 2, 3, 4, 5])], label="x", unit="y")
    broken = lines(times, [Series("a", [1, 2, None, 4, 5])], label="x", unit="y")
    assert whole.count('class="l c0"') == 1
    assert broken.count('class="l c0"') == 2


def test_values_that_have_no_time_are_drawn_in_order() -> None:
    svg = lines(["run-1", "run-2"], [Series("a", [1.0, 2.0])], label="x", unit="y", points=True)
    assert "run-1: 1" in svg and "in order" in svg


def test_a_small_slice_does_not_stretch_the_axis() -> None:
    rows = [Dot("a", 0.2, 0.1, 0.3), Dot("b", 0.25, 0.2, 0.3)]
    svg = dots([*rows, Dot("few", 90.0, mark=2), Dot("none", -90.0, mark=2)], label="x", axis="y")
    assert "→" in svg and "←" in svg and "90 (few)" in svg
    assert "→" not in dots([*rows, Dot("many", 90.0)], label="x", axis="y")


def test_a_single_value_has_an_axis_around_it() -> None:
    assert "0 (few)" in dots([Dot("a", 0, mark=2)], label="x", axis="y")
    assert lines(["2020-01-01"], [Series("a", [3.0], [2.0], [4.0])], label="x", unit="y").count("circle") >= 1
