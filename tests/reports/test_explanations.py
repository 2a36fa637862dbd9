"""The sections of explanations, in the report and on their own."""

from __future__ import annotations

import math
import re

import pytest

from cd4ml.reports.explanation_figures import effect_curve, waterfall
from cd4ml.reports.report import report_page
from tests.reports import samples
from tests.reports.explanation_samples import explanations, proxy_gate
from tests.reports.pages import HOSTILE, Page, replaced

SECTIONS = ("explanations", "effects", "rows", "explained-slices", "proxies")


def page(**changes) -> Page:
    inputs = samples.classification() | {"explanations": explanations() | changes}
    inputs["verdict"]["gates"].append(proxy_gate())
    return Page(report_page(**inputs))


def test_the_report_has_the_sections_only_when_there_are_explanations() -> None:
    assert set(SECTIONS) <= set(page().texts)
    assert not set(SECTIONS) & set(Page(report_page(**samples.classification())).texts)
    without = Page(report_page(**samples.classification(), explanations={}))
    assert not set(SECTIONS) & set(without.texts)


def test_what_predictions_rest_on_is_written_with_its_scale_and_rows() -> None:
    said = page().texts["explanations"]
    assert "a base, −2.32, plus" in said and "log odds" in said
    assert "1,200 of 16,281 holdout rows" in said
    assert "The first 15 of 18" in said and "All 18 features" in said
    assert "age and capital_gain" in said and "12.0 %" in said and "50 rows" in said
    assert "0.410 to 0.510" in said.replace("0.4100", "0.410").replace("0.5100", "0.510") and "0.034" in said


def test_effects_are_curves_for_numbers_and_dots_for_categories_the_highest_first() -> None:
    text = report_page(**samples.classification(), explanations=explanations())
    said = Page(text).texts["effects"]
    assert said.index("Married") < said.index("Widowed") < said.index("rare or unknown")
    assert "12 rows without a value" in said and "probability" in said
    assert 'aria-label="Accumulated local effect of age"' in text
    section = text[text.index('<section id="effects"') : text.index('<section id="rows"')]
    assert section.count('class="b0"') == 1 and section.count('class="l c0"') == 1


def test_a_row_is_explained_from_the_base_to_the_whole() -> None:
    said = page().texts["rows"]
    assert "Highest prediction: row 8,861 of the holdout" in said and "Most too low" in said
    assert "age = 44" in said and "marital_statu" in said and "capital_gain = none" in said
    assert "+3" in said and "−0.8" in said and "all others" in said and "8.6" in said
    assert "Predicted 0.91, income was 1." in said


def test_slices_say_what_sets_them_apart_and_which_are_too_small() -> None:
    said = page().texts["explained-slices"]
    assert "Femaleage" not in said
    assert "1,990" in said and "−2.1" in said and "age −0.5" in said and "age 42.0 %" in said
    assert "Race: 1 slice" in said and said.count("too few rows") == 4


def test_proxies_stand_with_their_gate() -> None:
    said = page().texts["proxies"]
    assert "✗ fail" in said and "no limit" in said and "0.6" in said
    assert "relationship 72.0 %; occupation 10.0 %" in said
    assert "is a feature itself (race); it has values in 40 rows" in said


def test_what_is_missing_is_said_and_not_drawn() -> None:
    bare = {"task": "regression", "rows": {}}
    found = Page(report_page(**samples.regression(), explanations=bare))
    assert all("Not measured" in found.texts[name] for name in SECTIONS)


def test_hostile_names_are_shown_and_not_obeyed() -> None:
    hostile = replaced(explanations(), HOSTILE, str)
    hostile["effects"] = [
        one | {"kind": kind} for one in hostile["effects"] for kind in ("number", "category")
    ]
    hostile["contributions"]["slices"] = {HOSTILE: hostile["contributions"]["slices"]["sex"]}
    text = report_page(**samples.classification(), explanations=hostile)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert all(not key.startswith("on") for _, found in Page(text).tags for key in found)


@pytest.mark.parametrize("absent", [None, math.nan, math.inf])
def test_values_without_a_number_break_nothing(absent: float | None) -> None:
    empty = replaced(explanations(), absent, (int, float))
    text = report_page(**samples.classification(), explanations=empty)
    assert "Nothing to draw" in text
    assert not re.search(r'(cx|x1|y|d|width)="[^"]*(nan|inf)', text)
    assert ">nan<" not in text


def test_a_curve_needs_two_points_and_may_lack_its_band() -> None:
    assert "Nothing to draw" in effect_curve([{"at": 1.0, "estimate": 2.0}], label="x", titles=("x", "y"))
    points = [{"at": float(i), "estimate": float(i), "n": 3} for i in range(4)]
    drawn = effect_curve(points, label="x", titles=("x", "y"))
    assert "b0" not in drawn and drawn.count("<circle") == 4


def test_each_bar_begins_where_the_one_before_ended() -> None:
    drawn = waterfall(1.0, [("up", 2.0), ("down", -3.0)], label="w", axis="value")
    bars = re.findall(r'<rect class="(f\d)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn)
    (first, x1, w1), (second, x2, w2) = bars
    assert (first, second) == ("f0", "f1")
    assert float(x1) + float(w1) == pytest.approx(float(x2) + float(w2), abs=0.3)
    assert float(w2) == pytest.approx(1.5 * float(w1), abs=0.3)
    assert "Nothing to draw" in waterfall(None, [("up", 2.0)], label="w", axis="value")
