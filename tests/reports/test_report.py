from __future__ import annotations

import copy
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

from cd4ml.reports.profile import profile_page
from cd4ml.reports.report import report_page
from cd4ml.reports.runs import runs_page
from tests.reports import page_samples, samples

HOSTILE = '<script>alert("x")</script>\'"&'
SECTIONS = (
    "gates",
    "data",
    "split",
    "candidates",
    "over-time",
    "slices",
    "bias",
    "quality",
    "importances",
    "assumptions",
    "lineage",
    "reproduce",
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a test asks of a page: its tags with attributes, its text by section, and whether tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.section = ""
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "section":
            self.section = found["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self.section = ""

    def handle_data(self, data: str) -> None:
        self.texts[self.section] = self.texts.get(self.section, "") + data


def pages() -> dict[str, str]:
    return {
        "regression": report_page(**samples.regression()),
        "classification": report_page(**samples.classification()),
        "empty": report_page(**samples.empty()),
        "profile": profile_page(*page_samples.profile_inputs()),
        "no profile": profile_page({}, {}, {}),
        "runs": runs_page(page_samples.runs(), "wape"),
        "no runs": runs_page([], "wape"),
    }


def replaced(value: Any, new: Any, kinds: type | tuple[type, ...]) -> Any:
    """Return a copy in which every leaf of these types is another value."""
    if isinstance(value, dict):
        return {key: replaced(item, new, kinds) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, new, kinds) for item in value]
    return new if isinstance(value, kinds) and not isinstance(value, bool) else value


@pytest.mark.parametrize("name", pages())
def test_nothing_in_a_page_refers_to_the_outside_or_runs(name: str) -> None:
    text = pages()[name]
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "base"}
        assert "src" not in attributes
        assert not any(key.startswith("on") for key in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?:", text)
    assert len(text) < 1_000_000


@pytest.mark.parametrize("name", pages())
def test_a_page_can_be_read_by_a_screen_reader(name: str) -> None:
    page = Page(pages()[name])
    tags = page.tags
    assert sum(tag == "h1" for tag, _ in tags) == 1
    ids = [found["id"] for _, found in tags if "id" in found]
    assert len(ids) == len(set(ids))
    links = {found["href"][1:] for tag, found in tags if tag == "a"}
    assert links <= set(ids)
    for tag, found in tags:
        assert tag != "svg" or (found["role"] == "img" and found["aria-label"])
        assert tag != "th" or found["scope"] in {"row", "col"}
        assert tag != "html" or found["lang"] == "en"
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)


@pytest.mark.parametrize("name", pages())
def test_the_same_input_gives_the_same_bytes(name: str) -> None:
    assert pages()[name] == pages()[name]


@pytest.mark.parametrize("kind", ["regression", "classification", "empty"])
def test_every_section_is_there_even_without_its_input(kind: str) -> None:
    page = Page(report_page(**getattr(samples, kind)()))
    assert set(SECTIONS) <= set(page.texts)
    if kind == "empty":
        assert all("Not measured" in page.texts[name] for name in SECTIONS)
        assert "Not judged" in page.texts[""]


@pytest.mark.parametrize("left_out", sorted(samples.empty()))
def test_a_report_is_made_whichever_input_is_missing(left_out: str) -> None:
    for whole in (samples.regression(), samples.classification()):
        assert set(SECTIONS) <= set(Page(report_page(**{**whole, left_out: {}})).texts)


def test_the_headline_says_decision_metric_best_baseline_and_what_changed() -> None:
    said = Page(report_page(**samples.regression())).texts[""]
    assert "Accepted" in said
    assert "WAPE of 0.2154 [0.2044 to 0.2264]" in said
    assert "The best baseline, seasonal naive, has 0.312" in said
    assert "31.0 % smaller" in said
    assert "Changed since the last run: data." in said
    rejected = Page(report_page(**samples.classification())).texts[""]
    assert "Rejected" in rejected and "(threshold:wape)" in rejected


def test_a_model_that_is_worse_than_the_best_baseline_is_called_so() -> None:
    inputs = samples.regression()
    inputs["metrics"]["holdout"]["wape"] = samples.interval(0.624, 0.01)
    assert "100.0 % larger" in report_page(**inputs)


def test_rows_in_are_shown_as_a_sum_that_is_checked() -> None:
    inputs = samples.regression()
    said = Page(report_page(**inputs)).texts["data"]
    assert "17,379 rows in = 17,343 used + 12 quarantined + 24 filtered" in said
    assert "adds up" in said and "does not" not in said
    inputs["dataset"]["rows"]["used"] -= 5
    said = Page(report_page(**inputs)).texts["data"]
    assert "17,379 rows in ≠ 17,338 used + 12 quarantined + 24 filtered (difference 5)" in said
    assert "does not add up" in said


def test_without_a_validation_the_sum_starts_from_the_dataset() -> None:
    said = Page(report_page(**{**samples.regression(), "validation": {}})).texts["data"]
    assert "17,367 rows in = 17,343 used + 0 quarantined + 24 filtered" in said


def test_a_baseline_among_the_candidates_is_shown_once() -> None:
    inputs = samples.regression()
    assert "group_mean" in inputs["metrics"]["candidates"]
    assert re.findall("group mean(candidate|baseline)", Page(report_page(**inputs)).texts["candidates"]) == [
        "baseline"
    ]


