from __future__ import annotations

import base64
import hashlib
import math
import os
import re
import subprocess
import sys

import pytest

from cd4ml.reports.report import report_page
from tests.reports import samples
from tests.reports.pages import Page, hostile, pages, replaced

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


@pytest.mark.parametrize("name", pages())
def test_nothing_in_a_page_refers_to_the_outside_or_runs(name: str) -> None:
    text = pages()[name]
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "base"}
        assert "src" not in attributes
        assert not any(key.startswith("on") for key in attributes)
        assert attributes.get("href", "#").startswith("#")
        assert "style" not in attributes
    assert not re.search(r"url\(|@import|https?:", text)
    assert len(text) < 1_000_000


@pytest.mark.parametrize("name", pages())
def test_the_policy_of_a_page_allows_its_own_style_and_nothing_else(name: str) -> None:
    text = pages()[name]
    policies = [f for tag, f in Page(text).tags if f.get("http-equiv") == "Content-Security-Policy"]
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    allowed = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert [policy["content"] for policy in policies] == [allowed]


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
        silent = found.get("aria-hidden") == "true"
        assert tag != "svg" or silent or (found["role"] == "img" and found["aria-label"])
        assert tag != "td" or found["data-name"]
        assert tag != "th" or found["scope"] in {"row", "col"}
        assert tag != "html" or found["lang"] == "en"
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)


