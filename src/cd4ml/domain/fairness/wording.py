"""A finding in one sentence, with its numbers and its limit."""

from __future__ import annotations

from cd4ml.domain.fairness.findings import Finding
from cd4ml.domain.fairness.rows import Family

__all__ = ["sentence"]


def sentence(finding: Finding, family: Family, adjusted_p: float | None, alpha: float) -> str:
    """Return what was found, the limit and what follows."""
    facts = finding.facts
    if finding.lacking and facts["margin"] is not None:
        return f"{facts['label']} of {facts['slice']} against {finding.other}: {finding.lacking}."
    if adjusted_p is None:
        return f"{_measured(finding)}; shown and not judged."
    limit = _limit(facts["compare"], facts["margin"], facts["against"])
    if facts["metric"] == "selection_rate" and facts["margin"] == 0.8:
        limit += " (four-fifths rule)"
    return f"{_measured(finding)}; {limit}: {_conclusion(finding, family, adjusted_p, alpha)}."


def _measured(finding: Finding) -> str:
    facts = finding.facts
    words = {
        "rate_ratio": "ratio",
        "error_ratio": "ratio",
        "difference": "difference",
        "distance": "distance",
    }[facts["compare"]]
    head = f"{facts['label']} of {facts['slice']}"
    if facts["estimate"] is not None and facts["reference"] is not None:
        head += f" is {_text(facts['estimate'])}, of {finding.other} {_text(facts['reference'])}"
    else:
        head += f" against {finding.other}"
    if facts["ratio"] is None:
        return head
    known = facts["low"] is not None and facts["high"] is not None
    interval = f" ({_text(facts['low'])} to {_text(facts['high'])})" if known else ""
    return f"{head}: {words} {_text(facts['ratio'])}{interval}"


def _limit(compare: str, margin: float, against: str) -> str:
    if compare == "rate_ratio" and against == "extremes":
        return f"must be at least {margin:g}"
    if compare == "rate_ratio":
        return f"must be from {margin:.4g} to {1 / margin:.4g}"
    if compare == "difference":
        return f"must be from {-margin:g} to {margin:g}"
    return f"must be at most {margin:g}"


def _conclusion(finding: Finding, family: Family, adjusted_p: float, alpha: float) -> str:
    correction = "Holm" if family == "blocking" else "Benjamini-Hochberg"
    p = f"p {_p(adjusted_p)} after {correction}"
    if adjusted_p < alpha:
        return f"beyond it and not by chance ({p})"
    if finding.within:
        return "kept by the whole interval"
    high, low = finding.facts["high"], finding.facts["low"]
    margin, compare = finding.facts["margin"], finding.facts["compare"]
    beyond = compare == "rate_ratio" and (high < margin or low > 1 / margin)
    if beyond:
        return f"beyond it, yet chance among so many comparisons is not excluded ({p})"
    return f"neither kept nor broken beyond chance ({p})"


def _p(value: float) -> str:
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"


def _text(value: float) -> str:
    return f"{value:.3g}"
