"""The report of a run: one page that shows what was decided and all that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cd4ml.reports import data_sections, error_sections, governance_sections
from cd4ml.reports.bias_sections import bias as bias_section
from cd4ml.reports.candidate_sections import candidates
from cd4ml.reports.explanation_sections import explanations as explanation_sections
from cd4ml.reports.formats import band, count, days, finite, moment, number, words
from cd4ml.reports.gate_sections import gates
from cd4ml.reports.metric_view import MetricView, best_baseline, estimate_of
from cd4ml.reports.mitigation_sections import mitigation as mitigation_section
from cd4ml.reports.page import Fact, Status, chips, render
from cd4ml.reports.ratchet_sections import ratchet as ratchet_section

__all__ = ["decision_of", "report_page"]

Json = Mapping[str, Any]
_DECISIONS = {
    "accept": ("pass", "Accepted: every gate that must hold holds"),
    "reject": ("fail", "Rejected: at least one gate does not hold"),
    "needs_approval": ("warn", "Passed its gates; a person must approve it before delivery"),
}


def report_page(  # noqa: PLR0913 - one keyword a file
    *,
    problem: Json,
    verdict: Json,
    metrics: Json,
    evaluation: Json,
    search: Json,
    dataset: Json,
    validation: Json,
    manifest: Json,
    bias: Json,
    lineage: Json,
    checks: Json,
    ratchet: Json | None = None,
    mitigation: Json | None = None,
    consumers: Json | None = None,
    ledger: Json | None = None,
    explanations: Json | None = None,
) -> str:
    """Return the page as self-contained HTML; the same input gives the same text.

    Each argument is the content of the JSON file of its name; `problem` is `Problem.model_dump(mode="json")`
    and `manifest` is the snapshot's. An empty mapping stands for what was not made: its sections say so.
    What may be None has no section then.
    """
    name = str(evaluation.get("primary") or (problem.get("metrics") or {}).get("primary") or "metric")
    metric = MetricView(name)
    target = str((problem.get("target") or {}).get("column") or "target")
    sections = [
        gates(verdict),
        data_sections.data(problem, dataset, validation, manifest),
        data_sections.split(dataset),
        candidates(metrics, search, metric, _second(problem)),
        error_sections.over_time(evaluation, metrics, metric, target),
        error_sections.slices(evaluation, metrics, metric),
        ratchet_section(ratchet),
        bias_section(bias, verdict),
        mitigation_section(mitigation),
        error_sections.quality(evaluation, target),
        error_sections.importances(evaluation, metric),
        *explanation_sections(explanations, metric, target, verdict),
        error_sections.stock(evaluation),
        governance_sections.consumers(consumers),
        governance_sections.ledger(ledger),
        data_sections.assumptions(problem),
        data_sections.lineage(verdict, lineage, checks),
        data_sections.reproduce(problem, verdict, manifest, lineage),
    ]
    title = words(problem.get("name") or verdict.get("model") or "model").capitalize()
    return render(
        title,
        [str(problem["description"])] if problem.get("description") else [],
        [section for section in sections if section is not None],
        decision=decision_of(verdict),
        facts=_facts(verdict, metrics, evaluation, dataset, metric),
        kicker=_kicker(problem, search),
    )


def decision_of(verdict: Json) -> tuple[Status, str]:
    """Return the decision of a verdict as a status and a sentence, with the gates that are against it."""
    word, said = _DECISIONS.get(str(verdict.get("decision")), ("skipped", "Not judged"))
    against = [str(gate.get("name")) for gate in verdict.get("gates") or [] if _rejects(gate)]
    return Status(word), said + (f" ({', '.join(against)})" if against else "")


def _rejects(gate: Json) -> bool:
    """Whether a gate failed, or was needed and not answered."""
    return gate.get("status") == "fail" or (gate.get("status") == "skipped" and bool(gate.get("required")))


def _second(problem: Json) -> str:
    """Return the metric that is drawn beside the primary one, or "" when the problem names no other."""
    return next((str(name) for name in (problem.get("metrics") or {}).get("also") or []), "")


def _facts(verdict: Json, metrics: Json, evaluation: Json, dataset: Json, metric: MetricView) -> list[Fact]:
    """Say how well the model does, beside what, on how many rows, and what changed."""
    facts = [*_scores(metrics, metric), *_holdout(evaluation)]
    rows: Json = dataset.get("rows") or {}
    if finite(rows.get("used")) is not None:
        facts.append(
            Fact("Rows used", count(rows["used"]), f"of {count(rows.get('in'))} that keep the contract")
        )
    statuses = [str(gate.get("status")) for gate in verdict.get("gates") or []]
    if statuses:
        facts.append(Fact("Gates", ", ".join(chips(statuses))))
    changed = verdict.get("changed")
    if changed is not None:
        facts.append(Fact("Changed since the last run", ", ".join(map(str, changed)) or "nothing"))
    return facts


def _kicker(problem: Json, search: Json) -> str:
    """Say what kind of model it is, and from how many it was chosen."""
    parts, winner = ["Model report"], search.get("winner") or {}
    parts += [str(problem["task"])] if problem.get("task") else []
    if winner.get("name"):
        family = f" ({words(winner['family'])})" if winner.get("family") else ""
        tried = len(search.get("results") or [])
        parts.append(f"{winner['name']}{family}" + (f", chosen from {tried}" if tried > 1 else ""))
    return " · ".join(parts)


def _scores(metrics: Json, metric: MetricView) -> list[Fact]:
    score = (metrics.get("holdout") or {}).get(metric.name)
    span = f"{inner}; " if (inner := band(score)) else ""
    facts = [Fact(f"{metric.title} of the model", number(estimate_of(score)), span + metric.direction)]
    best = best_baseline(metrics, metric)
    if best is None:
        return [*facts, Fact("Best baseline", "none was scored")]
    gain = metric.gain(estimate_of(score), estimate_of(best[1]))
    error = "error" if metric.best == 0 else f"distance from {number(metric.best)}"
    note = words(best[0]) + (f"; the model's {error} is {gain}" if gain else "")
    return [*facts, Fact(f"{metric.title} of the best baseline", number(estimate_of(best[1])), note)]


def _holdout(evaluation: Json) -> list[Fact]:
    held: Json = evaluation.get("holdout") or {}
    if finite(held.get("rows")) is None:
        return []
    span = " to ".join(days([held["first"], held.get("last")])) if moment(held.get("first")) else ""
    return [Fact("Rows of the holdout", count(held["rows"]), span)]
