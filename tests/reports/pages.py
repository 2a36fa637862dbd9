"""The pages that the tests look at, and what they ask of one."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from cd4ml.reports.approval_page import approval_page
from cd4ml.reports.card_page import card_page
from cd4ml.reports.profile import profile_page
from cd4ml.reports.report import report_page
from cd4ml.reports.runs import runs_page
from tests.reports import approval_samples, judgement_samples, page_samples, samples
from tests.reports.explanation_samples import explanations

HOSTILE = '<script>alert("x")</script>\'"&'
VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


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
        "judged": report_page(**judged()),
        "explained": report_page(**samples.classification(), explanations=explanations()),
        "card": card_page(approval_samples.card()),
        "approval": approval_page(**approval_samples.approval()),
        "empty": report_page(**samples.empty()),
        "profile": profile_page(*page_samples.profile_inputs()),
        "no profile": profile_page({}, {}, {}),
        "runs": runs_page(page_samples.runs(), "wape"),
        "no runs": runs_page([], "wape"),
    }


def judged() -> dict[str, Any]:
    """Return all arguments of a report with champion, mitigation, consumers and ledger."""
    inputs = samples.classification() | {"bias": judgement_samples.bias()}
    return inputs | judgement_samples.judgement()


def hostile() -> dict[str, str]:
    """Return pages in which every text is one that must not be obeyed."""
    made = {}
    for kind in ("regression", "classification"):
        inputs = replaced(getattr(samples, kind)(), HOSTILE, str)
        inputs["problem"] |= {"name": HOSTILE, "description": HOSTILE, "assumptions": [HOSTILE]}
        inputs["evaluation"] |= {"task": kind, "primary": HOSTILE}
        slices = inputs["evaluation"]["slices"]
        inputs["evaluation"]["slices"] = {HOSTILE + name: items for name, items in slices.items()}
        made[f"hostile {kind}"] = report_page(**inputs)
    inputs = replaced(judged(), HOSTILE, str)
    inputs["ratchet"]["status"] = "scored"
    made["hostile judged"] = report_page(**inputs)
    asked = replaced(approval_samples.approval(), HOSTILE, str)
    asked["card"]["use"]["unknown"] = "bucket"
    asked["verdict"]["decision"] = "needs_approval"
    made["hostile approval"] = approval_page(**asked)
    made["hostile card"] = card_page(asked["card"])
    profile, validation, manifest = page_samples.profile_inputs()
    table = replaced(profile["tables"]["rides"], HOSTILE, str)
    table["columns"] |= {HOSTILE: {"type": HOSTILE, "top": [[HOSTILE, 3]]}}
    tables = {HOSTILE: table, HOSTILE + "2": table}
    made["hostile profile"] = profile_page({"tables": tables}, replaced(validation, HOSTILE, str), manifest)
    made["hostile runs"] = runs_page([replaced(run, HOSTILE, str) for run in page_samples.runs()], HOSTILE)
    return made


def replaced(value: Any, new: Any, kinds: type | tuple[type, ...]) -> Any:
    """Return a copy in which every leaf of these types is another value."""
    if isinstance(value, dict):
        return {key: replaced(item, new, kinds) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, new, kinds) for item in value]
    return new if isinstance(value, kinds) and not isinstance(value, bool) else value
