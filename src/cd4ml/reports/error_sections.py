"""How far off the model is: against others, over time, by slice, and where its probabilities go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cd4ml.domain.metrics import METRICS
from cd4ml.reports.figures import Dot, Series, curve, dots, histogram, lines
from cd4ml.reports.formats import band, count, dash, finite, limits, number, percent, words
from cd4ml.reports.page import Figure, Grid, Section, Status, chips

__all__ = [
    "MetricView",
    "best_baseline",
    "bias",
    "candidates",
    "importances",
    "over_time",
    "quality",
    "slices",
    "stock",
]

Json = Mapping[str, Any]
SLICES_SHOWN = 15
SMALL_ROWS = 30
"""Fewer rows than this are marked as too small to judge by."""


_INITIALS = {"auc", "mae", "nwrmsle", "pr", "r2", "rmse", "rmsle", "roc", "wape"}


class MetricView:
    """A metric's name as it is written, and which of two values is worse."""

    def __init__(self, name: str) -> None:
        known = METRICS.get(name)
        self.name = name
        self.title = " ".join(part.upper() if part in _INITIALS else part for part in words(name).split())
        self.best = known.best if known else 0.0
        self.direction = "higher is better" if known and known.higher_is_better else "lower is better"
        self.description = known.description if known else words(name)

    def distance(self, value: object) -> float:
        """Return how far from ideal; infinite for what was not measured."""
        known = finite(value)
        return float("inf") if known is None else abs(self.best - known)

    @property
    def axis(self) -> str:
        """The axis title."""
        return f"{self.title} ({self.direction})"


def _estimate(value: object) -> float | None:
    return finite(value.get("estimate") if isinstance(value, Mapping) else value)


def _cell(value: object) -> str:
    """Write an interval as "estimate [low to high]"."""
    inner = band(value)
    return number(_estimate(value)) + (f" [{inner}]" if inner else "")


def _dot(label: str, value: object, mark: int = 0, note: str = "") -> Dot:
    low, high = limits(value)
    return Dot(label, _estimate(value), low, high, mark, note)


def best_baseline(metrics: Json, metric: MetricView) -> tuple[str, Any] | None:
    """Return the name and interval of the baseline that is nearest to ideal."""
    scored = [(name, values.get(metric.name)) for name, values in (metrics.get("baselines") or {}).items()]
    measured = [(name, value) for name, value in scored if _estimate(value) is not None]
    return min(measured, key=lambda one: metric.distance(_estimate(one[1])), default=None)


def candidates(metrics: Json, search: Json, metric: MetricView) -> Section:
    """Return baselines and candidates on the holdout, and the trials of the search."""
    section = Section("candidates", "Candidates compared", absent="no candidate was scored.")
    winner = str((search.get("winner") or {}).get("name", ""))
    # The candidates of metrics.json may repeat the baselines: each is drawn once.
    baselines = metrics.get("baselines") or {}
    fitted = {n: v for n, v in (metrics.get("candidates") or {}).items() if n not in baselines}
    named = [(name, "candidate", values) for name, values in fitted.items()]
    named += [(name, "baseline", values) for name, values in baselines.items()]
    if named:
        ordered = sorted(named, key=lambda one: metric.distance(_estimate(one[2].get(metric.name))))
        rows = [_dot(words(n), v.get(metric.name), int(kind == "baseline"), kind) for n, kind, v in ordered]
        svg = dots(rows, label=f"{metric.title} of candidates and baselines on the holdout", axis=metric.axis)
        caption = f"Holdout, best first. Round: candidates; square: baselines. {metric.description}."
        section.figures.append(Figure(svg, caption))
        keys = list(dict.fromkeys([metric.name, *(key for _, _, values in ordered for key in values)]))
        cells = [
            [words(name) + (" (chosen)" if name == winner else ""), kind, *(_cell(v.get(k)) for k in keys)]
            for name, kind, v in ordered
        ]
        head = ("name", "kind", *(MetricView(key).title for key in keys))
        section.side = len(keys) == 1
        section.tables.append(Grid("Scores on the holdout", head, cells, frozenset({"name", "kind"})))
    section.tables += _trials(search)
    if finite(search.get("spent_row_fits")) is not None:
        section.intro.append(
            f"The search spent {count(search['spent_row_fits'])} of {count(search.get('budget_row_fits'))} "
            f"row fits, with seed {search.get('seed', 'unknown')}."
        )
    return section


def _trials(search: Json) -> list[Grid]:
    rows = []
    for result in search.get("results") or []:
        for trial in result.get("trials") or []:
            parameters = ", ".join(
                f"{k}={number(v)}" for k, v in sorted((trial.get("parameters") or {}).items())
            )
            size = [count(trial.get(key)) for key in ("rung", "rows", "folds")]
            scores = "  ".join(number(score) for score in trial.get("scores") or [])
            rows.append(
                [str(result.get("name")), *size, number(trial.get("mean")), scores, parameters or "default"]
            )
    head = ("candidate", "rung", "rows", "folds", "mean", "scores by fold", "parameters")
    plain = frozenset({"candidate", "scores by fold", "parameters"})
    return [Grid("Trials", head, rows, plain, f"All {len(rows)} trials of the search")] if rows else []


