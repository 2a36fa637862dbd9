"""What a comparison with the champion says to the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from cd4ml.domain.gates import Gate, Status, skipped_gate
from cd4ml.domain.ratchet import Comparison, Row
from cd4ml.domain.ratchet_limits import Limit

__all__ = ["ChampionStatus", "Ratchet", "ratchet_gates"]

ChampionStatus = Literal["scored", "first_release", "unreadable"]
_SHOWN = 5e-5  # what 0.01 % rounds from
_ORDER = {"fail": 0, "warn": 1, "insufficient_data": 2, "pass": 3}


@dataclass(frozen=True)
class Ratchet:
    """A challenger before the champion: what ratchet.json holds.

    Attributes
    ----------
    status : str
        `scored`: both were. `first_release`: no version has the alias. `unreadable`: it cannot be scored.
    champion : mapping
        "alias", "name", "version" and "bundle"; the last two are None for a first release.
    reason : str
        What was found of the champion, in a sentence.
    warning : str
        What a person should know about it; "" for nothing.
    comparison : Comparison or None
        None unless the champion was scored.
    limits : mapping
        Metric -> what the challenger's version is to carry in the registry.
    tightened : bool
        Whether they are tighter than what the champion carries.
    """

    status: ChampionStatus
    champion: Mapping[str, Any]
    reason: str
    warning: str = ""
    comparison: Comparison | None = None
    limits: Mapping[str, Limit] = field(default_factory=dict)
    tightened: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in ratchet.json."""
        found = self.comparison
        return {
            "status": self.status,
            "champion": dict(self.champion),
            "reason": self.reason,
            "warning": self.warning,
            "overall": found.overall.to_dict() if found else None,
            "slices": [row.to_dict() for row in found.slices] if found else [],
            "gain": found.gain if found else False,
            "limits": {metric: limit.to_dict() for metric, limit in self.limits.items()},
            "tightened": self.tightened,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Ratchet:
        """Return what `to_dict` wrote."""
        comparison = None
        if found["overall"] is not None:
            slices = tuple(Row.from_dict(row) for row in found["slices"])
            comparison = Comparison(Row.from_dict(found["overall"]), slices, bool(found["gain"]))
        limits = {metric: Limit.from_dict(limit) for metric, limit in found["limits"].items()}
        told = (found["status"], found["champion"], str(found["reason"]), str(found["warning"]))
        return cls(*told, comparison, limits, bool(found["tightened"]))


def ratchet_gates(found: Ratchet) -> list[Gate]:
    """Return the gate `champion`, and where it was scored one for the whole and one a column of slices."""
    gates = [_champion_gate(found)]
    if found.comparison is not None:
        gates.append(_overall_gate(found, found.comparison))
        by_column = groupby(found.comparison.slices, key=lambda row: row.column)
        gates += [_column_gate(column, list(rows)) for column, rows in by_column]
    return gates


def _champion_gate(found: Ratchet) -> Gate:
    reason = f"{found.reason}; {found.warning}." if found.warning else f"{found.reason}."
    if found.status == "first_release" and not found.warning:
        return skipped_gate("champion", "model", reason)
    if found.status == "unreadable" or (found.status == "scored" and found.comparison is None):
        return Gate("champion", "fail", None, None, None, reason, "model")
    status: Status = "warn" if found.status == "first_release" else "pass"
    return Gate("champion", status, None, None, None, reason, "model")


def _overall_gate(found: Ratchet, comparison: Comparison) -> Gate:
    row = comparison.overall
    told = f"{row.metric} is {_values(row)} on the same {row.n:,} rows: {_change(row)}"
    right = "no more" if row.limit <= 1 else f"at most {row.limit - 1:.2%} more"
    told += f"; {right} is right"
    if row.status == "pass":
        if comparison.gain:
            told += "; a sure gain"
        if found.tightened:
            told += f", which tightens the limit to {found.limits[row.metric].value:.4g}"
        return _gate(f"ratchet:{row.metric}", row, "pass", f"{told}.")
    if row.status == "insufficient_data":
        reason = f"{told}, but there are too few clusters to say: score on more days or entities."
        return _gate(f"ratchet:{row.metric}", row, "fail", reason)
    if row.status == "warn":
        reason = f"{told}, which is neither shown nor refuted: score on more data, or let a person decide."
        return _gate(f"ratchet:{row.metric}", row, "warn", reason)
    reason = f"{told}: improve the model or keep the champion."
    return _gate(f"ratchet:{row.metric}", row, "fail", reason)


def _column_gate(column: str, rows: Sequence[Row]) -> Gate:
    """Return the gate of a column's slices; it shows the worst one."""
    worst = min(rows, key=lambda row: (_ORDER[row.status], -(row.ratio or 0.0)))
    same = sum(row.status == worst.status for row in rows)
    of = f"{same} of {len(rows)} slices"
    told = f"{worst.metric} of {column} '{worst.slice}' is {_values(worst)} on the same {worst.n:,} rows"
    right = f"at most {worst.limit - 1:.2%} more is right"
    name = f"ratchet:{worst.metric}:{column}"
    if worst.status == "fail":
        reason = f"{told}: {_change(worst)}; {right}. {of} fail: look at what changed for them."
        return _gate(name, worst, "fail", reason)
    if worst.status == "warn":
        reason = f"{told}: {_change(worst)}; {right}, which is neither shown nor refuted for {of}."
        return _gate(name, worst, "warn", reason)
    if worst.status == "insufficient_data":
        few = f"{worst.n:,} rows in {worst.effective_clusters:.1f} effective clusters"
        reason = f"{column} '{worst.slice}' has too few data ({few}) or no value; so have {of}."
        return _gate(name, worst, "warn", reason)
    return _gate(name, worst, "pass", f"no slice is worse; {told}: {_change(worst)}; {right}.")


def _gate(name: str, row: Row, status: Status, reason: str) -> Gate:
    interval = None if row.low is None or row.high is None else (row.low, row.high)
    return Gate(name, status, row.ratio, row.limit, interval, reason, "model")


def _values(row: Row) -> str:
    ours, theirs = ("unknown" if x is None else f"{x:.4g}" for x in (row.challenger, row.champion))
    return f"{ours}, the champion's {theirs}"


def _change(row: Row) -> str:
    if row.ratio is None:
        return "no ratio of errors"
    if abs(row.ratio - 1) < _SHOWN:
        return "equal error"
    word = "more" if row.ratio > 1 else "less"
    text = f"{abs(row.ratio - 1):.2%} {word} error"
    if row.low is not None and row.high is not None:
        text += f" ({row.low - 1:+.2%} to {row.high - 1:+.2%})"
    return text if row.adjusted_p is None else f"{text}, adjusted p {row.adjusted_p:.2g}"
