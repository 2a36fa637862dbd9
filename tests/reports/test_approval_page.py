"""The card's page and the page of an approval: complete, in order, and true to their files."""

from __future__ import annotations

import re

import pytest

from cd4ml.models.card_text import card_parts
from cd4ml.reports.approval_page import approval_page
from cd4ml.reports.card_page import card_page
from cd4ml.reports.changes_sections import changes
from cd4ml.reports.page import render
from tests.reports.approval_samples import approval, card, champion, papers
from tests.reports.pages import Page

COMMANDS = [
    'cd4ml models approve adult-income@5 --reason "WHY"',
    'cd4ml models reject adult-income@5 --reason "WHY"',
]


def texts(html: str) -> dict[str, str]:
    return {key: " ".join(text.split()) for key, text in Page(html).texts.items()}


def test_the_card_page_has_every_part_of_the_card_in_its_order() -> None:
    found = texts(card_page(card()))
    parts = card_parts(card())
    assert [key for key in found if key] == [part.key for part in parts]
    for part in parts:
        assert found[part.key].startswith(part.title)
        for cell in [cell for row in (part.table.rows if part.table else []) for cell in row]:
            assert cell.replace("`", "").replace("_", " ") in found[part.key].replace("_", " ")
    assert "Model card · the lenders" in found[""] and "0.926 0.922 to 0.93" in found[""]


def test_the_card_page_draws_metric_slices_and_features() -> None:
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', card_page(card()))
    assert labels == [
        "ROC AUC of the model and the baselines",
        "ROC AUC by sex",
        "Growth of the error when a feature is shuffled",
    ]
    bare = card() | {"slices": {"metric": "roc_auc", "most": 8, "rows": []}}
    bare["features"] = {"count": 3, "most_important": []}
    bare["metrics"] = bare["metrics"] | {"scores": [], "holdout": None}
    bare["data"] = bare["data"] | {"rows": None}
    html = card_page(bare)
    assert "<svg" not in html and "No slices were measured." in html


def test_the_approval_page_says_what_is_asked_and_how_to_answer() -> None:
    found = texts(approval_page(**approval()))
    assert list(found)[1:4] == ["decide", "gates", "changes"]
    assert "who answers for 1 warning:" in found["decide"]
    assert "drift: the column `humidity` moved" in found["decide"]
    assert " ".join(COMMANDS) in found["decide"]
    assert "! pending" in found["decide"] and "Nobody has decided" in found["decide"]
    assert "ab" * 32 in found["decide"] and "holds for 30 days" in found["decide"]
    assert "a person must approve it" in found[""] and "adult-income@5" in found[""]


def test_gates_that_warn_come_before_those_that_pass() -> None:
    rows = re.findall(r'<th scope="row" role="rowheader">(.*?)</th>', approval_page(**approval()))
    assert rows[0] == "drift"


def test_everything_an_approver_needs_is_on_the_page_once() -> None:
    found = texts(approval_page(**approval()))
    needed = {"champion", "slices", "bias", "mitigation", "consumers", "ledger"}
    assert needed <= set(found)
    assert {"card-use", "card-limits", "card-metrics", "card-origin"} <= set(found)
    assert not {"card-slices", "card-groups"} & set(found)
    left = approval()
    for name in ("evaluation", "bias", "ratchet", "mitigation", "consumers", "ledger", "metrics", "standing"):
        left.pop(name)
    bare = texts(approval_page(**left))
    assert {"card-slices", "card-groups"} <= set(bare) and not needed & set(bare)


@pytest.mark.parametrize(
    ("decision", "said", "approvable"),
    [
        ("reject", "it cannot be approved", False),
        ("accept", "nobody needs to approve it", True),
        ("needs_approval", "asks for a person's approval of every model; no gate warns", True),
    ],
)
def test_a_rejected_model_has_no_command_to_approve_it(decision: str, said: str, approvable: bool) -> None:
    inputs = approval() | {"verdict": {"decision": decision, "gates": []}}
    inputs["problem"] = {"name": "x"}
    found = texts(approval_page(**inputs))["decide"]
    assert said in found and ("models approve" in found) == approvable
    assert "models reject" in found and "holds for" not in found


def test_references_are_quoted_for_the_shell() -> None:
    html = approval_page(**approval() | {"reference": "out put/bundle; rm x"})
    assert "approve &#39;out put/bundle; rm x&#39; --reason" in html


def test_changes_are_told_by_axis_with_their_size() -> None:
    html = render("x", [], [changes(papers(), champion())])
    said = " ".join(Page(html).texts["changes"].split())
    assert "Changes in the data" in said and "rows used45,00048,842+3,842 (+8.5 %)" in said
    assert "left out by children–1,158added" in said
    assert "training first2025-12-012026-01-01–" in said and "holdout rows" not in said
    assert "commit1e1e1e1e1e1e…0f0f0f0f0f0f…" in said and "version.numpy2.4.12.4.6" in said
    assert "parameters.learning rate0.080.1+0.02 (+25.0 %)" in said
    assert "parameters.max depth3–removed" in said
    assert "bias.min rows100200" in said and "words" not in said
    assert "1 new feature: workclass." in said and "1 gone feature: fnlwgt." in said


def test_what_is_the_same_is_said_and_a_first_release_has_no_champion() -> None:
    same = changes(papers(), papers())
    assert same.intro == ["Nothing: data, code, parameters and problem are those of the champion."]
    assert same.tables == []
    other = papers()
    other["versions"] = {"numpy": "3"}
    assert changes(papers(), other).intro == ["The same as the champion's: data, parameters, problem."]
    assert "there is no champion yet" in render("x", [], [changes(papers(), None)])


def test_many_features_are_counted() -> None:
    more = papers()
    more["lineage"] = more["lineage"] | {"features": [f"f{n}" for n in range(14)]}
    assert changes(more, papers()).points[0].endswith("f8, f9 and 4 more.")


def test_bundles_that_lack_papers_are_compared_by_what_they_have() -> None:
    found = changes({}, champion())
    assert found.tables[0].caption == "Changes in the data"
    assert changes({}, {}).intro[0].startswith("Nothing")