def over_time(evaluation: Json, metric: MetricView, target: str) -> Section:
    """Return actual against predicted, and the metric, along the holdout."""
    section = Section("over-time", "Errors over time", absent="the holdout was not cut by time.")
    buckets: Sequence[Json] = evaluation.get("over_time") or []
    if not buckets:
        return section
    at = [str(bucket.get("time")) for bucket in buckets]
    series = [
        Series("actual", [b.get("actual") for b in buckets]),
        Series("model", [b.get("predicted") for b in buckets]),
    ]
    names = sorted({name for bucket in buckets for name in bucket.get("baselines") or {}})
    series += [Series(words(n), [(b.get("baselines") or {}).get(n) for b in buckets]) for n in names]
    label = f"Sum of {target} over time: actual, model and baselines"
    svg = lines(at, series, label=label, unit=f"sum of {words(target)}", zero=True)
    section.figures.append(Figure(svg, f"{label}. Holdout only."))
    values = [bucket.get(metric.name) for bucket in buckets]
    low, high = zip(*(limits(value) for value in values), strict=True)
    one = Series("model", [_estimate(value) for value in values], low, high)
    svg = lines(at, [one], label=f"{metric.title} over time", unit=metric.axis)
    section.figures.append(Figure(svg, f"{metric.title} of the model over time with its interval."))
    return section


def _is_small(item: Json, value: object) -> bool:
    n = finite(item.get("n"))
    return limits(value) == (None, None) or (n is not None and n < SMALL_ROWS)


def slices(evaluation: Json, metrics: Json, metric: MetricView) -> Section:
    """Return the primary metric by slice, the worst first."""
    section = Section("slices", "Errors by slice", absent="the problem names no slices.")
    whole = _estimate((metrics.get("holdout") or {}).get(metric.name))
    for column, items in (evaluation.get("slices") or {}).items():
        ordered = sorted(items, key=lambda item: -_known_distance(metric, item))
        marks = [2 if _is_small(item, item.get(metric.name)) else 0 for item in ordered]
        rows = [
            _dot(str(item.get("slice")), item.get(metric.name), mark, f"{count(item.get('n'))} rows")
            for item, mark in zip(ordered, marks, strict=True)
        ]
        label = f"{metric.title} by {words(column)}"
        reference = None if whole is None else (whole, "whole holdout")
        svg = dots(rows[:SLICES_SHOWN], label=label, axis=metric.axis, reference=reference)
        rest = f" The worst {SLICES_SHOWN} of {len(rows)}." if len(rows) > SLICES_SHOWN else " Worst first."
        small = " Grey: too small to judge by." if 2 in marks else ""
        section.figures.append(Figure(svg, f"{label}.{rest}{small}"))
        cells = [_slice_cells(item, metric, mark) for item, mark in zip(ordered, marks, strict=True)]
        head = (column, "rows", "clusters", metric.title, "note")
        section.tables.append(Grid(label, head, cells, frozenset({column, "note"}), f"Table: {label}"))
    return section


def _slice_cells(item: Json, metric: MetricView, mark: int) -> list[str]:
    sizes = [count(item.get("n")), count(item.get("clusters"))]
    return [str(item.get("slice")), *sizes, _cell(item.get(metric.name)), "too small" if mark else ""]


def _known_distance(metric: MetricView, item: Json) -> float:
    """Slices without a value come last."""
    distance = metric.distance(_estimate(item.get(metric.name)))
    return -1.0 if distance == float("inf") else distance


def bias(rows: Sequence[Json]) -> Section:
    """Return how the model differs between the slices of sensitive and other columns."""
    section = Section("bias", "Bias", absent="the problem names no columns to compare.")
    if not rows:
        return section
    section.intro.append(
        "Compared with the rest: " + ", ".join(chips([str(r.get("status")) for r in rows])) + "."
    )
    cells: list[list[str | Status]] = []
    for row in rows:
        names = [str(row.get("slice")), str(row.get("column")), words(row.get("metric"))]
        sizes = [count(row.get("n")), count(row.get("clusters"))]
        values = [dash(row.get(key)) for key in ("estimate", "reference", "ratio")]
        limit = [band(row) or "–", dash(row.get("adjusted_p")), dash(row.get("margin"))]
        cells.append([*names, Status(str(row.get("status"))), *sizes, *values, *limit])
    names_of = ("slice", "column", "metric", "status")
    head = (
        *names_of,
        "rows",
        "clusters",
        "estimate",
        "reference",
        "ratio",
        "interval",
        "adjusted p",
        "margin",
    )
    plain = frozenset(names_of)
    section.tables.append(Grid("Slices against their reference", head, cells, plain))
    return section


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
        section.figures.append(Figure(svg, "Each mark is a tenth of the holdout, ordered by the prediction."))
    residuals = evaluation.get("residuals") or {}
    if residuals.get("counts"):
        svg = histogram(
            residuals.get("edges") or [], residuals["counts"], label="Histogram of residuals", zero=True,
            unit="predicted − actual",
        )  # fmt: skip
        section.figures.append(
            Figure(svg, "Residuals of the holdout; the outermost 0.5 % on each side are left out.")
        )
    clipped = finite(evaluation.get("clipped_negative"))
    if clipped:
        section.intro.append(f"{count(clipped)} negative predictions were raised to 0.")
    return section


