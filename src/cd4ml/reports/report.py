"""The report of a run: one page that shows what was decided and all that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cd4ml.reports import data_sections, error_sections
from cd4ml.reports.error_sections import MetricView, best_baseline
from cd4ml.reports.formats import band, dash, finite, number, percent, words
from cd4ml.reports.page import Grid, Section, Status, chips, render

__all__ = ["report_page"]

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
) -> str:
    """Return the page as self-contained HTML; the same input gives the same text.

    Each argument is the content of the JSON file of its name; `problem` is `Problem.model_dump(mode="json")`
    and `manifest` is the snapshot's. An empty mapping stands for what was not made: its sections say so.
    """
    name = str(evaluation.get("primary") or (problem.get("metrics") or {}).get("primary") or "metric")
    metric = MetricView(name)
    target = str((problem.get("target") or {}).get("column") or "target")
    sections = [
        _gates(verdict),
        data_sections.data(problem, dataset, validation, manifest),
        data_sections.split(dataset),
        error_sections.candidates(metrics, search, metric),
        error_sections.over_time(evaluation, metric, target),
        error_sections.slices(evaluation, metrics, metric),
        error_sections.bias(bias.get("rows") or []),
        error_sections.quality(evaluation, target),
        error_sections.importances(evaluation, metric),
        error_sections.stock(evaluation),
        data_sections.assumptions(problem),
        data_sections.lineage(verdict, lineage, checks),
        data_sections.reproduce(problem, verdict, manifest, lineage),
    ]
    title = words(problem.get("name") or verdict.get("model") or "model").capitalize()
    return render(
        title,
        _lead(problem, verdict, metrics, search, metric),
        [section for section in sections if section is not None],
        decision=_decision(verdict),
        kicker=f"Model report · {problem.get('task', 'task unknown')}",
    )


def _decision(verdict: Json) -> tuple[Status, str]:
    word, said = _DECISIONS.get(str(verdict.get("decision")), ("skipped", "Not judged"))
    failed = [str(gate.get("name")) for gate in verdict.get("gates") or [] if gate.get("status") == "fail"]
    return Status(word), said + (f" ({', '.join(failed)})" if failed else "")


def _lead(problem: Json, verdict: Json, metrics: Json, search: Json, metric: MetricView) -> list[str]:
    """Say in sentences what the model is, how well it does beside the best baseline, and what changed."""
    lead = [str(problem["description"])] if problem.get("description") else []
    winner: Json = search.get("winner") or {}
    score = (metrics.get("holdout") or {}).get(metric.name)
    model = f"The model {winner['name']}" if winner.get("name") else "The model"
    model += f" ({words(winner['family'])})" if winner.get("family") else ""
    if score is None:
        lead.append(f"{model} has no {metric.title} on the holdout.")
    else:
        lead.append(f"{model} has a {metric.title} of {_scored(score)} on the holdout ({metric.direction}).")
        lead += _against_baseline(metrics, score, metric)
    changed = verdict.get("changed")
    if changed is not None:
        lead.append(f"Changed since the last run: {', '.join(map(str, changed)) or 'nothing'}.")
    return lead


def _scored(value: Json) -> str:
    inner = band(value)
    return number(value.get("estimate")) + (f" [{inner}]" if inner else "")


def _against_baseline(metrics: Json, score: Json, metric: MetricView) -> list[str]:
    best = best_baseline(metrics, metric)
    if best is None:
        return ["No baseline was scored."]
    said = f"The best baseline, {words(best[0])}, has {_scored(best[1])}"
    reference, own = metric.distance(best[1].get("estimate")), metric.distance(score.get("estimate"))
    if not reference or finite(own) is None:
        return [f"{said}."]
    share = (reference - own) / reference
    size = "smaller" if share >= 0 else "larger"
    return [f"{said}: the model's distance from perfect is {percent(abs(share))} {size}."]


def _gates(verdict: Json) -> Section:
    section = Section("gates", "Gates", absent="nothing was judged.")
    gates = verdict.get("gates") or []
    if not gates:
        return section
    section.intro.append(", ".join(chips([str(gate.get("status")) for gate in gates])) + ".")
    rows: list[list[str | Status]] = [
        [
            str(gate.get("name")), Status(str(gate.get("status"))), str(gate.get("axis") or "–"),
            dash(gate.get("measured")),
            dash(gate.get("limit")),
            band(gate.get("interval")) or "–", str(gate.get("reason") or ""),
        ]
        for gate in gates
    ]  # fmt: skip
    head = ("gate", "status", "axis", "measured", "limit", "interval", "reason")
    section.tables.append(
        Grid(
            "Gates of the verdict", head, rows, frozenset({"gate", "status", "axis", "reason"}), stacked=True
        )
    )
    return section
