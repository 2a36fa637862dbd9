"""Where the rows came from, how they were divided, and how to make all of it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.reports.figures import Part, Strip, strips
from cd4ml.reports.formats import (
    count,
    dash,
    day,
    days,
    finite,
    flatten,
    moment,
    number,
    percent,
    short_id,
    words,
)
from cd4ml.reports.metric_view import MetricView
from cd4ml.reports.page import Cell, Figure, Grid, Section, Status, pairs

__all__ = ["anomalies", "assumptions", "data", "lineage", "reproduce", "split", "table_rows"]

Json = Mapping[str, Any]


def _reasons(reasons: Json) -> str:
    return "; ".join(f"{reason}: {count(n)}" for reason, n in sorted(reasons.items(), key=lambda r: -r[1]))


def table_rows(validation: Json) -> list[Grid]:
    """Return the rows of each source table with the reasons for what was set aside."""
    rows = []
    for name, table in (validation.get("tables") or {}).items():
        fraction = None
        if finite(table.get("rows_in")) and finite(table.get("rows_quarantined")) is not None:
            fraction = table["rows_quarantined"] / table["rows_in"]
        said = [count(table.get(key)) for key in ("rows_in", "rows_accepted", "rows_quarantined")]
        rows.append([name, *said, percent(fraction), _reasons(table.get("reasons") or {}) or "none"])
    head = ("table", "rows in", "accepted", "quarantined", "share", "reasons")
    return [Grid("Rows of the sources", head, rows, frozenset({"table", "reasons"}))] if rows else []


def anomalies(validation: Json) -> list[Grid]:
    """Return what looked odd, and what the data were refused for."""
    grids = []
    for key, caption in (("anomalies", "Anomalies"), ("refused", "Reasons for refusal")):
        found: list[list[Cell]] = []
        for item in validation.get(key) or []:
            one = item if isinstance(item, Mapping) else {"detail": str(item)}
            cells = [str(one.get(name) or "–") for name in ("table", "column", "kind", "severity")]
            size = [dash(one.get(name)) for name in ("rows", "measured", "limit")]
            found.append([*cells, *size, str(one.get("detail") or one.get("reason") or "–")])
        head = ("table", "column", "kind", "severity", "rows", "measured", "limit", "detail")
        plain = frozenset({"table", "column", "kind", "severity", "detail"})
        grids += [Grid(caption, head, found, plain)] if found else []
    return grids


def _equation(problem: Json, dataset: Json, validation: Json) -> tuple[str, Status] | None:
    """Check that every row that came in is used, quarantined or filtered, and say so as a sum."""
    rows = dataset.get("rows") or {}
    if finite(rows.get("used")) is None:
        return None
    used, filtered = int(rows["used"]), sum(int(n) for n in (rows.get("filtered") or {}).values())
    tables = validation.get("tables") or {}
    facts = [tables[name] for name in problem.get("facts") or [] if name in tables]
    came_in = sum(int(table.get("rows_in", 0)) for table in facts) if facts else rows.get("in")
    quarantined = sum(int(table.get("rows_quarantined", 0)) for table in facts)
    if finite(came_in) is None:
        return None
    parts = f"{used:,} used + {quarantined:,} quarantined + {filtered:,} filtered"
    missing = int(came_in or 0) - used - quarantined - filtered
    if missing:
        return f"{count(came_in)} rows in ≠ {parts} (difference {number(missing)})", Status(
            "fail", "does not add up"
        )
    return f"{count(came_in)} rows in = {parts}", Status("pass", "adds up")


def data(problem: Json, dataset: Json, validation: Json, manifest: Json) -> Section:
    """Return the section on rows and the snapshot."""
    section = Section("data", "Data", absent="no snapshot and no dataset were given.")
    section.equation = _equation(problem, dataset, validation)
    filters = {one.get("name"): one.get("reason", "") for one in problem.get("filters") or []}
    filtered = (dataset.get("rows") or {}).get("filtered") or {}
    rows = [[words(name), count(n), str(filters.get(name, ""))] for name, n in filtered.items()]
    plain = frozenset({"filter", "why"})
    section.tables = table_rows(validation)
    section.tables += [Grid("Rows left out by rule", ("filter", "rows", "why"), rows, plain)] if rows else []
    section.tables += anomalies(validation)
    if validation and not validation.get("anomalies"):
        section.intro.append("No anomalies were found in the sources.")
    section.intro += _origin(dataset, manifest)
    return section


def _origin(dataset: Json, manifest: Json) -> list[str]:
    """Say which snapshot it is and from when to when the facts reach."""
    identity, span = manifest.get("id") or dataset.get("snapshot"), manifest.get("time")
    said = [f"Snapshot {short_id(identity)}"] if identity else []
    if isinstance(span, Mapping):
        said.append(f"Facts from {' to '.join(days([span.get('first'), span.get('last')]))}")
    return [" · ".join(said)] if said else []


def _rows_of(value: object) -> int | None:
    known = finite(value.get("rows") if isinstance(value, Mapping) else value)
    return None if known is None else int(known)


def _ends(value: object) -> tuple[float, float] | None:
    if not isinstance(value, Mapping):
        return None
    first, last = moment(value.get("first")), moment(value.get("last"))
    return None if first is None or last is None else (first.timestamp(), last.timestamp())


def _said(kind: str, value: object) -> str:
    rows = _rows_of(value)
    text = f"{kind} {count(rows)}" if rows is not None else kind
    if isinstance(value, Mapping) and value.get("first"):
        text += f" ({day(value['first'])} to {day(value.get('last'))})"
    return text


def _strip(name: str, parts: Sequence[tuple[str, object]], timed: bool) -> Strip:
    drawn, position, label = [], 0.0, []
    for kind, value in parts:
        rows, ends = _rows_of(value), _ends(value)
        if rows is not None and kind != "gap":
            label.append(f"{kind} {rows:,}")
        elif rows:
            label.append(f"left out {rows:,}")
        if timed and ends:
            drawn.append(Part(kind, *ends, f"{name}: {_said(kind, value)}"))
        elif not timed and rows:
            drawn.append(Part(kind, position, position + rows, f"{name}: {_said(kind, value)}"))
            position += rows
    return Strip(f"{name}: {', '.join(label)}", drawn)


def split(dataset: Json) -> Section:
    """Return the section on training, folds, gap and holdout."""
    section = Section("split", "Split", side=True, absent="the dataset does not say how it was divided.")
    found: Json = dataset.get("split") or {}
    if not found:
        return section
    timed = _ends(found.get("holdout")) is not None
    final = [("train", found.get("train")), ("gap", found.get("gap", found.get("unused")))]
    final.append(("holdout", found.get("holdout")))
    named = [
        (f"Fold {index}", [("train", fold.get("train")), ("validation", fold.get("validation"))])
        for index, fold in enumerate(found.get("folds") or [], 1)
    ]
    named.append(("Final", final))
    label = "Rows in training, validation and holdout"
    svg = strips([_strip(name, parts, timed) for name, parts in named], label=label, timed=timed)
    note = (
        "Stretches of time; the counts are rows. What lies between two parts is left out, so that no label "
        "reaches across."
        if timed
        else "Lengths are counts of rows."
    )
    section.figures.append(Figure(svg, "Training, validation and holdout", note))
    section.tables.append(_parts_table(named, timed))
    if found.get("kind"):
        section.intro.append(
            f"Rows were divided by {words(found['kind'])}; models are chosen on the folds alone."
        )
    return section


def _parts_table(named: Sequence[tuple[str, Sequence[tuple[str, object]]]], timed: bool) -> Grid:
    """Return the rows of each part, with the first and last time where the split is one of time."""
    found = [
        (name, kind, value)
        for name, parts in named
        for kind, value in parts
        if value is not None and (_rows_of(value) or kind != "gap")
    ]
    rows: list[list[Cell]] = [[name, kind, count(_rows_of(value))] for name, kind, value in found]
    head = ("part", "role", "rows", "first", "last") if timed else ("part", "role", "rows")
    if timed:
        ends = [value if isinstance(value, Mapping) else {} for _, _, value in found]
        said = days([end.get(key) for end in ends for key in ("first", "last")])
        rows = [[*row, *said[2 * index : 2 * index + 2]] for index, row in enumerate(rows)]
    return Grid("Rows of each part", head, rows, frozenset(head) - {"rows"})


def assumptions(problem: Json) -> Section:
    """Return what must be true for the holdout to be honest."""
    points = [str(one) for one in problem.get("assumptions") or []]
    return Section("assumptions", "Assumptions", points=points, absent="the problem states none.")


def lineage(verdict: Json, lineage: Json, checks: Json) -> Section:
    """Return ids, versions, parameters and the checks of the exported model."""
    section = Section("lineage", "Lineage", absent="no lineage was recorded.")
    section.tables += pairs("What was judged", verdict.get("subject"))
    section.tables += pairs("Checks of the exported model", _checked(checks))
    section.tables += pairs("How it was made", _made(lineage))
    section.tables += pairs("Versions", checks.get("versions") or lineage.get("versions"))
    section.tables += pairs("Lineage as recorded", lineage, folded="The whole lineage")
    section.tables += pairs("Checks as recorded", checks, folded="All that was checked")
    return section


def _made(lineage: Json) -> dict[str, Any]:
    """Return where the code came from and what the search chose, by readable names."""
    git, chosen = lineage.get("git") or {}, lineage.get("parameters") or {}
    return {
        "git commit": git.get("commit"),
        "git branch": git.get("branch"),
        "changes that were not committed": git.get("dirty"),
        "image": lineage.get("image_digest"),
        "seeds": lineage.get("seeds", lineage.get("seed")),
        "candidate": chosen.get("name"),
        "family": chosen.get("family"),
        f"mean {MetricView(str(chosen.get('metric'))).title} on the folds": chosen.get("mean"),
        **(chosen.get("parameters") or {}),
    }


def _checked(checks: Json) -> dict[str, Any]:
    """Return the checks that a reader asks for first, by readable names."""
    parity, replay, latency = (checks.get(key) or {} for key in ("parity", "replay", "latency"))
    quantile = checks.get("quantile_parity") or {}
    return {
        "rows compared with the estimator": parity.get("rows"),
        "largest difference": parity.get("max_abs"),
        "largest relative difference": parity.get("max_rel"),
        "largest relative difference, quantile model": quantile.get("max_rel"),
        "rows replayed in the serving runtime": replay.get("rows"),
        "replay identical": replay.get("identical"),
        "latency p50, ms": latency.get("p50_ms"),
        "latency p99, ms": latency.get("p99_ms"),
    }


def _found(values: Json, *endings: str) -> str:
    """Return the first value whose dotted name ends so, or "" when there is none."""
    for name, value in flatten(values):
        if value and name.split(".")[-1] in endings:
            return str(value)
    return ""


def reproduce(problem: Json, verdict: Json, manifest: Json, lineage: Json) -> Section:
    """Return the commands that make the same model of the same data by the same code."""
    section = Section("reproduce", "How to reproduce", absent="the problem has no name.")
    name = str(problem.get("name") or verdict.get("model") or "")
    if not name:
        return section
    both = {"subject": verdict.get("subject") or {}, "lineage": lineage}
    commit = _found(both, "commit", "git_commit", "git")
    if _found(both, "dirty"):
        section.intro.append(
            "The code had changes that were not committed: the commit alone is not what ran."
        )
    if commit:
        section.commands.append(f"git checkout {shlex.quote(commit)}")
    section.commands.append("make install")
    section.commands.append(f".venv/bin/cd4ml run {shlex.quote(name)} --data DIR --out OUT")
    snapshot = manifest.get("id") or _found(both, "snapshot", "snapshot_id")
    if snapshot:
        section.intro.append(
            f"DIR must hold the same sources: the run then names the same snapshot, {short_id(snapshot)}, "
            "and writes the same bundle."
        )
    return section
