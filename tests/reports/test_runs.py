from __future__ import annotations

from cd4ml.reports.runs import runs_page
from tests.reports import page_samples
from tests.reports.pages import Page


def test_runs_are_compared_by_what_differs_the_newest_first() -> None:
    said = Page(runs_page(page_samples.runs(), "wape")).texts["problem-bike-demand"]
    table = said[said.index("Runs, the newest first") :]
    assert table.index("1f2e3d47") < table.index("1f2e3d46")
    assert "parameters.learning_rate" in said and "git.branch" not in said
    assert "(changed files)" in said


def test_runs_of_each_problem_have_a_trend_with_intervals() -> None:
    page = Page(runs_page(page_samples.runs(), "wape"))
    said = page.texts["problem-bike-demand"]
    assert "3 accept, 2 needs approval, 3 reject." in said
    assert "2026-01-24T12:00:00: 0.194" in said
    table = said[said.index("Runs, the newest first") :]
    assert table.index("1f2e3d47") < table.index("0.1840 to 0.2040") < table.index("1f2e3d46")
    assert "Nothing to draw" in page.texts["problem-adult-income"]
    assert "What differs" not in page.texts["problem-adult-income"]


def test_records_of_other_shapes_do_no_harm() -> None:
    commit = {"commit": "0f" * 20 + "+changes"}
    runs = [
        {"id": "a", "problem": "p", "metrics": "none", "changed": "data", "git": commit},
        {"id": "b", "problem": "p", "metrics": {"wape": 0.3}, "changed": ["code"]},
        {"id": "c", "problem": "p", "metrics": {"holdout": 3}},
    ]
    said = Page(runs_page(runs, "wape")).texts["problem-p"]
    assert "0f0f0f0f0f (changed files)" in said
    assert "1 run of 1 problem;" in Page(runs_page(runs[:1], "wape")).texts[""]
    assert "b: 0.3" in said
