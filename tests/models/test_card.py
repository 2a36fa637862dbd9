"""The card: complete, true to the papers, and whole as Markdown."""

import json
import re
from typing import Any

import pytest

from cd4ml.models.card import CARD_FORMAT, build_card
from cd4ml.models.card_text import card_markdown
from tests.models.bundles import bundle, people, shop

SECTIONS = ["Model", "Intended use", "Data", "Split", "Metrics", "Slices", "Features", "Limits", "Origin"]


def write_card(*papers: Any, **more: Any) -> str:
    return card_markdown(build_card(*papers, **more))


def card_of(case: Any, **more: Any) -> str:
    papers = case.papers
    parts = {"data": papers.data, "evaluation": papers.evaluation, **more}
    return write_card(case.problem, papers.metrics, papers.lineage, papers.bias, **parts)


def section(card: str, name: str) -> str:
    return card.split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a section's table, its head first."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_it_has_every_section_in_order_and_the_bundle_carries_it() -> None:
    card = card_of(shop())
    assert re.findall(r"^## (.+)$", card, re.M) == SECTIONS
    assert re.findall(r"^## (.+)$", card_of(people()), re.M) == [*SECTIONS[:6], "Groups", *SECTIONS[6:]]
    assert (bundle("shop") / "card.md").read_text(encoding="utf-8") == card
    assert card.startswith("# corner-shop\n\nUnits that a store sells on a day\n")


@pytest.mark.parametrize("case", [shop, people])
def test_every_table_has_rows_of_the_width_of_its_head_and_no_empty_metric(case: Any) -> None:
    card = card_of(case())
    for name in re.findall(r"^## (.+)$", card, re.M):
        found = rows(section(card, name))
        assert len({len(row) for row in found}) <= 1, name
        assert "nan" not in section(card, name).lower().split()
    assert "None" not in re.sub(r"\b\w+ None", "", card)  # parameters of an estimator may be None


def test_metrics_have_their_intervals_and_the_baselines_beside_them() -> None:
    text = section(card_of(shop()), "Metrics")
    found = shop().papers.metrics["holdout"]["wape"]
    head, wape = rows(text)[:2]
    assert head == ["metric", "better", "model", "last_week"]
    assert wape[:2] == ["wape", "lower"]
    assert wape[2] == f"{found['estimate']:.4g} ({found['low']:.4g} to {found['high']:.4g})"
    assert "84 rows in 28 clusters from 2020-05-12" in text
    assert "95% intervals by day. The metric that decides is wape." in text
    assert {row[0]: row[1] for row in rows(text)[1:]}["bias"] == "near 0"


def test_data_and_split_are_counted() -> None:
    card = card_of(shop())
    assert "307 rows of facts; 7 left out by `returns`; 300 were used." in section(card, "Data")
    assert ["sales", "facts", "sales.csv", "One row a store and day"] in rows(section(card, "Data"))
    assert ["training", "216", "2020-03-01", "2020-05-12"] in rows(section(card, "Split"))
    assert "A gap of 2d is left out" in section(card, "Split")


def test_slices_are_the_largest_of_each_column_with_their_metric() -> None:
    items = [
        {"slice": f"s{n}", "n": n, "clusters": 2, "wape": {"estimate": n / 100, "low": None, "high": None}}
        for n in range(1, 12)
    ]
    items[10]["wape"] = None
    text = section(card_of(shop(), evaluation={"slices": {"store": items}}), "Slices")
    found = rows(text)[1:]
    assert [row[1] for row in found] == [f"s{n}" for n in range(11, 3, -1)]
    assert found[0][3] == "not defined"
    assert found[1][3] == "0.1"


def test_small_slices_are_a_limit_and_all_others_of_the_problem_are_said() -> None:
    text = section(card_of(shop()), "Limits")
    assert "- Promotions are planned two days ahead" in text
    assert "fewer than 30 holdout rows say little: store north, store south, store östlich." in text
    assert "Predictions below 0 are raised to it." in text
    assert "Features of the past end with the snapshot." in text
    many = [{"slice": str(n), "n": 1, "wape": None} for n in range(11)]
    assert "and 3 more." in section(card_of(shop(), evaluation={"slices": {"store": many}}), "Limits")


def test_groups_show_ratio_margin_and_status() -> None:
    text = section(card_of(people()), "Groups")
    assert {row[2]: row[7] for row in rows(text)[1:]} == dict.fromkeys(
        ["basic", "old", "plus"], "insufficient_data"
    )
    unknown = write_card(people().problem, people().papers.metrics, people().papers.lineage)
    assert "Groups by `plan` were not measured." in section(unknown, "Groups")


