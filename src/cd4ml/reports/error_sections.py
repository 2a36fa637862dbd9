"""How far off the model is: over time, by slice, and where its values or probabilities go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cd4ml.reports.figures import Dot, Series, curve, dots, histogram, lines
from cd4ml.reports.formats import count, finite, limits, moment, number, percent, stretch, words
from cd4ml.reports.metric_view import MetricView, best_baseline, estimate_of, estimates, interval_dot
from cd4ml.reports.page import Cell, Figure, Grid, Section

__all__ = ["importances", "over_time", "quality", "slices", "stock"]

Json = Mapping[str, Any]
SHOWN = 15
SMALL_ROWS = 30
"""Fewer rows than this are marked as too small to judge by."""


def over_time(evaluation: Json, metrics: Json, metric: MetricView, target: str) -> Section:
    """Return actual against predicted, and the metric, along the holdout."""
    section = Section("over-time", "Errors over time", absent="the holdout was not cut by time.")
    buckets: list[Json] = [one for one in evaluation.get("over_time") or [] if moment(one.get("time"))]
    if not buckets:
        return section
    at = [str(bucket.get("time")) for bucket in buckets]
    width = _bucket(at)
    best = best_baseline(metrics, metric)
    series = [
        Series("actual", [b.get("actual") for b in buckets]),
        Series("model", [b.get("predicted") for b in buckets]),
    ]
    if best is not None:
        sums = [(b.get("baselines") or {}).get(best[0]) for b in buckets]
        series.append(Series("baseline", sums))
    label = f"Actual, model and the best baseline, {words(best[0])}" if best else "Actual and model"
    svg = lines(at, series, label=label, unit=f"{words(target)} in a {width}", zero=True)
    note = f"Sum of {words(target)} over the holdout rows of a {width}."
    section.figures += [Figure(svg, label, note), _metric_over_time(buckets, at, metrics, metric, width)]
    return section


def _bucket(at: Sequence[str]) -> str:
    """Return how long one step of the chart is."""
    times = [time.timestamp() for time in map(moment, at) if time is not None]
    steps = [later - earlier for earlier, later in pairwise(times)]
    return stretch(min(steps)) if steps else "bucket"


def _metric_over_time(
    buckets: Sequence[Json], at: Sequence[str], metrics: Json, metric: MetricView, width: str
) -> Figure:
    values = [bucket.get(metric.name) for bucket in buckets]
    low, high = zip(*(limits(value) for value in values), strict=True)
    one = Series("model", [estimate_of(value) for value in values], low, high)
    whole = estimate_of((metrics.get("holdout") or {}).get(metric.name))
    reference = None if whole is None else (whole, "whole holdout")
    svg = lines(at, [one], label=f"{metric.title} over time", unit=metric.axis, reference=reference)
    note = f"One value a {width}."
    if any(end is not None for end in low):
        note += " The band is its interval."
    return Figure(svg, f"{metric.title} of the model over time", note)


def _is_small(item: Json, value: object) -> bool:
    n = finite(item.get("n"))
    return limits(value) == (None, None) or (n is not None and n < SMALL_ROWS)


def slices(evaluation: Json, metrics: Json, metric: MetricView) -> Section:
    """Return the primary metric by slice, the worst first."""
    section = Section("slices", "Errors by slice", absent="the problem names no slices.")
    whole = estimate_of((metrics.get("holdout") or {}).get(metric.name))
    for column, items in (evaluation.get("slices") or {}).items():
        section.figures.append(_slice_figure(str(column), items, metric, whole))
    return section


def _slice_figure(column: str, items: Sequence[Json], metric: MetricView, whole: float | None) -> Figure:
    ordered = sorted(items, key=lambda item: -_known_distance(metric, item))
    marks = [2 if _is_small(item, item.get(metric.name)) else 0 for item in ordered]
    rows = [_slice_dot(item, metric, mark) for item, mark in zip(ordered, marks, strict=True)]
    title = f"{metric.title} by {words(column)}"
    reference = None if whole is None else (whole, "whole holdout")
    svg = dots(rows[:SHOWN], label=title, axis=metric.axis, reference=reference)
    note = f"The worst {SHOWN} of {len(rows)}." if len(rows) > SHOWN else "Worst first."
    note += " Grey: too few rows or clusters to judge by." if 2 in marks[:SHOWN] else ""
    return Figure(svg, title, note, _slice_table(column, title, ordered, marks, metric))


def _slice_dot(item: Json, metric: MetricView, mark: int) -> Dot:
    """Return the row of a slice; one that is too small to judge by does not stretch the axis."""
    value = item.get(metric.name)
    low, high = limits(value)
    note, tag = f"{count(item.get('n'))} rows", "few" if mark else ""
    return Dot(str(item.get("slice")), estimate_of(value), low, high, mark, note, tag, far=bool(mark))


def _slice_table(
    column: str, title: str, items: Sequence[Json], marks: Sequence[int], metric: MetricView
) -> Grid:
    said = estimates([item.get(metric.name) for item in items])
    rows: list[list[Cell]] = [
        [str(item.get("slice")), count(item.get("n")), count(item.get("clusters")), one]
        for item, one in zip(items, said, strict=True)
    ]
    head: tuple[str, ...] = (words(column), "rows", "clusters", metric.title)
    if any(marks):
        head = (*head, "note")
        rows = [[*row, "too small" if mark else "–"] for row, mark in zip(rows, marks, strict=True)]
    return Grid(title, head, rows, frozenset({head[0], "note"}), "Table with rows and clusters")


def _known_distance(metric: MetricView, item: Json) -> float:
    """Slices without a value come last."""
    distance = metric.distance(estimate_of(item.get(metric.name)))
    return -1.0 if distance == float("inf") else distance


def quality(evaluation: Json, target: str) -> Section:
    """Return calibration and ranking (classification), or deciles and residuals (regression)."""
    if evaluation.get("task") == "classification":
        return _probabilities(evaluation)
    section = Section("quality", "Predicted against actual", absent="there are no deciles and no residuals.")
    tenths: Sequence[Json] = evaluation.get("deciles") or []
    if tenths:
        points = [(one.get("predicted"), one.get("actual")) for one in tenths]
        marks = [f"predicted {number(p)}, actual {number(a)}" for p, a in points]
        titles = (f"mean predicted {words(target)}", f"mean actual {words(target)}")
        svg = curve(
            points, label="Mean actual by decile of the prediction", titles=titles, marks=marks,
            diagonal="predicted = actual", unit_square=False,
        )  # fmt: skip
        note = "Each mark is a tenth of the holdout, ordered by the prediction."
        section.figures.append(Figure(svg, "Actual by decile of the prediction", note))
    residuals = evaluation.get("residuals") or {}
    if residuals.get("counts"):
        svg = histogram(
            residuals.get("edges") or [], residuals["counts"], label="Histogram of residuals", zero=True,
            unit=f"{words(target)}: predicted − actual",
        )  # fmt: skip
        note = "Right of 0 the model says too much. The outermost 0.5 % on each side are left out."
        section.figures.append(Figure(svg, "Residuals of the holdout", note))
    clipped = finite(evaluation.get("clipped_negative"))
    if clipped:
        section.intro.append(f"{count(clipped)} negative predictions were raised to 0.")
    return section


def _probabilities(evaluation: Json) -> Section:
    section = Section(
        "quality", "Calibration and ranking", side=True, absent="there is no calibration and no curve."
    )
    bins: Sequence[Json] = evaluation.get("calibration") or []
    if bins:
        points = [(one.get("predicted"), one.get("actual")) for one in bins]
        marks = [f"predicted {number(p)}, actual {number(a)}" for p, a in points]
        titles = ("mean predicted probability", "share of positives")
        svg = curve(
            points, label="Calibration", titles=titles, marks=marks, whiskers=bins, diagonal="calibrated"
        )
        note = "Each mark is a bin of the holdout, with its interval."
        section.figures.append(Figure(svg, "Calibration", note))
    pictures = (
        ("roc", "ROC curve", ("false positive rate", "true positive rate"), "chance"),
        ("pr", "Precision and recall", ("recall", "precision"), ""),
    )
    for key, label, titles, diagonal in pictures:
        points = [(point[0], point[1]) for point in evaluation.get(key) or []]
        if points:
            svg = curve(points, label=label, titles=titles, diagonal=diagonal)
            section.figures.append(Figure(svg, label, "All thresholds on the holdout."))
    section.tables += _confusion(evaluation.get("confusion") or {})
    return section


def _confusion(cells: Json) -> list[Grid]:
    known = {key: finite(cells.get(key)) for key in ("tn", "fp", "fn", "tp")}
    if None in known.values():
        return []
    tn, fp, fn, tp = (int(value or 0) for value in known.values())
    rows = [
        ["positive", count(tp), count(fn), percent(tp / (tp + fn) if tp + fn else None)],
        ["negative", count(fp), count(tn), percent(tn / (tn + fp) if tn + fp else None)],
    ]
    head = ("rows that are", "called positive", "called negative", "called right")
    return [
        Grid("Confusion on the holdout at probability 0.5, in rows", head, rows, frozenset({"rows that are"}))
    ]


def importances(evaluation: Json, metric: MetricView) -> Section:
    """Return how much worse the model gets when a feature is shuffled."""
    section = Section("importances", "Importance of features", absent="no feature was permuted.")
    found = sorted(evaluation.get("importances") or [], key=lambda one: -(finite(one.get("increase")) or 0))
    if not found:
        return section
    rows = [_importance(one) for one in found]
    title = f"Growth of the error ({metric.title}) when a feature is shuffled"
    svg = dots(rows[:SHOWN], label=title, axis="growth of the error, %", reference=(0.0, "no use"))
    note = "On the holdout, through the exported model. 100 % is twice the distance from perfect."
    note += f" The first {SHOWN} of {len(rows)}." if len(rows) > SHOWN else ""
    said = estimates([{"estimate": row.estimate, "low": row.low, "high": row.high} for row in rows])
    cells: list[list[Cell]] = [[row.label, one] for row, one in zip(rows, said, strict=True)]
    head = ("feature", "growth of the error, %")
    table = Grid(title, head, cells, frozenset({"feature"}), f"All {len(rows)} features")
    section.figures.append(Figure(svg, title, note, table))
    return section


def _importance(one: Json) -> Dot:
    low, high = map(_hundred, limits(one))
    return Dot(str(one.get("feature")), _hundred(one.get("increase")), low, high)


def _hundred(value: object) -> float | None:
    known = finite(value)
    return None if known is None else 100 * known


def stock(evaluation: Json) -> Section | None:
    """Return what the quantile model costs beside simpler orders; None for problems without stock."""
    found: Json | None = evaluation.get("stock")
    if not found:
        return None
    section = Section("stock", "Stock decisions", side=True)
    section.intro.append(
        f"Orders are set at the {percent(found.get('quantile'))} quantile of demand, where the costs of too "
        "few and of too many balance."
    )
    costs: Json = found.get("cost_per_row") or {}
    if costs:
        names = {"quantile": "the quantile", "model": "the forecast"}
        ordered = sorted(
            costs.items(), key=lambda one: (estimate_of(one[1]) is None, estimate_of(one[1]) or 0.0)
        )
        rows = [interval_dot(names.get(n, words(n)), value, int(n not in names)) for n, value in ordered]
        svg = dots(
            rows, label="Cost per row by way of ordering", axis="cost per row (lower is better)", within=[0.0]
        )
        note = "Mean cost of a holdout row when this amount is ordered. Round: the model; square: baselines."
        section.figures.append(Figure(svg, "Cost of ordering", note))
    section.tables.append(_quantile_table(found))
    return section


def _quantile_table(found: Json) -> Grid:
    covered: Json = found.get("coverage") or {}
    cells: list[list[Cell]] = [
        ["demand covered, aimed at", percent(covered.get("aimed"))],
        ["demand covered, found", percent(covered.get("found"))],
        ["pinball loss", estimates([found.get("pinball")])[0]],
    ]
    return Grid("Quantile model on the holdout", ("measure", "value"), cells, frozenset({"measure"}))