def test_a_gates_status_has_a_sign_and_a_word() -> None:
    said = Page(report_page(**samples.classification())).texts["gates"]
    for sign, word in (("✓", "pass"), ("✗", "fail"), ("!", "warn"), ("–", "skipped")):
        assert f"{sign} {word}" in said
    assert "4 pass, 1 fail, 1 warn, 1 skipped." in said


def test_slices_come_worst_first_and_small_ones_are_marked() -> None:
    text = report_page(**samples.regression())
    said = Page(text).texts["slices"]
    assert said.index("heavy rain") < said.index("light rain or snow") < said.index("mist")
    assert "1.7 (few)" in said and "too small" in said
    higher_is_better = Page(report_page(**samples.classification())).texts["slices"]
    assert higher_is_better.index("Preschool") < higher_is_better.index("Doctorate")


def test_stock_decisions_appear_for_problems_with_stock_alone() -> None:
    assert "75.0 % quantile" in Page(report_page(**samples.regression())).texts["stock"]
    assert "stock" not in Page(report_page(**samples.classification())).texts


def test_the_confusion_table_says_what_share_was_called_right() -> None:
    said = Page(report_page(**samples.classification())).texts["quality"]
    assert "65.2 %" in said and "94.0 %" in said


def test_the_commands_quote_what_they_were_given() -> None:
    inputs = samples.regression()
    inputs["problem"]["name"] = "bike; rm -rf x"
    said = Page(report_page(**inputs)).texts["reproduce"]
    assert "cd4ml run 'bike; rm -rf x' --data DIR --out OUT" in said
    assert "git checkout " + "0f" * 20 in said


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_hostile_texts_are_shown_and_not_obeyed(kind: str) -> None:
    inputs = copy.deepcopy(getattr(samples, kind)())
    inputs["problem"]["description"] = inputs["problem"]["assumptions"] = [HOSTILE]
    inputs = {**replaced(inputs, HOSTILE, str), "problem": {**inputs["problem"], "name": HOSTILE}}
    inputs["evaluation"]["task"] = kind
    text = report_page(**inputs)
    assert all(tag != "script" for tag, _ in Page(text).tags)
    assert "<script" not in text and "&lt;script&gt;" in text


def test_hostile_texts_in_profiles_and_runs_are_shown_and_not_obeyed() -> None:
    profile, validation, manifest = page_samples.profile_inputs()
    profile["tables"][HOSTILE] = replaced(profile["tables"]["rides"], HOSTILE, str)
    profile["tables"][HOSTILE]["columns"][HOSTILE] = {"type": HOSTILE, "top": [[HOSTILE, 3]]}
    text = profile_page(profile, replaced(validation, HOSTILE, str), manifest)
    text += runs_page([replaced(run, HOSTILE, str) for run in page_samples.runs()], HOSTILE)
    assert "<script" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize("absent", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_values_without_a_number_draw_nothing_and_break_nothing(kind: str, absent: float | None) -> None:
    inputs = getattr(samples, kind)()
    for key in ("metrics", "evaluation", "bias", "search", "checks"):
        inputs[key] = replaced(inputs[key], absent, (int, float))
    text = report_page(**inputs)
    assert "Nothing to draw" in text
    assert not re.search(r'(cx|x1|y|d|width)="[^"]*(nan|inf)', text)
    assert ">nan<" not in text


def test_a_profile_shows_distributions_nulls_gaps_and_correlations() -> None:
    page = Page(profile_page(*page_samples.profile_inputs()))
    assert "3 (0.02 %)" in page.texts["table-rides"]
    assert "2012-10-29 01:00" in page.texts["table-rides"]
    assert "cnt and hum: −0.32" in page.texts["table-rides"]
    assert "165 of 17,544 steps" in page.texts["table-rides"]
    assert "8,690 rows, evenly spread" in page.texts["table-rides"]
    assert "2012-01-01T00:00:00 to 2012-12-31T00:00:00: 8,734 rows" in page.texts["columns-rides"]
    assert "11,413" in page.texts["columns-rides"]
    assert "outliers: 41" in page.texts["columns-rides"]
    assert "Accepted by its contract" in page.texts[""]


def test_a_refused_snapshot_is_called_refused() -> None:
    profile, validation, manifest = page_samples.profile_inputs()
    validation["refused"] = ["rides: 3 rows, expected at least 100"]
    page = Page(profile_page(profile, validation, manifest))
    assert "Refused by its contract" in page.texts[""]
    assert "rides: 3 rows" in page.texts["contract"]


def test_runs_are_compared_by_what_differs_the_newest_first() -> None:
    said = Page(runs_page(page_samples.runs(), "wape")).texts["problem-bike-demand"]
    table = said[said.index("Runs, the newest first") :]
    assert table.index("1f2e3d47") < table.index("1f2e3d46")
    assert "parameters.learning_rate" in said and "git.branch" not in said
    assert "(changed files)" in said


def test_a_report_of_a_whole_run_is_rendered_in_three_seconds_from_a_cold_start() -> None:
    code = (
        "import time; start = time.perf_counter()\n"
        "from cd4ml.reports.report import report_page\nfrom tests.reports import samples\n"
        "report_page(**samples.regression()); print(time.perf_counter() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) < 3
