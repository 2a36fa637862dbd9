"""The sections on bias, champion, mitigation, consumers and the ledger say what their files say."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from markupsafe import escape

from cd4ml.reports.report import report_page
from tests.reports import judgement_samples, samples
from tests.reports.judgement_samples import finding
from tests.reports.pages import Page, judged, replaced

NEW = ("champion", "mitigation", "consumers", "ledger")


def said(section: str, **more: Any) -> str:
    return " ".join(Page(report_page(**judged() | more)).texts.get(section, "").split())


def rows_of(section: str, caption: str, **more: Any) -> list[list[str]]:
    """Return the cells of a table, its tags dropped."""
    html = report_page(**judged() | more)
    table = html.split(f"<caption>{escape(caption)}</caption>")[1].split("</table>")[0]
    found = re.findall(r"<tr role=\"row\">(.*?)</tr>", table, re.S)[1:]
    return [[re.sub("<[^>]+>", "", cell) for cell in re.split(r"</t[hd]>", row)[:-1]] for row in found]


def test_sections_that_were_given_nothing_are_absent_and_the_others_stay() -> None:
    page = Page(report_page(**samples.classification()))
    assert not set(NEW) & set(page.texts)
    assert set(NEW) <= set(Page(report_page(**judged())).texts)
    one = Page(report_page(**samples.classification(), ledger=judgement_samples.ledger()))
    assert "ledger" in one.texts and "champion" not in one.texts


def test_findings_that_may_reject_come_first_and_passes_stay_folded() -> None:
    rows = rows_of("bias", "Findings that may reject the model")
    order = ["fail", "waived", "warn", "insufficient data"]
    places = [order.index(row[2].split(" ", 1)[1]) for row in rows]
    assert places == sorted(places) and set(places) == {0, 1, 2, 3}
    assert "0.0808 others 0.2610" in rows[0][4]
    assert not any("fine" in row[0] for row in rows)
    assert any("fine" in row[0] for row in rows_of("bias", "Comparisons of groups"))
    assert "score" not in " ".join(row[1].lower() for row in rows)
    assert "Gap of the distributions" in " ".join(
        row[1] for row in rows_of("bias", "Findings on predictions that warn")
    )


def test_insufficient_data_is_said_as_such_and_never_reads_as_a_pass() -> None:
    row = next(row for row in rows_of("bias", "Findings that may reject the model") if "Other" in row[0])
    assert "insufficient data" in row[2] and "✓" not in row[2]
    assert "41 rows, and 200 are needed" in row[-1]
    assert "is no pass" in said("bias")


def test_waivers_name_who_and_until_and_those_that_ended_say_so() -> None:
    held, ended = rows_of("bias", "Waivers of the problem file")
    assert held[0] == "R. Sponsible" and "holds" in held[1] and held[2] == "2027-03-01"
    assert ended[0] == "O. Verdue" and "expired" in ended[1]
    notes = [row[-1] for row in rows_of("bias", "Findings that may reject the model")]
    assert "by R. Sponsible until 2027-03-01" in notes
    assert "waived by O. Verdue until 2026-03-01: that is over" in notes


def test_the_four_fifths_rule_has_a_picture_with_its_line() -> None:
    text = said("bias")
    assert "Lowest rate ÷ highest rate of the groups of a column" in text and "at least 0.8" in text
    assert "sex x race: selection rate" in text
    without = {"bias": {"rows": [finding()], "alpha": 0.05}}
    assert "Lowest rate" not in said("bias", **without)
    assert "Selection rate: group ÷ all others" in said("bias", **without)


def test_the_family_and_its_error_are_said_with_the_counts() -> None:
    text = said("bias")
    assert "9 comparisons may reject the model with 5 % for all of them together (Holm)" in text
    assert "5 more comparisons can only warn; 2 of them do" in text
    assert "No gate of this verdict" not in text


def test_errors_without_a_finding_are_drawn_beside_the_rest_of_their_measure() -> None:
    kept = {"status": "pass", "compare": "error_ratio", "metric": "mae", "label": "MAE", "margin": 1.25}
    rows = [finding(**kept, ratio=1.02, low=0.9, high=1.1), finding(**kept, slice="Male", ratio=0.98)]
    text = said("bias", bias={"rows": rows})
    assert "MAE: error in the group ÷ error in all others" in text and "2 pass" in text
    assert "Findings that may reject" not in text


@pytest.mark.parametrize(("rows", "folded"), [(500, "400 of 500 comparisons"), (20, "All 20 comparisons")])
def test_very_many_comparisons_are_cut_and_the_page_says_so(rows: int, folded: str) -> None:
    found = [finding(status="pass", slice=f"group {n}") for n in range(rows)]
    assert folded in said("bias", bias={"rows": found})


def test_the_champion_is_compared_overall_and_by_slice_the_worst_first() -> None:
    text = said("champion")
    assert "scored on the same rows" in text
    assert "ROC AUC of the challenger is 0.9269, of the champion 0.9231: 4.90 % less error" in text
    assert "at most 1.00 % more is allowed. The gain is beyond chance." in text
    rows = rows_of("champion", "Challenger and champion on the same rows")
    names = ["all rows", "race: Black", "race: Asian-Pac-Islander", "race: Other", "sex: Male"]
    assert [row[0] for row in rows] == names
    assert rows[1][6] == "1.310 1.150 to 1.490" and rows[1][7] == "1.1"
    assert "tightened by this challenger" in text and "limit 1.01" in text and "limit 1.1" in text


@pytest.mark.parametrize(
    ("status", "word", "sign"),
    [("first_release", "first release", "–"), ("unreadable", "cannot be read", "✗")],
)
def test_a_champion_that_is_absent_or_unreadable_is_said(status: str, word: str, sign: str) -> None:
    found = {"status": status, "champion": {}, "reason": "no version has the alias champion", "overall": None}
    text = said("champion", ratchet=found)
    assert f"{sign} {word}" in text and "No version has the alias champion." in text
    assert "Not measured" not in text


def test_a_loss_is_told_as_more_error() -> None:
    found = judgement_samples.ratchet() | {"gain": False, "tightened": False}
    found["overall"] |= {"ratio": 1.062, "challenger": 0.91, "status": "fail"}
    text = said("champion", ratchet=found)
    assert "6.20 % more error" in text and "beyond chance" not in text and "tightened" not in text


def test_the_frontier_has_one_mark_a_treatment_and_part_and_tells_what_was_taken() -> None:
    html = report_page(**judged())
    svg = html.split('aria-label="accuracy against the largest gap"')[1].split("</svg>")[0]
    assert svg.count("<circle") == 4 and svg.count("<rect") == 4
    assert "4 group thresholds by sex x race, folds: gap 0.85, 0.842" in svg and "4 taken" in svg
    text = said("mitigation")
    assert "Taken: group thresholds by sex x race." in text
    rows = rows_of("mitigation", "Treatments that were tried")
    assert [row[0] for row in rows] == [
        "1 no treatment",
        "2 reweighing by sex x race",
        "3 recalibration by sex x race",
        "4 group thresholds by sex x race",
    ]
    assert "taken" in rows[3][1] and rows[0][1] == "–"
    assert "✗ 0.87" in rows[0][4] and "✓ 0.17" in rows[3][4]
    assert "selection rate by sex x race: Female x Black and Male x White" in rows[0][-1]
    groups = rows_of("mitigation", "Groups of group thresholds by sex x race, on the holdout")
    assert groups[0][0] == "Female x Black" and groups[0][-1] == "0.21"


def test_marks_of_the_frontier_left_of_the_limit_are_allowed() -> None:
    html = report_page(**judged())
    svg = html.split('aria-label="accuracy against the largest gap"')[1].split("</svg>")[0]
    limit = float(re.search(r'<line class="r" x1="([\d.]+)"', svg).group(1))  # type: ignore[union-attr]
    taken = re.search(r'<circle class="f2" cx="([\d.]+)" cy="([\d.]+)"', svg)
    plain = re.search(r'<circle class="f0" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert taken is not None and plain is not None
    assert float(taken.group(1)) < limit < float(plain.group(1))
    assert float(taken.group(2)) > float(plain.group(2))


def test_gaps_at_different_places_are_told_for_folds_and_holdout() -> None:
    found = judgement_samples.mitigation()
    found["treatments"][0]["holdout"]["gap"]["column"] = "race"
    where = rows_of("mitigation", "Treatments that were tried", mitigation=found)[0][-1]
    assert where.startswith("on the folds selection rate by sex x race") and "on the holdout" in where
    bare = {"treatments": [{"name": "none", "chosen": True, "folds": {"metrics": {}, "gap": {}}}]}
    assert "mitigation" in Page(report_page(**judged() | {"mitigation": bare})).texts
    assert "mitigation" not in Page(report_page(**judged() | {"mitigation": {"treatments": []}})).texts


def test_a_broken_consumer_is_named_with_what_breaks() -> None:
    text = said("consumers")
    assert "2 consumers told what they send and rely on: 1 pass, 1 fail" in text
    assert [row[0] for row in rows_of("consumers", "Consumers' contracts")] == ["loan-desk", "dashboards"]
    broken = rows_of("consumers", "What breaks")
    assert len(broken) == 1 and broken[0][0] == "loan-desk" and "age, sex" in broken[0][-1]
    changes = rows_of("consumers", "Inputs and outputs since the champion")
    assert "✗ break" in changes[0][2] and "✓ go on working" in changes[1][2]


def test_no_consumers_and_no_changes_are_said() -> None:
    schema = {"status": "compared", "champion": "x", "reason": "", "changes": []}
    text = said("consumers", consumers={"checks": [], "schema": schema})
    assert "No consumer has told" in text and "cd4ml consumers add" in text
    assert "Inputs and outputs are those of the champion." in text
    first = schema | {"status": "first_release", "reason": "this is the first release"}
    text = said("consumers", consumers={"checks": [], "schema": first})
    assert "This is the first release." in text and "are those of the champion" not in text


@pytest.mark.parametrize(("looks", "sign"), [(20, "✓"), (21, "!"), (77, "!"), (78, "✗")])
def test_looks_warn_and_fail_beyond_their_budgets(looks: int, sign: str) -> None:
    text = said("ledger", ledger=judgement_samples.ledger() | {"looks": looks, "inherited": 0})
    assert f"{sign} {looks} of 77" in text and "share rows" not in text


def test_the_ledger_tells_what_chasing_scores_could_gain() -> None:
    text = said("ledger")
    assert "23.5 times, 2.5 of them on other holdouts that share rows" in text
    assert "up to 0.0563 on a scale of 0 to 1" in text and "ada@example.com" in text
    assert "nobody counted" in said("ledger", ledger={})


@pytest.mark.parametrize("absent", [None, math.nan, math.inf])
def test_numbers_that_are_missing_break_no_section(absent: float | None) -> None:
    inputs = judged()
    for key in ("bias", "ratchet", "mitigation", "consumers", "ledger"):
        inputs[key] = replaced(inputs[key], absent, (int, float))
    text = report_page(**inputs)
    assert not re.search(r'(cx|x1|y|d|width)="[^"]*(nan|inf)', text)
    assert ">nan<" not in text
