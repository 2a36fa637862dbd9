from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.reports.drawing import Canvas, Scale, shorten, spread, tick_text, time_ticks
from cd4ml.reports.figures import Dot, Part, Series, Strip, curve, dots, heatmap, histogram, lines, strips

FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)


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
        (3e-6, 1e-6, "3.0e−06"),
        (-0.5, 0.5, "−0.5"),
    ],
)
def test_a_tick_has_the_digits_that_its_step_needs(value: float, step: float, said: str) -> None:
    assert tick_text(value, step) == said


def test_the_ticks_of_an_axis_are_in_one_unit() -> None:
    assert [said for _, said in Scale(0, 16_000, 0, 1).ticks(4)] == ["0", "5k", "10k", "15k"]
    assert [said for _, said in Scale(0, 1.1, 0, 1).ticks(2)] == ["0", "1"]
    assert Scale(3, 3, 0, 10).ticks() == [(3, "3")] and Scale(3, 3, 0, 10)(7) == 5


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
    few = [Dot("few", 90.0, mark=2, tag="few", far=True), Dot("none", -90.0, mark=2, far=True)]
    svg = dots([*rows, *few], label="x", axis="y")
    assert "→" in svg and "←" in svg and "90.00 (few)" in svg
    assert "→" not in dots([*rows, Dot("many", 90.0)], label="x", axis="y")
    assert "→" not in dots([*rows, *few], label="x", axis="y", within=[-90.0, 90.0])


def test_a_single_value_has_an_axis_around_it() -> None:
    assert "0 (few)" in dots([Dot("a", 0, mark=2, tag="few")], label="x", axis="y")
    alone = lines(["2020-01-01"], [Series("a", [3.0], [2.0], [4.0])], label="x", unit="y")
    assert alone.count("circle") >= 1 and 'class="w c0"' in alone and ">time, 2020-01-01<" in alone


def test_lines_are_named_at_their_ends_unless_there_is_one() -> None:
    times = ["2020-01-01", "2020-01-02"]
    two = lines(times, [Series("one", [1, 2]), Series("two", [2, 3])], label="x", unit="y")
    assert ">one<" in two and ">two<" in two
    alone = lines(times, [Series("one", [1, 2])], label="x", unit="y", reference=(1.5, "limit"))
    assert ">one<" not in alone and "dashed: limit" in alone
    assert 'class="r"' in alone and 'class="r"' not in two


def test_a_reference_is_within_the_axis() -> None:
    svg = lines(["2020-01-01", "2020-01-02"], [Series("a", [1, 2])], label="x", unit="y", reference=(9, "z"))
    heights = [float(found) for found in re.findall(r'class="r"[^>]* y1="([\d.-]+)"', svg)]
    assert heights and all(30 <= height <= 200 for height in heights)


def test_a_split_says_which_colour_is_which_part() -> None:
    parts = [Part("train", 0, 10, "t"), Part("holdout", 10, 12, "h")]
    svg = strips([Strip("Final", parts)], label="x", timed=False)
    assert ">train<" in svg and ">holdout<" in svg and ">validation<" not in svg
    assert svg.count('class="p-train"') == 2


def test_a_matrix_is_numbered_and_says_values_where_they_fit() -> None:
    small = heatmap(["a", "b"], [[1.0, -0.25], [-0.25, None]], label="x")
    assert "1 a" in small and "2 b" in small and "−.25" in small
    assert "a and b: −0.25" in small and "b and b: not measured" in small
    many = [f"c{i}" for i in range(40)]
    assert ">1 c0<" not in heatmap(many, [[0.5] * 40] * 40, label="x")


def test_a_long_name_is_cut_at_its_end_or_in_its_middle() -> None:
    assert shorten("abcdefgh", 5) == "abcd…"
    assert shorten("abcdefgh", 5, middle=True) == "ab…gh"
    assert shorten("abc", 3, middle=True) == "abc"
    assert shorten("abcdefgh", 1) == "a…"


def test_a_histogram_marks_zero_where_it_is_within() -> None:
    assert "no error" in histogram([-1, 0, 1], [2, 3], label="x", unit="y", zero=True)
    assert "no error" not in histogram([1, 2, 3], [2, 3], label="x", unit="y", zero=True)


def test_a_figure_without_words_is_hidden_from_screen_readers() -> None:
    assert 'aria-hidden="true"' in Canvas(10, "").svg()
    assert 'aria-label="a &lt;b&gt;"' in Canvas(10, "a <b>").svg()
