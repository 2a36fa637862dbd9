"""The judge's gates over the bias rows: one a blocking measure and column, one a column for all warnings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cd4ml.domain.fairness.rows import BiasReport, BiasRow
from cd4ml.domain.gates import Gate, Status

__all__ = ["bias_gates"]

_RANK = {"fail": 0, "warn": 1, "insufficient_data": 2, "waived": 3, "pass": 4}
_STATUS: dict[str, Status] = {
    "fail": "fail",
    "warn": "warn",
    "insufficient_data": "warn",
    "waived": "pass",
    "pass": "pass",
}
_ADVICE = {
    "fail": " Try `mitigations` in the problem file, or waive it there with who, why and until when.",
}


def bias_gates(report: BiasReport) -> list[Gate]:
    """Return the gates "bias:MEASURE:COLUMN" of blocking measures and "bias:STAGE:COLUMN" of all others.

    A gate has the status and the numbers of its worst row. Insufficient data warn, and never pass. What is
    waived passes, with the name of who answers for it. Among the others a row that was tested and found to be
    neither within nor beyond its limit does not warn: of some hundred such rows there always are.
    """
    gates, informs = [], set(report.summary.get("informs", ()))
    for column in dict.fromkeys(row.column for row in report.rows if row.column not in informs):
        rows = [row for row in report.rows if row.column == column]
        blocking = [row for row in rows if row.family == "blocking"]
        for metric in dict.fromkeys(row.metric for row in blocking):
            gates.append(_gate(f"bias:{metric}:{column}", [r for r in blocking if r.metric == metric]))
        for stage in ("pre", "post"):
            others = [row for row in rows if row.family == "warning" and row.stage == stage and _weighs(row)]
            if others:
                gates.append(_gate(f"bias:{stage}:{column}", others))
    return gates


def _weighs(row: BiasRow) -> bool:
    """Return whether a row of the warning family is judged, and either decided or not tested at all."""
    tested = row.adjusted_p is not None
    return row.margin is not None and not (row.status == "insufficient_data" and tested)


def _gate(name: str, rows: Sequence[BiasRow]) -> Gate:
    worst = min(rows, key=_order)
    status = _STATUS[worst.status]
    interval = None if worst.low is None or worst.high is None else (worst.low, worst.high)
    reason = f"{worst.column}: {worst.reason}{_others(worst, rows)}{_ADVICE.get(status, '')}"
    return Gate(name, status, worst.ratio, _limit(worst), interval, reason, "model")


def _limit(row: BiasRow) -> float | None:
    """Return the end of the limits that the row is nearest to or beyond."""
    if row.margin is None or row.ratio is None:
        return row.margin
    if row.compare == "rate_ratio" and row.ratio > 1:
        return 1 / row.margin
    return -row.margin if row.compare == "difference" and row.ratio < 0 else row.margin


def _order(row: BiasRow) -> tuple[int, bool, float, str, str]:
    """Put the worst status first, the four-fifths row before single slices, then what is farthest out."""
    return _RANK[row.status], row.against != "extremes", -_excess(row), row.slice, row.against


def _excess(row: BiasRow) -> float:
    """Return how far out a row is, in units of its limit."""
    if row.ratio is None or not row.margin:
        return 0.0
    if row.compare in ("difference", "distance"):
        return abs(row.ratio) / row.margin
    if row.ratio <= 0:
        return math.inf if row.compare == "rate_ratio" else 0.0
    size = math.log(row.ratio)
    return (abs(size) if row.compare == "rate_ratio" else size) / (abs(math.log(row.margin)) or 1.0)


def _others(worst: BiasRow, rows: Iterable[BiasRow]) -> str:
    """Return how many more rows came to the same, by slice."""
    if worst.status == "pass":
        return ""
    same = [row for row in rows if row is not worst and row.status == worst.status]
    if not same:
        return ""
    slices = list(dict.fromkeys(row.slice for row in same))
    shown = ", ".join(slices[:3]) + (f" and {len(slices) - 3} more" if len(slices) > 3 else "")
    word = worst.status.replace("_", " ")
    return f" {len(same)} more {'comparison' if len(same) == 1 else 'comparisons'} of {shown}: {word}."
