"""What a model rests on: contributions, effects, interactions, rows that stand out, slices, and proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.reports.explanation_figures import effect_curve, effect_levels, waterfall
from cd4ml.reports.figures import Dot, dots
from cd4ml.reports.formats import alike, count, counted, dash, finite, limits, number, percent, words
from cd4ml.reports.metric_view import MetricView, estimates
from cd4ml.reports.page import Cell, Figure, Grid, Section, Status

__all__ = ["explanations"]

Json = Mapping[str, Any]
SHOWN = 15
_PAIRS = 6
_NAMED = 4


def explanations(found: Json | None, metric: MetricView, target: str, verdict: Json) -> list[Section]:
    """Return the sections of explanations.json, with the gates that rest on it; none without the file."""
    if not found:
        return []
    return [
        _rests_on(found, metric),
        _effects(found, target),
        _rows(found, target),
        _slices(found, metric),
        _proxies(found.get("proxies") or [], verdict),
    ]


def _rests_on(found: Json, metric: MetricView) -> Section:
    section = Section("explanations", "What predictions rest on", absent="no contributions were computed.")
    given: Json = found.get("contributions") or {}
    sizes: Sequence[Json] = given.get("all") or []
    if sizes:
        scale, sample = words(found.get("scale")), found.get("rows") or {}
        section.intro.append(
            f"Each prediction is a base, {number(given.get('base'))}, plus what each feature adds (exact "
            f"Shapley values). They add up on the scale of the model: {scale}. Taken over "
            f"{count(sample.get('contributions'))} of {count(sample.get('holdout'))} holdout rows."
        )
        section.figures.append(_sizes(sizes, scale))
    section.tables += _interactions(found) + _coefficients(found.get("coefficients") or [])
    return section


def _sizes(sizes: Sequence[Json], scale: str) -> Figure:
    rows = [Dot(str(one.get("feature")), finite(one.get("size")), *limits(one)) for one in sizes]
    title = "Mean size of what a feature adds"
    svg = dots(rows[:SHOWN], label=title, axis=f"mean size ({scale})", within=[0.0])
    note = f"The first {SHOWN} of {len(rows)}. " if len(rows) > SHOWN else ""
    said = estimates([{"estimate": row.estimate, "low": row.low, "high": row.high} for row in rows])
    means = alike([one.get("mean") for one in sizes])
    cells: list[list[Cell]] = [
        [row.label, one, mean] for row, one, mean in zip(rows, said, means, strict=True)
    ]
    table = Grid(
        title, ("feature", "mean size", "mean"), cells, frozenset({"feature"}), f"All {len(rows)} features"
    )
    note += "It says how much predictions depend on a feature, and not whether that makes them better."
    return Figure(svg, title, note, table)


def _interactions(found: Json) -> list[Grid]:
    known: Json = found.get("interactions") or {}
    pairs: Sequence[Json] = known.get("pairs") or []
    sizes = alike([one.get("size") for one in pairs[:_PAIRS]])
    cells: list[list[Cell]] = [
        [" and ".join(map(str, one.get("features") or [])), size, percent(one.get("share"))]
        for one, size in zip(pairs[:_PAIRS], sizes, strict=True)
    ]
    head = ("features", "size of the interaction", "share of the joint effect")
    rows = counted(int(finite(known.get("rows")) or 0), "row")
    caption = f"Pairs that act together: a hint from {rows}. 0 % means that the effects add up"
    return [Grid(caption, head, cells, frozenset({"features"}))] if cells else []


def _coefficients(known: Sequence[Json]) -> list[Grid]:
    values = [
        {"estimate": one.get("standardised"), "low": one.get("low"), "high": one.get("high")} for one in known
    ]
    cells: list[list[Cell]] = [
        [
            str(one.get("feature")),
            said,
            dash(one.get("per_unit")),
            dash(one.get("mean")),
            dash(one.get("scale")),
        ]
        for one, said in zip(known, estimates(values), strict=True)
    ]
    head = ("feature", "for one standard deviation", "for one unit", "training mean", "standard deviation")
    caption = "Coefficients of the linear model"
    folded = f"All {len(cells)} coefficients"
    return [Grid(caption, head, cells, frozenset({"feature"}), folded)] if cells else []


def _effects(found: Json, target: str) -> Section:
    section = Section("effects", "How predictions change along a feature", absent="no effect was computed.")
    unit = "probability" if found.get("task") == "classification" else words(target)
    for one in found.get("effects") or []:
        name, points = str(one.get("feature")), one.get("points") or []
        label = f"Accumulated local effect of {name}"
        if one.get("kind") == "category":
            svg = effect_levels(points, label=label, axis=f"change of the mean prediction ({unit})")
        else:
            svg = effect_curve(points, label=label, titles=(name, f"change of the mean prediction ({unit})"))
        left_out = finite(one.get("left_out"))
        note = (
            f"{count(left_out)} rows without a value or of rare categories are left out." if left_out else ""
        )
        section.figures.append(Figure(svg, name, note))
    if section.figures:
        section.intro.append(
            "Accumulated local effects: by how much the served prediction moves as one feature moves, the "
            "others staying as they are in rows near by. 0 is the mean over the rows; bands are intervals."
        )
    return section


def _rows(found: Json, target: str) -> Section:
    section = Section("rows", "Why single rows are predicted so", absent="no row was explained.")
    scale, given = words(found.get("scale")), found.get("contributions") or {}
    for one in given.get("examples") or []:
        parts = [(_valued(part), part.get("contribution")) for part in one.get("features") or []]
        parts.append(("all others", one.get("others")))
        title = f"{words(one.get('what')).capitalize()}: row {count(one.get('row'))} of the holdout"
        svg = waterfall(one.get("base"), parts, label=title, axis=scale)
        note = f"Predicted {number(one.get('predicted'))}, {words(target)} was {number(one.get('actual'))}."
        section.figures.append(Figure(svg, title, note))
    return section


def _valued(part: Json) -> str:
    value = part.get("value")
    return f"{part.get('feature')} = {'none' if value is None else number(value)}"


def _slices(found: Json, metric: MetricView) -> Section:
    section = Section("explained-slices", "What sets slices apart", absent="the problem names no slices.")
    given = (found.get("contributions") or {}).get("slices") or {}
    important = (found.get("importances") or {}).get("slices") or {}
    for column in sorted({*given, *important}):
        grid = _slice_grid(str(column), given.get(column) or [], important.get(column) or [], metric)
        section.tables.append(grid)
    if section.tables:
        section.intro.append(
            f"Difference: how much higher ({words(found.get('scale'))}) a slice is predicted than all other "
            "rows, and the features that most of it comes through. Importance: by how much the error "
            f"({metric.title}) within the slice grows when a feature is shuffled."
        )
    return section


def _slice_grid(column: str, given: Sequence[Json], important: Sequence[Json], metric: MetricView) -> Grid:
    by_name = {str(one.get("slice")): one for one in important}
    named = dict.fromkeys([str(one.get("slice")) for one in given] + list(by_name))
    differences = {str(one.get("slice")): one for one in given}
    said = alike([differences.get(name, {}).get("difference") for name in named])
    cells: list[list[Cell]] = []
    for name, difference in zip(named, said, strict=True):
        entry, weighed = differences.get(name, {}), by_name.get(name, {})
        through = "; ".join(_through(one) for one in (entry.get("features") or [])[:_NAMED])
        rests = "; ".join(
            f"{one.get('feature')} {percent(one.get('increase'))}"
            for one in (weighed.get("importances") or [])[:_NAMED]
        )
        rows = weighed.get("n", entry.get("n"))
        cells.append([name, count(rows), difference, through or "too few rows", rests or "too few rows"])
    head = (words(column), "rows", "difference", "through", "importance")
    folded = f"{words(column).capitalize()}: {counted(len(cells), 'slice')}"
    return Grid(
        f"Slices of {words(column)}", head, cells, frozenset({head[0], "through", "importance"}), folded
    )


def _through(one: Json) -> str:
    difference = finite(one.get("difference"))
    sign = "+" if (difference or 0) > 0 else ""
    return f"{one.get('feature')} {sign}{number(difference)}"


def _proxies(known: Sequence[Json], verdict: Json) -> Section:
    section = Section("proxies", "Proxies of sensitive columns", absent="no column is sensitive or excluded.")
    if not known:
        return section
    section.intro.append(
        "How well a column can be told from the features that the model uses, by a small model tried on rows "
        "that it was not fitted on: ROC AUC (0.5 is chance) or, of a number, R² (0 is chance). Weighted: the "
        "same, drawn towards chance the less the model rests on the features that give the column away."
    )
    title = "How well each column can be told, weighted by importance"
    drawn = [
        Dot(
            f"{words(one.get('column'))} ({MetricView(str(one.get('measure'))).title})",
            finite((one.get("weighted") or {}).get("estimate")),
            *limits(one.get("weighted")),
        )
        for one in known
    ]
    svg = dots(drawn, label=title, axis="weighted ROC AUC, or R²", within=[0.5, 1.0])
    section.figures.append(Figure(svg, title))
    section.tables.append(_proxy_grid(known, verdict))
    return section


def _proxy_grid(known: Sequence[Json], verdict: Json) -> Grid:
    gates = {str(gate.get("name")): gate for gate in verdict.get("gates") or []}
    cells: list[list[Cell]] = []
    for one in known:
        gate: Json = gates.get(f"proxy:{one.get('column')}") or {}
        state = Status(str(gate.get("status"))) if gate else Status("skipped", "no limit")
        values = [estimates([one.get(key) or {}])[0] for key in ("found", "weighted")]
        weight = number(round(finite(one.get("weight")) or 0.0, 2))
        shown: list[Cell] = [
            MetricView(str(one.get("measure"))).title,
            values[0],
            weight,
            values[1],
            dash(gate.get("limit")),
        ]
        cells.append([str(one.get("column")), state, *shown, _through_what(one)])
    head = ("column", "status", "measure", "told with", "weight", "weighted", "limit", "through")
    return Grid("Proxies", head, cells, frozenset({"column", "status", "measure", "through"}))


def _through_what(one: Json) -> str:
    direct = ", ".join(map(str, one.get("direct") or []))
    features: Sequence[Json] = (one.get("features") or [])[:_NAMED]
    said = [f"is a feature itself ({direct})"] if direct else []
    said += [f"{part.get('feature')} {percent(part.get('share'))}" for part in features]
    return "; ".join([*said, *([str(one["reason"])] if one.get("reason") else [])])
