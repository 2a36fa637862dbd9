"""How groups fare beside each other: findings of the bias checks, failures first, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cd4ml.reports.figures import Dot, dots
from cd4ml.reports.formats import alike, count, counted, dash, finite, limits, number, words
from cd4ml.reports.metric_view import MetricView, estimates
from cd4ml.reports.page import Cell, Estimate, Figure, Grid, Section, Status, chips

__all__ = ["bias", "bias_headline"]

Json = Mapping[str, Any]
SHOWN = 15
FAR_RATIO = 5.0
"""Ratios above this do not stretch the axis unless they fail."""
MOST_MEASURES = 4
"""So many measures are drawn; the tables have all of them."""
MOST_ROWS = 400
"""So many comparisons stand in the folded table; bias.json has all of them."""
_ORDER = {"fail": 0, "waived": 1, "warn": 2, "insufficient_data": 3, "skipped": 3, "pass": 4}
_MARKS = {"fail": 1, "insufficient_data": 2, "skipped": 2}
_EQUAL = {"rate_ratio": 1.0, "error_ratio": 1.0, "difference": 0.0, "distance": 0.0}
_KINDS = {
    "rate_ratio": "group ÷ all others",
    "error_ratio": "error in the group ÷ error in all others",
    "difference": "group less all others",
    "distance": "group from all others",
}
_AGAINST = {"rest": "all others", "extremes": "highest group", "champion": "the champion"}


def bias(found: Json, verdict: Json) -> Section:
    """Return what the checks say of groups and their crossings.

    Parameters
    ----------
    found : mapping
        bias.json: its `rows`, and `summary` and `alpha` where they are known.
    """
    section = Section("bias", "Bias", absent="the problem names no columns to compare.")
    rows: Sequence[Json] = found.get("rows") or []
    if not rows:
        return section
    judged = sorted((row for row in rows if _is_judged(row)), key=_rank)
    after = [row for row in judged if row.get("stage", "post") != "pre"]
    section.intro += _said(found, rows, after, verdict)
    section.figures += _pictures(after)
    told = [row for row in after if _is_told(row)]
    others = [row for row in told if not _blocks(row)]
    before = [row for row in judged if row.get("stage") == "pre" and _is_told(row)]
    section.tables += _findings("Findings that may reject the model", [row for row in told if _blocks(row)])
    section.tables += _waivers(found)
    section.tables += _findings(
        "Findings on predictions that warn", others, f"{counted(len(others), 'finding')} that warn"
    )
    said = f"{counted(len(before), 'finding')} on data and target, before training; they warn"
    section.tables += _findings("Findings before training", before, said)
    section.tables += _all(judged, len(rows))
    section.outro.append(
        "Marks: an orange square fails, a hollow grey one has insufficient data, which is no pass; round "
        "blue ones pass, warn or are waived."
    )
    return section


def bias_headline(found: Json) -> str:
    """Return what became of the comparisons that may reject, such as "3 fail, 20 pass"; "" without any."""
    blocking = [row for row in found.get("rows") or [] if _blocks(row)]
    return ", ".join(chips([words(row.get("status")) for row in blocking]))


def _is_judged(row: Json) -> bool:
    """Whether a row has a limit; others only show a number."""
    return bool("family" not in row or row.get("margin") is not None or row.get("status") != "pass")


def _blocks(row: Json) -> bool:
    return str(row.get("family", "blocking")) == "blocking"


def _is_told(row: Json) -> bool:
    """Whether a row is among the findings: not what passes, nor what only would warn on too few data."""
    status = str(row.get("status"))
    return status != "pass" and (_blocks(row) or status not in ("insufficient_data", "skipped"))


def _rank(row: Json) -> tuple[int, int, float, str, str]:
    """Put failures first, those that may reject before others, and among equals the furthest from equal."""
    ratio, equal = finite(row.get("ratio")), _EQUAL.get(_compare(row), 1.0)
    far = -1.0 if ratio is None else _distance(ratio, equal)
    status = _ORDER.get(str(row.get("status")), 1)
    return status, int(not _blocks(row)), -far, str(row.get("column")), str(row.get("slice"))


def _distance(ratio: float, equal: float) -> float:
    """Return how unequal a ratio or a difference is: a third is as far from 1 as 3 is."""
    if equal == 0.0:
        return abs(ratio)
    return max(ratio, 1 / ratio) - 1 if ratio > 0 else FAR_RATIO


def _compare(row: Json) -> str:
    return str(row.get("compare") or "error_ratio")


def _title(row: Json) -> str:
    return str(row.get("label") or MetricView(str(row.get("metric"))).title)


def _group(row: Json) -> str:
    return f"{words(row.get('column'))}: {row.get('slice')}"


def _against(row: Json) -> str:
    name = str(row.get("against") or "rest")
    return _AGAINST.get(name, name.removeprefix("reference:"))


def _said(found: Json, rows: Sequence[Json], judged: Sequence[Json], verdict: Json) -> list[str]:
    blocking, others = [row for row in judged if _blocks(row)], sum(not _blocks(row) for row in rows)
    alpha = finite(found.get("alpha"))
    family = "" if alpha is None else f" with {number(100 * alpha)} % for all of them together (Holm)"
    said = [
        f"{counted(len(blocking), 'comparison')} may reject the model{family}: "
        f"{bias_headline({'rows': blocking})}."
    ]
    if others:
        warn = sum(row.get("status") == "warn" and not _blocks(row) for row in rows)
        said.append(f"{counted(others, 'more comparison')} can only warn; {count(warn)} of them do.")
    said.append(
        "A finding fails when it is beyond its limit and not by chance, warns when its interval straddles "
        "the limit, and passes when the whole interval keeps it."
    )
    gates = verdict.get("gates") or []
    if gates and not any(str(gate.get("name")).partition(":")[0] == "bias" for gate in gates):
        said.append("No gate of this verdict rests on these comparisons; they inform.")
    return said


def _pictures(rows: Sequence[Json]) -> list[Figure]:
    """Draw the four-fifths rule, then the groups beside all others by each measure that matters most."""
    extremes = [row for row in rows if row.get("against") == "extremes"]
    pictures = [_four_fifths(extremes)] if extremes else []
    beside = [row for row in rows if row.get("against", "rest") == "rest"]
    told = [row for row in beside if _blocks(row)] or [row for row in beside if _is_told(row)]
    for metric in list(dict.fromkeys(str(row.get("metric")) for row in told))[:MOST_MEASURES]:
        pictures.append(_picture([row for row in beside if str(row.get("metric")) == metric]))
    return pictures


def _four_fifths(rows: Sequence[Json]) -> Figure:
    drawn = [
        _dot(row, f"{words(row.get('column'))}: {_title(row).lower()}", f"lowest: {row.get('slice')}")
        for row in rows
    ]
    margin = finite(rows[0].get("margin"))
    reference = None if margin is None else (margin, f"at least {number(margin)}")
    title = "Lowest rate ÷ highest rate of the groups of a column"
    svg = dots(drawn[:SHOWN], label=title, axis="ratio", reference=reference, within=[0.0, 1.0])
    note = (
        "The four-fifths rule: it fails when the whole interval lies below the line, and warns when it "
        f"straddles the line.{_more(drawn)}"
    )
    return Figure(svg, title, note)


def _picture(rows: Sequence[Json]) -> Figure:
    """Draw one measure, a row a group; limits that have a twin on the other side are drawn on both."""
    kind = _compare(rows[0])
    measured = [row for row in rows if finite(row.get("ratio")) is not None]
    drawn = [_dot(row, _group(row), f"against {_against(row)}") for row in measured]
    margin = finite(rows[0].get("margin"))
    reference = None if margin is None else (margin, f"limit {number(margin)}")
    twins = {"rate_ratio": 1 / margin if margin else None, "difference": -margin if margin else None}
    twin = twins.get(kind)
    title = f"{_title(rows[0])}: {_KINDS.get(kind, kind)}"
    svg = dots(
        drawn[:SHOWN],
        label=title,
        axis="difference" if kind in ("difference", "distance") else "ratio",
        reference=reference,
        within=[_EQUAL.get(kind, 1.0)],
        dashed=[] if twin is None else [twin],
    )
    without = len(rows) - len(measured)
    absent = f" {counted(without, 'group')} without a value." if without else ""
    return Figure(svg, title, f"Failures first.{_more(drawn)}{absent}")


def _more(drawn: Sequence[Dot]) -> str:
    return f" The first {SHOWN} of {len(drawn)}." if len(drawn) > SHOWN else ""


def _dot(row: Json, label: str, note: str) -> Dot:
    status = str(row.get("status"))
    return Dot(
        label,
        finite(row.get("ratio")),
        *limits(row),
        mark=_MARKS.get(status, 0),
        note=f"{note}; {words(status)}, {count(row.get('n'))} rows",
        far=status != "fail" and (finite(row.get("ratio")) or 0) > FAR_RATIO,
    )


def _findings(caption: str, rows: Sequence[Json], folded: str = "") -> list[Grid]:
    if not rows:
        return []
    head = ("group", "measure", "status", "against", "in the group", "ratio or difference", "limit", "rows",
            "note")  # fmt: skip
    cells: list[list[Cell]] = [
        [
            _group(row),
            _title(row),
            _status(row),
            _against(row),
            _values(row),
            _ratio(row),
            dash(row.get("margin")),
            count(row.get("n")),
            _note(row),
        ]
        for row in rows[:MOST_ROWS]
    ]
    plain = frozenset({"group", "measure", "status", "against", "note"})
    return [Grid(caption, head, cells, plain, folded, stacked=True)]


def _note(row: Json) -> str:
    """Say who answers for a finding, or why there is none; the numbers stand in the other cells."""
    waived: Json = row.get("waived") or {}
    if waived and row.get("status") == "waived":
        return f"by {waived.get('by')} until {waived.get('until')}"
    if waived:
        return f"waived by {waived.get('by')} until {waived.get('until')}: that is over"
    if row.get("status") == "insufficient_data":
        return str(row.get("reason") or "–").rpartition(": ")[2]
    return "–"


def _status(row: Json) -> Status:
    return Status(str(row.get("status")), words(row.get("status")))


def _values(row: Json) -> Estimate:
    """Return the measure in the group, with that in the others below it."""
    estimate, reference = alike([row.get("estimate"), row.get("reference")])
    return Estimate(estimate, f"others {reference}" if reference != "–" else "")


def _ratio(row: Json) -> Estimate:
    return estimates([{"estimate": row.get("ratio"), "low": row.get("low"), "high": row.get("high")}])[0]


def _waivers(found: Json) -> list[Grid]:
    """Return who answers for which findings, and until when; those that ended say so."""
    known: Iterable[Json] = (found.get("summary") or {}).get("waivers") or []
    rows: list[list[Cell]] = [
        [
            str(one.get("by")),
            Status("waived", "holds") if one.get("holds") else Status("fail", "expired"),
            str(one.get("until")),
            str(one.get("column")),
            "all" if one.get("slice") == "*" else str(one.get("slice")),
            "all" if one.get("metric") == "*" else words(one.get("metric")),
            str(one.get("reason")) + ("" if one.get("used") else " (covers no finding)"),
        ]
        for one in known
    ]
    head = ("who", "state", "until", "column", "group", "measure", "why")
    return [Grid("Waivers of the problem file", head, rows, frozenset(head), stacked=True)] if rows else []


def _all(rows: Sequence[Json], total: int) -> list[Grid]:
    """Return every judged comparison in a folded table, without the sentences."""
    head = ("group", "measure", "against", "status", "rows", "clusters", "ratio or difference", "limit",
            "adjusted p")  # fmt: skip
    cells: list[list[Cell]] = [
        [
            _group(row),
            _title(row),
            _against(row),
            _status(row),
            count(row.get("n")),
            count(row.get("clusters")),
            _ratio(row),
            dash(row.get("margin")),
            dash(row.get("adjusted_p")),
        ]
        for row in rows[:MOST_ROWS]
    ]
    whole = len(rows) <= MOST_ROWS and len(rows) == total
    said = f"All {len(rows)} comparisons" if whole else f"{len(cells)} of {total} comparisons, failures first"
    plain = frozenset({"group", "measure", "against", "status"})
    return [Grid("Comparisons of groups", head, cells, plain, said)]
