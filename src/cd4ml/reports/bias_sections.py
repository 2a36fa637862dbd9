"""How the error in a slice compares with the error of all other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.reports.figures import Dot, dots
from cd4ml.reports.formats import alike, band, count, dash, finite, limits, number, words
from cd4ml.reports.metric_view import MetricView
from cd4ml.reports.page import Cell, Figure, Grid, Section, Status, chips

__all__ = ["bias"]

Json = Mapping[str, Any]
SHOWN = 15
FAR_RATIO = 5.0
"""Ratios above this do not stretch the axis unless they fail."""
_ORDER = {"fail": 0, "waived": 1, "insufficient_data": 2, "skipped": 2, "pass": 3}
_MARKS = {"fail": 1, "insufficient_data": 2, "skipped": 2}


def bias(rows: Sequence[Json], verdict: Json) -> Section:
    """Return how the model differs between the slices of sensitive and other columns."""
    section = Section("bias", "Bias", absent="the problem names no columns to compare.")
    if not rows:
        return section
    ordered = sorted(rows, key=_rank)
    section.intro += _said(ordered, verdict)
    section.figures.append(_picture(ordered))
    section.tables.append(_table(ordered))
    return section


def _rank(row: Json) -> tuple[int, float, str, str]:
    """Put failures first, and among equals the largest ratio."""
    ratio = finite(row.get("ratio"))
    return (
        _ORDER.get(str(row.get("status")), 1),
        -(ratio if ratio is not None else -1.0),
        str(row.get("column")),
        str(row.get("slice")),
    )


def _said(rows: Sequence[Json], verdict: Json) -> list[str]:
    title = MetricView(str(rows[0].get("metric"))).title
    counts = ", ".join(chips([words(row.get("status")) for row in rows]))
    said = [
        f"{title} of each slice against all other rows: {counts}. The ratio compares distances from perfect: "
        "1 means the same, 2 twice the error. A slice fails when its ratio is above the margin beyond chance "
        "(p below 0.05 after Holm's correction over all slices), and passes when its whole interval keeps "
        "the margin."
    ]
    gates = verdict.get("gates") or []
    if gates and not any(str(gate.get("name")).partition(":")[0] == "bias" for gate in gates):
        said.append("No gate of this verdict rests on these comparisons; they inform.")
    return said


def _picture(rows: Sequence[Json]) -> Figure:
    drawn = [
        Dot(
            f"{words(row.get('column'))}: {row.get('slice')}",
            finite(row.get("ratio")),
            *limits(row),
            mark=_MARKS.get(str(row.get("status")), 0),
            note=f"{words(row.get('status'))}, {count(row.get('n'))} rows",
            far=row.get("status") != "fail" and (finite(row.get("ratio")) or 0) > FAR_RATIO,
        )
        for row in rows
    ]
    margin = finite(rows[0].get("margin"))
    reference = None if margin is None else (margin, f"margin {number(margin)}")
    label = "Ratio of the error in a slice to the error in the rest"
    svg = dots(drawn[:SHOWN], label=label, axis="ratio", reference=reference, within=[1.0])
    shown = f" The first {SHOWN} of {len(drawn)}." if len(drawn) > SHOWN else ""
    note = f"Orange squares fail, hollow marks have insufficient data, blue ones pass.{shown}"
    return Figure(svg, "Error in the slice ÷ error in the rest", note)


def _table(rows: Sequence[Json]) -> Grid:
    columns = {key: alike([row.get(key) for row in rows]) for key in ("estimate", "reference", "ratio")}
    cells: list[list[Cell]] = []
    for index, row in enumerate(rows):
        names = [str(row.get("slice")), str(row.get("column")), MetricView(str(row.get("metric"))).title]
        sizes = [count(row.get("n")), count(row.get("clusters"))]
        values = [texts[index] for texts in columns.values()]
        limit = [band(row) or "–", dash(row.get("adjusted_p")), dash(row.get("margin"))]
        status = str(row.get("status"))
        cells.append([*names, Status(status, words(status)), *sizes, *values, *limit])
    names_of = ("slice", "column", "metric", "status")
    measured = (
        "rows",
        "clusters",
        "in the slice",
        "in the rest",
        "ratio",
        "interval",
        "adjusted p",
        "margin",
    )
    said = f"All {len(rows)} comparisons"
    return Grid("Slices against the rest", (*names_of, *measured), cells, frozenset(names_of), said)
