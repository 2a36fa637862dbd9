from __future__ import annotations

from typing import Any

from cd4ml.reports.demo_page import demo_page
from tests.reports.pages import Page

_START = 1_700_000_000.0


def _entry(second: float, phase: str, percent: float, *reasons: str) -> dict[str, Any]:
    return {
        "at_seconds": _START + second,
        "phase": phase,
        "canary_percent": percent,
        "by": "controller",
        "reasons": list(reasons),
    }


def _point(second: float, harm: float) -> dict[str, Any]:
    slow = {"name": "slow answers", "harm": harm, "safe": 0.0, "units": 90, "estimate": 3.0}
    slice_ = {"name": "loss, shop=4", "harm": 0.1, "safe": None, "units": 9, "estimate": None}
    return {
        "at_seconds": _START + second,
        "phase": "canary",
        "step": 0,
        "percent": 10.0,
        "evidence": [slow, slice_],
    }


def _story(differs: tuple[str, ...] = ()) -> dict[str, Any]:
    rollout = {
        "name": "slow",
        "title": "slow <b>one</b>",
        "candidate": "3",
        "stable": "2",
        "phase": "rolled_back",
        "began": _START,
        "ended": _START + 12,
        "alpha": 0.05,
        "most_percent": 10.0,
        "history": [
            _entry(0, "verify", 0),
            _entry(4, "canary", 10, "it answers as the judge did"),
            _entry(9, "rolled_back", 0, "slow answers: worse than the stable version"),
        ],
        "trail": [_point(5, 0.5), _point(7, 3.0), _point(9, 6.0)],
        "setting": "A model that waits.",
        "share": {"requests": 1200, "answered": 50, "most": 170.0},
    }
    seconds = [
        {
            "at": int(_START) + second,
            "versions": {"2": 95, **({"3": 10} if 4 <= second < 9 else {})},
            "errors": 0,
        }
        for second in range(12)
    ]
    return {
        "seed": 7,
        "seconds": 99.0,
        "differs": list(differs),
        "rollouts": [rollout],
        "seconds_of_traffic": seconds,
    }


def test_a_rollout_is_told_with_its_share_its_reasons_and_its_evidence() -> None:
    page = Page(demo_page(_story()))
    said = page.texts["slow"]
    assert (
        "It was stopped as canary after 12 s; it gave 50 of 1,200 answers, and its policy allowed 10 %."
        in said
    )
    assert "taken back: slow answers: worse than the stable version" in said
    assert "loss by shop" in said  # the slices of a column are one line
    assert "limit 40" in said  # two metrics share an alpha of 0.05
    assert "403" in said  # e to the power of 6
    assert "0 models took over, 1 model stopped, as expected" in page.texts[""]


def test_what_differs_stands_at_the_top() -> None:
    said = Page(demo_page(_story(("slow: ended as 'promoted'",)))).texts[""]
    assert "Not what was expected: slow: ended as 'promoted'" in said


def test_names_are_text_and_no_markup() -> None:
    assert "<b>one</b>" not in demo_page(_story())


def test_a_rollout_without_evidence_has_no_figure_of_it() -> None:
    story = _story()
    story["rollouts"][0]["trail"] = []
    assert "How the evidence" not in demo_page(story)
