"""Words, markup, plot and form of the page, one by one."""

from typing import Any
from xml.etree import ElementTree

import pytest

from cd4ml.serving.page.endpoint import Known
from cd4ml.serving.page.form import Filled, read_row, render_form
from cd4ml.serving.page.markup import join, tag
from cd4ml.serving.page.plot import bar, history_plot
from cd4ml.serving.page.words import effect, number, shown


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (2.134, "2.13"),
        (12.0, "12"),
        (1234.5, "1,234"),
        (-0.0001, "0"),
        (-4.25, "−4.25"),
        (0.0123, "0.012"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_about_three_digits(value: Any, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("contribution", "scale", "said"),
    [
        (0.1133, "log(1 + value)", "+12 %"),
        (-0.5, "log", "−39 %"),
        (2.0, "log", "× 7.39"),
        (0.0, "log", "±0 %"),
        (0.031, "probability", "+3.1 points"),
        (0.1133, "log-odds", "+12 %"),
        (3.21, "value", "+3.21"),
        (-3.21, "value", "−3.21"),
        (500.0, "log", "× 5,184,705,528,587,072,045,056"),
    ],
)
def test_contributions_are_said_on_their_scale(contribution: float, scale: str, said: str) -> None:
    assert effect(contribution, scale) == said


def test_values_are_said_as_they_are() -> None:
    assert [shown(value) for value in (None, True, 1047679, 3.0, 0.333333, "A")] == [
        "no value",
        "yes",
        "1047679",
        "3",
        "0.33",
        "A",
    ]


def test_text_is_escaped_and_markup_is_not_escaped_twice() -> None:
    assert tag("p", "a < b & c", tag("b", '"x"'), title='"') == (
        '<p title="&quot;">a &lt; b &amp; c<b>&quot;x&quot;</b></p>'
    )
    assert join("<", None, "", tag("br")) == "&lt;<br>"
    assert tag("input", checked=True, disabled=False, value=None) == "<input checked>"


HISTORY = {
    "of": "units",
    "step_seconds": 86_400,
    "times": ["2020-06-01", "2020-06-02", "2020-06-03", "2020-06-04"],
    "values": [1.0, None, 3.0, 2.0],
}


def drawn(**more: Any) -> ElementTree.Element:
    given = {"history": HISTORY, "when": "2020-06-09", "prediction": 4.0, "interval": None, **more}
    return ElementTree.fromstring(history_plot(**given))


def test_the_plot_says_in_words_what_it_shows() -> None:
    root = drawn(interval={"level": 0.9, "low": 1.5, "high": 9.0})
    said = root.find("desc")
    assert said is not None and said.text == (
        "From 1 Jun to 4 Jun between 1 and 3, on average 2. The forecast for 9 Jun is 4, with an interval"
        " from 1.5 to 9."
    )
    assert root.get("role") == "img" and root.get("aria-labelledby") == "plot-title plot-said"


def test_the_line_breaks_where_nothing_is_known() -> None:
    assert len([part for part in drawn().iter("path") if part.get("class") == "sales"]) == 2


@pytest.mark.parametrize(
    ("values", "prediction"),
    [([0.0] * 4, 0.0), ([None] * 4, 7.0), ([1e6, 2e6, 0.0, 5.0], 1e-6), ([-5.0, -2.0, -3.0, -4.0], -3.0)],
)
def test_any_history_can_be_drawn(values: list[float | None], prediction: float) -> None:
    root = drawn(history={**HISTORY, "values": values}, prediction=prediction, when="")
    for part in root.iter():
        for name in ("cx", "cy", "x1", "x2", "y1", "y2"):
            if part.get(name) is not None:
                assert -1 <= float(str(part.get(name))) <= 441


def test_bars_go_to_the_side_of_their_sign() -> None:
    sides = [ElementTree.fromstring(bar(share)).find("rect") for share in (-1.0, 0.5)]
    assert [(part.get("x"), part.get("width"), part.get("class")) for part in sides if part is not None] == [
        ("0.00", "50.00", "less"),
        ("50.00", "25.00", "more"),
    ]


def known(**fields: dict[str, Any]) -> Known:
    plain = {name: {"nullable": False, **field} for name, field in fields.items()}
    contract = {"problem": "p", "inputs": {"properties": plain}, "output": {"name": "prediction"}}
    return Known(contract, {}, None)


def test_what_cannot_be_read_stays_the_text_for_the_endpoint_to_refuse() -> None:
    form = known(n={"kind": "integer"}, x={"kind": "number"}, b={"kind": "boolean", "nullable": True})
    assert read_row(form, {"n": "12", "x": "1.5", "b": "true"}) == {"n": 12, "x": 1.5, "b": True}
    assert read_row(form, {"n": "1.5", "x": "1e3", "b": ""}) == {"n": 1.5, "x": 1000.0, "b": None}
    assert read_row(form, {"n": "twelve", "x": "nan", "b": "maybe"}) == {
        "n": "twelve",
        "x": "nan",
        "b": "maybe",
    }
    assert read_row(form, {"n": "٣"}) == {"n": "٣", "b": None}


def test_every_control_has_a_label() -> None:
    kinds = ("integer", "number", "text", "category", "boolean", "date", "timestamp")
    form = known(**{kind: {"kind": kind} for kind in kinds}, e={"kind": "category", "enum": ["a", "b"]})
    text = render_form(form, Filled({}))
    for name in (*kinds, "e"):
        assert f'for="field-{name}"' in text and f'id="field-{name}"' in text
