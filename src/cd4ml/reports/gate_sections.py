"""The gates of a verdict: what was measured, what is allowed, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from cd4ml.domain.metrics import METRICS
from cd4ml.reports.drawing import Canvas, Scale
from cd4ml.reports.formats import band, dash, finite, limits, number, percent, share_band
from cd4ml.reports.page import Cell, Grid, Section, Status, chips

__all__ = ["gates"]

Json = Mapping[str, Any]
_SHARES = {"contract", "baseline"}
"""Kinds of gates whose numbers are fractions."""
_UNITS = {"latency": " ms"}
_AT_LEAST = {"baseline"}
"""Kinds of gates whose value must lie above the limit, as that of metrics where higher is better must."""
_LEAST_RATIO = 0.5
_GAUGE_WIDTH = 132.0


def gates(verdict: Json) -> Section:
    """Return the gates with their limits and intervals, as a table with a small picture each."""
    section = Section("gates", "Gates", absent="nothing was judged.")
    found = verdict.get("gates") or []
    if not found:
        return section
    section.intro.append(", ".join(chips([str(gate.get("status")) for gate in found])) + ".")
    head = ("gate", "status", "axis", "measured", "limit", "interval", "picture", "reason")
    plain = frozenset({"gate", "status", "axis", "picture", "reason"})
    rows = [_row(gate) for gate in found]
    section.tables.append(Grid("Gates of the verdict", head, rows, plain, stacked=True))
    section.outro.append(
        "In the pictures the green stretch is allowed, the mark is what was measured, with its interval."
    )
    return section


def _row(gate: Json) -> list[Cell]:
    name = str(gate.get("name"))
    kind = name.partition(":")[0]
    unit = _UNITS.get(kind, "")

    def said(value: object) -> str:
        known = finite(value)
        if known is None:
            return dash(value)
        return percent(known) if kind in _SHARES else f"{number(known)}{unit}"

    span = (share_band if kind in _SHARES else band)(gate.get("interval"))
    return [
        name,
        Status(str(gate.get("status"))),
        str(gate.get("axis") or "–"),
        said(gate.get("measured")),
        said(gate.get("limit")),
        span or "–",
        _gauge(gate, name),
        str(gate.get("reason") or ""),
    ]


def _higher_is_better(name: str, limit: float) -> bool:
    """Whether the allowed side lies above the limit.

    A bias gate shows the limit that its worst row is at: the lower one of a difference is negative, that of
    a ratio of rates is near 1 from below, and all others are upper ones.
    """
    kind, _, rest = name.partition(":")
    metric = METRICS.get(rest)
    if kind == "bias":
        return limit < 0 or _LEAST_RATIO <= limit <= 1
    return kind in _AT_LEAST or (kind == "threshold" and metric is not None and metric.higher_is_better)


def _gauge(gate: Json, name: str) -> Markup | str:
    """Draw what was measured beside what is allowed; a dash without two different numbers."""
    measured, limit = finite(gate.get("measured")), finite(gate.get("limit"))
    if measured is None or limit is None or measured == limit == 0:
        return "–"
    low, high = limits(gate.get("interval"))
    low, high = (measured, measured) if low is None or high is None else (low, high)
    values = [measured, limit, low, high] + ([] if name.startswith("threshold") else [0.0])
    x = Scale.over(values, 4, _GAUGE_WIDTH - 4, room=0.12)
    # The numbers stand in the cells before: the picture says nothing more to a screen reader.
    canvas = Canvas(22, "", width=_GAUGE_WIDTH)
    start, end = (x(limit), x.end) if _higher_is_better(name, limit) else (x.start, x(limit))
    canvas.box(x.start, 4, x.end - x.start, 14, "track")
    canvas.box(start, 4, end - start, 14, "allowed")
    canvas.line(x(limit), 2, x(limit), 20, "limit")
    if high > low:
        canvas.line(x(low), 11, x(high), 11, "w gauge")
    canvas.dot(x(measured), 11, "gauge-mark", square=gate.get("status") == "fail")
    return canvas.svg()
