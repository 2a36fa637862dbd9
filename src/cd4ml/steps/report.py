"""Draw the report of a run."""

from __future__ import annotations

from pathlib import Path

from cd4ml.steps.documents import problem_of, read

__all__ = ["write_report"]


def write_report(
    problem: Path,
    snapshot: Path,
    dataset: Path,
    model: Path,
    evaluation: Path,
    checks: Path,
    bundle: Path,
    verdict: Path,
    bias: Path,
    explanations: Path,
    ledger: Path,
    consumers: Path,
    ratchet: Path,
    out: Path,
    card: Path,
) -> None:
    """Write what the steps before found as one self-contained page to `out`, the model card to `card`."""
    from cd4ml.adapters.storage.atomic import write_text
    from cd4ml.reports.card_page import card_page
    from cd4ml.reports.report import report_page

    html = report_page(
        problem=problem_of(problem).model_dump(mode="json"),
        verdict=read(verdict),
        metrics=read(evaluation / "metrics.json"),
        evaluation=read(evaluation / "evaluation.json"),
        search=read(model / "search.json"),
        dataset=read(dataset / "dataset.json"),
        validation=read(snapshot / "validation.json"),
        manifest=read(snapshot / "manifest.json"),
        bias=read(bias / "bias.json"),
        explanations=read(explanations / "explanations.json"),
        ledger=read(ledger),
        consumers=read(consumers / "consumers.json"),
        ratchet=read(ratchet),
        mitigation=read(tried) if (tried := evaluation / "mitigation.json").is_file() else None,
        lineage=read(bundle / "lineage.json"),
        checks=read(checks / "checks.json"),
    )
    write_text(out, html)
    write_text(card, card_page(read(bundle / "card.json")))
