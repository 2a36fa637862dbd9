"""The challenger beside the champion on the same rows: overall, by slice, and the limits that tighten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.reports.figures import Dot, dots
from cd4ml.reports.formats import count, dash, finite, limits, number, percent, sentence, words
from cd4ml.reports.metric_view import MetricView, estimates
from cd4ml.reports.page import Cell, Figure, Grid, Section, Status

__all__ = ["ratchet"]

Json = Mapping[str, Any]
SHOWN = 15
_ORDER = {"fail": 0, "warn": 1, "insufficient_data": 2, "pass": 3}
_MARKS = {"fail": 1, "insufficient_data": 2}
_STATES = {
    "scored": Status("pass", "scored on the same rows"),
    "first_release": Status("skipped", "first release"),
    "unreadable": Status("fail", "cannot be read"),
}


def ratchet(found: Json | None) -> Section | None:
    """Return how the challenger does beside the champion; None where nobody compared them.

    Parameters
    ----------
    found : mapping or None
        ratchet.json.
    """
    if found is None:
        return None
    state = _STATES.get(str(found.get("status")))
    section = Section("champion", "Beside the champion", status=state, absent="there is no comparison.")
    section.intro += [sentence(found.get(key)) for key in ("reason", "warning") if found.get(key)]
    overall: Json | None = found.get("overall")
    if not overall:
        return section
    rows: Sequence[Json] = found.get("slices") or []
    ordered = [overall, *sorted(rows, key=_rank)]
    view = MetricView(str(overall.get("metric")))
    section.intro.append(_verdict(overall, found, view))
    section.figures += _pictures(ordered, view)
    section.tables.append(_table(ordered, view))
    section.tables += _limits(found)
    return section


def _rank(row: Json) -> tuple[int, float, str, str]:
    ratio = finite(row.get("ratio"))
    status = _ORDER.get(str(row.get("status")), 2)
    return status, -(ratio if ratio is not None else -1.0), str(row.get("column")), str(row.get("slice"))


def _verdict(overall: Json, found: Json, view: MetricView) -> str:
    ours, theirs = estimates([overall.get("challenger"), overall.get("champion")])
    said = f"{view.title} of the challenger is {ours.said}, of the champion {theirs.said}"
    ratio, limit = finite(overall.get("ratio")), finite(overall.get("limit"))
    if ratio is not None:
        said += f": {percent(abs(ratio - 1))} {'more' if ratio > 1 else 'less'} error"
    if limit is not None:
        said += f"; at most {percent(limit - 1)} more is allowed"
    return said + (". The gain is beyond chance." if found.get("gain") else ".")


def _name(row: Json) -> str:
    return f"{words(row['column'])}: {row.get('slice')}" if row.get("column") else "all rows"


def _pictures(rows: Sequence[Json], view: MetricView) -> list[Figure]:
    """Draw the ratio of the errors on all rows and on slices, each with its own limit."""
    parts = [
        (f"Error of the challenger ÷ error of the champion ({view.title})", rows[:1]),
        ("The same by slice", rows[1:]),
    ]
    figures = []
    for title, chosen in parts:
        drawn = [_dot(row) for row in chosen if finite(row.get("ratio")) is not None]
        if not drawn:
            continue
        limit = finite(chosen[0].get("limit"))
        reference = None if limit is None else (limit, f"limit {number(limit)}")
        svg = dots(drawn[:SHOWN], label=title, axis="ratio; 1 is equal", reference=reference, within=[1.0])
        note = "Below 1 the challenger has less error. It fails when it surely lies above the limit."
        note += f" The first {SHOWN} of {len(drawn)}." if len(drawn) > SHOWN else ""
        figures.append(Figure(svg, title, note))
    return figures


def _dot(row: Json) -> Dot:
    status = str(row.get("status"))
    note = f"{words(status)}, {count(row.get('n'))} rows"
    small = status == "insufficient_data"
    ratio = finite(row.get("ratio"))
    return Dot(_name(row), ratio, *limits(row), mark=_MARKS.get(status, 0), note=note, far=small)


def _table(rows: Sequence[Json], view: MetricView) -> Grid:
    values = [estimates([row.get("challenger"), row.get("champion")]) for row in rows]
    ratios = estimates([{**row, "estimate": row.get("ratio")} for row in rows])
    cells: list[list[Cell]] = [
        [
            _name(row),
            Status(str(row.get("status")), words(row.get("status"))),
            count(row.get("n")),
            count(row.get("clusters")),
            ours.said,
            theirs.said,
            ratio,
            dash(row.get("limit")),
            dash(row.get("adjusted_p")),
        ]
        for row, (ours, theirs), ratio in zip(rows, values, ratios, strict=True)
    ]
    title = view.title
    head = ("rows of", "status", "rows", "clusters", f"{title}, challenger", f"{title}, champion",
            "ratio of errors", "limit", "adjusted p")  # fmt: skip
    plain = frozenset({"rows of", "status"})
    return Grid("Challenger and champion on the same rows", head, cells, plain, stacked=True)


def _limits(found: Json) -> list[Grid]:
    """Return the limits that the next challengers must keep, whatever the champion is then."""
    known: Mapping[str, Json] = found.get("limits") or {}
    rows: list[list[Cell]] = [
        [MetricView(name).title, dash(one.get("score")), dash(one.get("value"))]
        for name, one in sorted(known.items())
    ]
    tightened = "; tightened by this challenger" if found.get("tightened") else ""
    head = ("metric", "this version", "limit from now on")
    return [Grid(f"Limits that only tighten{tightened}", head, rows, frozenset({"metric"}))] if rows else []