def _probabilities(evaluation: Json) -> Section:
    section = Section("quality", "Calibration and ranking", absent="there is no calibration and no curve.")
    bins: Sequence[Json] = evaluation.get("calibration") or []
    if bins:
        points = [(one.get("predicted"), one.get("actual")) for one in bins]
        marks = [f"predicted {number(p)}, actual {number(a)}" for p, a in points]
        titles = ("mean predicted probability", "share of positives")
        svg = curve(
            points, label="Calibration", titles=titles, marks=marks, whiskers=bins, diagonal="calibrated"
        )
        section.figures.append(
            Figure(svg, "Calibration: each mark is a bin of the holdout, with its interval.")
        )
    pictures = (
        ("roc", "ROC curve", ("false positive rate", "true positive rate"), "chance"),
        ("pr", "Precision and recall", ("recall", "precision"), ""),
    )
    for key, label, titles, diagonal in pictures:
        points = [(point[0], point[1]) for point in evaluation.get(key) or []]
        if points:
            svg = curve(points, label=label, titles=titles, diagonal=diagonal)
            section.figures.append(Figure(svg, f"{label} on the holdout."))
    section.tables += _confusion(evaluation.get("confusion") or {})
    return section


def _confusion(cells: Json) -> list[Grid]:
    known = {key: finite(cells.get(key)) for key in ("tn", "fp", "fn", "tp")}
    if None in known.values():
        return []
    tn, fp, fn, tp = (int(value or 0) for value in known.values())
    rows = [
        ["actually positive", count(tp), count(fn), percent(tp / (tp + fn) if tp + fn else None)],
        ["actually negative", count(fp), count(tn), percent(tn / (tn + fp) if tn + fp else None)],
    ]
    head = ("", "called positive", "called negative", "called right")
    return [Grid("Confusion on the holdout, rows", head, rows, frozenset({""}))]


def importances(evaluation: Json, metric: MetricView) -> Section:
    """Return how much worse the model gets when a feature is shuffled."""
    section = Section("importances", "Importance of features", absent="no feature was permuted.")
    found = sorted(evaluation.get("importances") or [], key=lambda one: -(finite(one.get("increase")) or 0))
    if not found:
        return section
    rows = [Dot(str(one.get("feature")), finite(one.get("increase")), *limits(one)) for one in found]
    label = f"Loss of {metric.title} when a feature is shuffled"
    svg = dots(
        rows[:SLICES_SHOWN],
        label=label,
        axis=f"increase of the loss ({metric.title})",
        reference=(0.0, "no use"),
    )
    shown = f" The first {SLICES_SHOWN} of {len(rows)}." if len(rows) > SLICES_SHOWN else ""
    section.figures.append(Figure(svg, f"{label}, on the holdout through the exported model.{shown}"))
    cells = [[row.label, number(row.estimate), band((row.low, row.high)) or "–"] for row in rows]
    head = ("feature", "increase", "interval")
    section.tables.append(Grid(label, head, cells, frozenset({"feature"}), f"All {len(rows)} features"))
    return section


def stock(evaluation: Json) -> Section | None:
    """Return what the quantile model costs beside simpler orders; None for problems without stock."""
    found: Json | None = evaluation.get("stock")
    if not found:
        return None
    section = Section("stock", "Stock decisions", side=True)
    quantile = finite(found.get("quantile"))
    section.intro.append(
        f"Orders are set at the {percent(quantile)} quantile of demand, where the costs of too few "
        "and of too many balance."
    )
    costs: Json = found.get("cost_per_row") or {}
    if costs:
        names = {"quantile": "the quantile", "model": "the forecast"}
        rows = [_dot(names.get(n, words(n)), value, int(n not in names)) for n, value in costs.items()]
        svg = dots(rows, label="Cost per row by way of ordering", axis="cost per row (lower is better)")
        section.figures.append(
            Figure(svg, "Mean cost of a row on the holdout when this is ordered. Square: baselines.")
        )
    cells = _named_cells("pinball loss", found.get("pinball"))
    cells += _named_cells("share of rows covered", found.get("coverage"))
    section.tables.append(Grid("Quantile model", ("measure", "value"), cells, frozenset({"measure"})))
    return section


def _named_cells(said: str, value: object) -> list[list[str]]:
    """Return a row for an interval, or one for each interval of a mapping by name."""
    if isinstance(value, Mapping) and "estimate" not in value:
        return [[f"{said}: {words(name)}", _cell(item)] for name, item in value.items()]
    return [[said, _cell(value)]]