def finding(**more: Any) -> dict[str, Any]:
    row = {"metric": "selection_rate", "label": "selection rate", "stage": "post", "column": "plan"}
    row |= {"slice": "basic", "against": "rest", "family": "blocking", "n": 900, "status": "pass"}
    row |= {"estimate": 0.1, "reference": 0.2, "ratio": 0.5, "low": 0.4, "high": 0.6, "margin": 0.8}
    return row | {"waived": None} | more


def test_groups_are_the_findings_that_may_reject_with_failures_first_and_who_answers_for_waived_ones() -> (
    None
):
    waiver = {"by": "A. Head", "reason": "until the new form", "until": "2027-01-31"}
    bias = {
        "rows": [
            finding(slice="fine"),
            finding(slice="unknown", status="insufficient_data", ratio=None, low=None, high=None),
            finding(slice="waived", status="waived", waived=waiver, against="reference:plus"),
            finding(slice="worse", status="fail", against="extremes", column="plan x plan"),
            finding(slice="a warning", family="warning", status="warn"),
            finding(slice="before training", stage="pre"),
            finding(slice="not judged", margin=None),
            finding(slice="as before", against="champion"),
            finding(slice="elsewhere", column="age"),
        ]
    }
    card = build_card(people().problem, people().papers.metrics, people().papers.lineage, bias)
    text = section(card_markdown(card), "Groups")
    assert [row[2] for row in rows(text)[1:]] == ["worse", "waived", "unknown", "fine"]
    assert rows(text)[1][3:] == ["lowest to highest", "900", "0.5 (0.4 to 0.6)", "0.8", "fail"]
    assert rows(text)[2][3] == "plus"
    assert rows(text)[2][7] == "waived by A. Head until 2027-01-31: until the new form"
    assert rows(text)[3][5] == "not defined"
    many = build_card(
        people().problem, {}, people().papers.lineage, {"rows": [finding(slice=str(n)) for n in range(30)]}
    )
    assert "The first 20 of 30 comparisons" in section(card_markdown(many), "Groups")


@pytest.mark.parametrize(("name", "case"), [("shop", shop), ("people", people)])
def test_the_markdown_is_made_of_the_json_that_the_bundle_carries(name: str, case: Any) -> None:
    text = (bundle(name) / "card.json").read_text(encoding="utf-8")
    card = json.loads(text)
    assert card_markdown(card) == card_of(case()) == (bundle(name) / "card.md").read_text(encoding="utf-8")
    assert card["format"] == CARD_FORMAT
    first = card["metrics"]["scores"][0]
    assert first["model"] == case().papers.metrics["holdout"][first["metric"]]
    assert card["model"]["target"] == case().problem.target.column
    assert card["origin"]["snapshot"] == case().papers.lineage["snapshot"]


def test_what_was_not_measured_is_said() -> None:
    card = write_card(shop().problem, {}, shop().papers.lineage)
    assert "No slices were measured." in section(card, "Slices")
    assert "Its counts were not recorded." in section(card, "Split")
    assert "10 features" in section(card, "Features")
    bare = shop().problem.model_copy(update={"description": "", "owner": "", "assumptions": []})
    card = write_card(bare, {}, shop().papers.lineage)
    assert "The problem has no description." in card
    assert "- For its owner (none is declared): `units`" in card
    assert "The problem declares no assumptions." in card


def test_intended_use_says_what_happens_to_the_unseen_and_how_far_ahead() -> None:
    text = section(card_of(shop()), "Intended use")
    assert "For the buyers: `units` for each row of `sales`, 2d ahead." in text
    assert "taken for a rare one" in text
    assert "not further ahead than 2d" in text
    assert "training did not see is refused" in section(card_of(people()), "Intended use")
    assert "look first at the groups by `plan`" in section(card_of(people()), "Intended use")


def test_pipes_and_line_ends_do_not_break_a_table() -> None:
    table = shop().problem.tables["sales"].model_copy(update={"description": "a | b\nc \\ d"})
    problem = shop().problem.model_copy(update={"tables": {"sales": table}})
    text = section(write_card(problem, {}, shop().papers.lineage), "Data")
    assert rows(text)[1][3] == r"a \| b c \\ d"


def test_large_numbers_are_written_out() -> None:
    metrics = {"holdout": {"wape": {"estimate": 1234567.8, "low": 1e6, "high": 2e6}}}
    text = section(write_card(shop().problem, metrics, shop().papers.lineage), "Metrics")
    assert "1,234,568 (1,000,000 to 2,000,000)" in text


def test_changes_that_are_in_no_commit_are_said() -> None:
    lineage = shop().papers.lineage | {
        "git": {"commit": "abc", "branch": "", "dirty": True},
        "image_digest": "sha256:1",
    }
    text = section(write_card(shop().problem, {}, lineage), "Origin")
    assert "abc, with changes that are not in it" in text
    assert "sha256:1" in text
    assert "unknown" in write_card(
        shop().problem, {}, lineage | {"git": {"commit": "", "branch": "", "dirty": False}}
    )