def test_the_same_input_gives_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib\nfrom tests.reports.pages import pages\n"
        "print(hashlib.sha256(''.join(pages().values()).encode()).hexdigest())"
    )
    run = [sys.executable, "-c", code]
    found = {
        subprocess.run(
            run, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {hashlib.sha256("".join(pages().values()).encode()).hexdigest()}


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
    said = " ".join(Page(report_page(**samples.regression())).texts[""].split())
    assert "boosting (gradient boosting), chosen from 2" in said
    assert "Accepted" in said
    assert "WAPE of the model0.2154 0.2044 to 0.2264; lower is better" in said
    assert "WAPE of the best baseline0.312 seasonal naive; the model's error is 31.0 % smaller" in said
    assert "Rows of the holdout1,464 2012-11-01 00:00 to 2012-12-31 23:00" in said
    assert "Changed since the last rundata" in said
    assert "bias" not in said.split("WAPE of the model")[0]
    rejected = " ".join(Page(report_page(**samples.classification())).texts[""].split())
    assert "Rejected" in rejected and "(threshold:wape)" in rejected
    assert "the model's distance from 1 is 64.8 % smaller" in rejected


def test_a_model_that_is_worse_than_the_best_baseline_is_called_so() -> None:
    inputs = samples.regression()
    inputs["metrics"]["holdout"]["wape"] = samples.interval(0.624, 0.01)
    assert "error is 100.0 % larger" in Page(report_page(**inputs)).texts[""]
    inputs["metrics"]["baselines"] = {}
    assert "none was scored" in Page(report_page(**inputs)).texts[""]
    perfect = {**samples.regression()["metrics"], "baselines": {"oracle": {"wape": samples.interval(0, 0)}}}
    assert "error is" not in Page(report_page(**{**inputs, "metrics": perfect})).texts[""]


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
    said = Page(report_page(**inputs)).texts["candidates"]
    assert said.count("metricboosting (chosen)forestseasonal naiveridge loggroup mean") == 1
    assert "kindcandidatecandidatebaselinecandidatebaseline" in said


def test_candidates_are_drawn_by_the_primary_and_by_the_next_metric() -> None:
    inputs = samples.regression()
    page = Page(report_page(**inputs))
    assert page.texts["candidates"].count("on the holdout") > 0
    assert "RMSLE on the holdout" not in page.texts["candidates"]
    inputs["problem"]["metrics"]["also"] = ["rmsle"]
    assert "RMSLE on the holdout" in Page(report_page(**inputs)).texts["candidates"]
    assert "Fitted with 2 seeds, it scores 0.2154, 0.2161" in page.texts["candidates"]
    inputs["search"]["repeats"] = [{"seed": 1, "score": 0.2}, {"seed": 2, "mean": 0.25}, {"seed": 3}]
    assert "scores 0.2000, 0.2500 on" in Page(report_page(**inputs)).texts["candidates"]


def test_a_needed_gate_that_was_not_answered_stands_in_the_headline() -> None:
    inputs = samples.regression()
    gates = inputs["verdict"]["gates"]
    inputs["verdict"] |= {"decision": "reject", "gates": [{**gate, "required": True} for gate in gates]}
    assert "does not hold (bias)" in Page(report_page(**inputs)).texts[""]
    inputs["verdict"] |= {"decision": "needs_approval", "gates": gates}
    assert "a person must approve" in Page(report_page(**inputs)).texts[""]


def test_a_hopeless_baseline_does_not_squeeze_the_others() -> None:
    inputs = samples.regression()
    assert "→" not in Page(report_page(**inputs)).texts["candidates"]
    inputs["metrics"]["baselines"]["group_mean"]["wape"] = samples.interval(9.0, 0.1)
    said = Page(report_page(**inputs)).texts["candidates"]
    assert "→" in said and "An arrow points to a baseline" in said


def test_a_gates_status_has_a_sign_and_a_word() -> None:
    said = Page(report_page(**samples.classification())).texts["gates"]
    for sign, word in (("✓", "pass"), ("✗", "fail"), ("!", "warn"), ("–", "skipped")):
        assert f"{sign} {word}" in said
    assert "4 pass, 1 fail, 1 warn, 1 skipped." in said


def test_gates_are_written_in_their_units_with_limit_and_interval() -> None:
    said = Page(report_page(**samples.regression())).texts["gates"]
    assert "contract✓ passdata0.12 %1.00 %–" in said
    assert "baseline:seasonal_naive:wape✓ passmodel31.0 %0 %26.0 % to 36.0 %" in said
    assert "threshold:wape✓ passmodel0.21540.350.2054 to 0.2254" in said
    assert "latency✓ passcode4.812 ms50 ms–" in said


@pytest.mark.parametrize(
    ("name", "bound", "above"),
    [
        ("threshold:wape", 0.4, False),
        ("threshold:r2", 0.4, True),
        ("baseline:x:wape", 0.4, True),
        ("bias:selection_rate:sex", 0.8, True),
        ("bias:post:sex", -0.1, True),
        ("bias:pre:sex", 0.1, False),
        ("bias:mae:city", 1.25, False),
    ],
)
def test_the_picture_of_a_gate_shades_the_allowed_side(name: str, bound: float, above: bool) -> None:
    inputs = samples.regression()
    gate = {**inputs["verdict"]["gates"][2], "name": name, "measured": 0.5, "limit": bound}
    inputs["verdict"]["gates"] = [gate]
    tags = [found for _, found in Page(report_page(**inputs)).tags]
    allowed = next(found for found in tags if found.get("class") == "allowed")
    limit = next(found for found in tags if found.get("class") == "limit")
    left, right = float(allowed["x"]), float(allowed["x"]) + float(allowed["width"])
    assert (left if above else right) == pytest.approx(float(limit["x1"]), abs=0.2)


def test_slices_come_worst_first_and_small_ones_are_marked() -> None:
    text = report_page(**samples.regression())
    said = Page(text).texts["slices"]
    assert said.index("heavy rain") < said.index("light rain or snow") < said.index("mist")
    assert "1.700 (few)" in said and "too small" in said
    higher_is_better = Page(report_page(**samples.classification())).texts["slices"]
    assert higher_is_better.index("Preschool") < higher_is_better.index("Doctorate")


def test_a_slice_of_few_rows_is_small_even_with_an_interval() -> None:
    inputs = samples.regression()
    item = {"slice": "rare", "clusters": 9, "wape": samples.interval(0.3, 0.1)}
    for rows in (29, 30):
        inputs["evaluation"]["slices"] = {"kind": [{**item, "n": rows}]}
        found = Page(report_page(**inputs)).texts["slices"]
        assert ("(few)" in found) == (rows < 30) == ("too small" in found)


def test_bias_comes_with_failures_first_and_says_whether_a_gate_rests_on_it() -> None:
    inputs = samples.classification()
    rows = inputs["bias"]["rows"]
    inputs["bias"]["rows"] = rows[::-1]
    said = Page(report_page(**inputs)).texts["bias"]
    assert said.index("sex: Female") < said.index("race: Other") < said.index("sex: Male")
    assert "· insufficient data" in said and "insufficient_data" not in said
    assert "No gate of this verdict" not in said
    inputs["verdict"]["gates"] = inputs["verdict"]["gates"][:2]
    assert "No gate of this verdict" in Page(report_page(**inputs)).texts["bias"]


def test_errors_over_time_name_the_best_baseline_and_the_length_of_a_step() -> None:
    inputs = samples.regression()
    said = Page(report_page(**inputs)).texts["over-time"]
    assert "the best baseline, seasonal naive" in said and "group mean" not in said
    assert "holdout rows of a day" in said and "The band is its interval" in said
    for bucket in inputs["evaluation"]["over_time"]:
        bucket["wape"] = {"estimate": 0.2, "low": None, "high": None}
    assert "band" not in Page(report_page(**inputs)).texts["over-time"]


def test_rows_without_a_time_have_no_errors_over_time() -> None:
    inputs = samples.regression()
    inputs["evaluation"]["over_time"] = [{**inputs["evaluation"]["over_time"][0], "time": "NaT"}]
    inputs["evaluation"]["holdout"] |= {"first": "NaT", "last": "NaT"}
    text = report_page(**inputs)
    assert "the holdout was not cut by time" in Page(text).texts["over-time"]
    assert "NaT" not in text


def test_importances_are_shares_of_the_error_and_long_names_keep_their_ends() -> None:
    inputs = samples.regression()
    long = "log_sales_by_store_nbr_and_family_mean_28d"
    inputs["evaluation"]["importances"][0]["feature"] = long
    said = Page(report_page(**inputs)).texts["importances"]
    assert "31.00" in said and "28.00 to 34.00" in said
    assert "_mean_28d" in said and long in said


def test_stock_decisions_appear_for_problems_with_stock_alone() -> None:
    said = Page(report_page(**samples.regression())).texts["stock"]
    assert "75.0 % quantile" in said
    assert "aimed at75.0 %" in said and "found74.2 %" in said
    assert said.index("the quantile:") < said.index("the forecast:") < said.index("seasonal naive:")
    assert "stock" not in Page(report_page(**samples.classification())).texts


def test_the_confusion_table_says_what_share_was_called_right() -> None:
    said = Page(report_page(**samples.classification())).texts["quality"]
    assert "65.2 %" in said and "94.0 %" in said
    without = {**samples.classification()}
    without["evaluation"]["confusion"] = {"tn": 3}
    assert "called right" not in report_page(**without)


def test_the_lineage_says_what_was_chosen_and_whether_the_code_was_committed() -> None:
    inputs = samples.regression()
    parameters = {"name": "boosting", "metric": "wape", "mean": 0.22, "parameters": {"max_iter": 120}}
    inputs["lineage"] |= {"git": {"commit": "0f" * 20, "dirty": True}, "parameters": parameters}
    page = Page(report_page(**inputs))
    assert "mean WAPE on the folds0.22" in page.texts["lineage"] and "max_iter120" in page.texts["lineage"]
    assert "changes that were not committed" in page.texts["reproduce"]
    assert "not what ran" not in Page(report_page(**samples.regression())).texts["reproduce"]
    assert sum(tag == "code" for tag, _ in page.tags) > 3


def test_the_commands_quote_what_they_were_given() -> None:
    inputs = samples.regression()
    inputs["problem"]["name"] = "bike; rm -rf x"
    said = Page(report_page(**inputs)).texts["reproduce"]
    assert "cd4ml run 'bike; rm -rf x' --data DIR --out OUT" in said
    assert "git checkout " + "0f" * 20 in said


@pytest.mark.parametrize("name", hostile())
def test_hostile_texts_are_shown_and_not_obeyed(name: str) -> None:
    text = hostile()[name]
    page = Page(text)
    assert all(tag not in {"script", "img"} for tag, _ in page.tags)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not any(key.startswith("on") for _, found in page.tags for key in found)
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert all(re.fullmatch("[A-Za-z0-9_-]+", one) for one in ids) and len(ids) == len(set(ids))


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
