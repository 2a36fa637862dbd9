"""What a person needs who is asked to approve a model: verdict, changes, slices, card, and how to decide."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cd4ml.reports import error_sections, governance_sections
from cd4ml.reports.bias_sections import bias as bias_section
from cd4ml.reports.bias_sections import bias_headline
from cd4ml.reports.card_page import card_facts, card_sections
from cd4ml.reports.changes_sections import changes
from cd4ml.reports.formats import count, counted, sentence, words
from cd4ml.reports.gate_sections import gates
from cd4ml.reports.metric_view import MetricView
from cd4ml.reports.mitigation_sections import mitigation as mitigation_section
from cd4ml.reports.page import Fact, Section, Status, chips, render
from cd4ml.reports.ratchet_sections import ratchet as ratchet_section
from cd4ml.reports.report import decision_of

__all__ = ["approval_page"]

Json = Mapping[str, Any]
_STATES = {"approved": "pass", "rejected": "fail", "expired": "warn", "pending": "warn"}
_ORDER = {"fail": 0, "warn": 1, "skipped": 2, "pass": 3}


def approval_page(  # noqa: PLR0913 - one keyword a file
    *,
    reference: str,
    problem: Json,
    verdict: Json,
    card: Json,
    papers: Json,
    champion: Json | None = None,
    metrics: Json | None = None,
    evaluation: Json | None = None,
    bias: Json | None = None,
    ratchet: Json | None = None,
    mitigation: Json | None = None,
    consumers: Json | None = None,
    ledger: Json | None = None,
    standing: Json | None = None,
) -> str:
    """Return the page as self-contained HTML; the same input gives the same text.

    Parameters
    ----------
    reference : str
        What the commands name: NAME@VERSION, or the folder of the bundle.
    problem, verdict, card, metrics, evaluation, bias, ratchet, mitigation, consumers, ledger : mapping
        The content of the JSON files of these names; None where it was not made.
    papers, champion : mapping
        What the bundles say of their origin, by name in `changes_sections.PAPERS`; None without a champion.
    standing : mapping, optional
        What was decided already: `state`, `reason` and `until`.
    """
    evaluation, metrics = evaluation or {}, metrics or {}
    view = MetricView(str(card["metrics"]["primary"]))
    ordered = {**verdict, "gates": sorted(verdict.get("gates") or [], key=_rank)}
    found = [
        _decide(reference, problem, ordered, standing),
        gates(ordered),
        changes(papers, champion),
        ratchet_section(ratchet),
        error_sections.slices(evaluation, metrics, view) if evaluation.get("slices") else None,
        bias_section(bias or {}, verdict) if (bias or {}).get("rows") else None,
        mitigation_section(mitigation),
        governance_sections.consumers(consumers),
        governance_sections.ledger(ledger),
        *_card(card, bool(evaluation.get("slices")), bool((bias or {}).get("rows"))),
    ]
    return render(
        f"Approval of {words(card['name'])}",
        [card["description"]] if card["description"] else [],
        [section for section in found if section is not None],
        decision=decision_of(verdict),
        facts=[*card_facts(card), *_facts(verdict, bias or {})],
        kicker=f"Model to be approved · {reference}",
    )


def _rank(gate: Json) -> int:
    return _ORDER.get(str(gate.get("status")), 2)


def _decide(reference: str, problem: Json, verdict: Json, standing: Json | None) -> Section:
    """Say what is asked, what one answers for, and by which commands."""
    section = Section("decide", "What is asked of you")
    if standing is not None and standing.get("state"):
        state = str(standing["state"])
        section.status = Status(_STATES.get(state, "skipped"), state)
        section.intro.append(sentence(standing.get("reason") or state))
    warned = [gate for gate in verdict.get("gates") or [] if gate.get("status") == "warn"]
    section.intro.append(_asked(verdict, warned))
    section.points += [f"{gate.get('name')}: {gate.get('reason')}" for gate in warned]
    if verdict.get("decision") != "reject":
        section.commands.append(f'cd4ml models approve {shlex.quote(reference)} --reason "WHY"')
    section.commands.append(f'cd4ml models reject {shlex.quote(reference)} --reason "WHY"')
    policy: Json = problem.get("approval") or {}
    bundle = str((verdict.get("subject") or {}).get("bundle") or "")
    section.outro.append(
        (
            f"The decision is on the bundle {bundle} and no other, "
            if bundle
            else "The decision is on this bundle, "
        )
        + "to the byte; it is kept with your name and reason"
        + (f" and holds for {count(policy['valid_days'])} days." if policy.get("valid_days") else ".")
    )
    return section


def _asked(verdict: Json, warned: Sequence[Json]) -> str:
    decision = verdict.get("decision")
    if decision == "reject":
        return "The judge rejected this model: it cannot be approved. The gates say why."
    if decision == "accept":
        return "The judge accepted this model: nobody needs to approve it."
    if not warned:
        return "The problem's policy asks for a person's approval of every model; no gate warns."
    return f"The judge leaves it to a person, who answers for {counted(len(warned), 'warning')}:"


def _facts(verdict: Json, bias: Json) -> list[Fact]:
    facts = []
    statuses = [str(gate.get("status")) for gate in verdict.get("gates") or []]
    if statuses:
        facts.append(Fact("Gates", ", ".join(chips(statuses))))
    if headline := bias_headline(bias):
        facts.append(Fact("Bias, comparisons that may reject", headline))
    return facts


def _card(card: Json, has_slices: bool, has_bias: bool) -> list[Section]:
    """Return the card without what fuller sections of the page show."""
    left_out = {"slices"} if has_slices else set()
    left_out |= {"groups"} if has_bias else set()
    kept = [section for section in card_sections(card) if section.key not in left_out]
    return [replace(section, key=f"card-{section.key}", part="Model card") for section in kept]
