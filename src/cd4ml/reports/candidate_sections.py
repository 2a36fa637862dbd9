"""The model beside the other candidates and the baselines, and how the search found it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cd4ml.reports.figures import Dot, dots
from cd4ml.reports.formats import alike, count, finite, number, words
from cd4ml.reports.metric_view import MetricView, estimate_of, estimates, interval_dot
from cd4ml.reports.page import Cell, Figure, Grid, Section

__all__ = ["candidates"]

Json = Mapping[str, Any]
FAR_SPANS = 1.5
"""A baseline further off than this many spans of the others does not stretch the axis."""
Scored = tuple[str, str, Json]
"""Name, "candidate" or "baseline", and intervals by metric."""


def candidates(metrics: Json, search: Json, metric: MetricView, second: str = "") -> Section:
    """Return baselines and candidates on the holdout, and the trials of the search.

    Parameters
    ----------
    second : str
        Another metric that is drawn beside the primary one, where it was measured.
    """
    section = Section("candidates", "Candidates compared", absent="no candidate was scored.")
    winner = str((search.get("winner") or {}).get("name", ""))
    named = _named(metrics, metric)
    if named:
        section.figures.append(_picture(named, metric))
        keys = list(dict.fromkeys([metric.name, *(key for _, _, values in named for key in values)]))
        if second in keys and second != metric.name:
            section.figures.append(_picture(named, MetricView(second)))
        section.tables.append(_scores(named, keys, winner))
    section.tables += _trials(search)
    section.intro += _spent(search)
    if winner and named:
        section.intro.append(
            f"{words(winner).capitalize()} was chosen on the folds; the holdout did not choose."
        )
    return section


def _named(metrics: Json, metric: MetricView) -> list[Scored]:
    """Return candidates and baselines, the best first; those among both are baselines."""
    baselines = metrics.get("baselines") or {}
    fitted = {n: v for n, v in (metrics.get("candidates") or {}).items() if n not in baselines}
    named = [(name, "candidate", values) for name, values in fitted.items()]
    named += [(name, "baseline", values) for name, values in baselines.items()]
    return sorted(named, key=lambda one: metric.distance(estimate_of(one[2].get(metric.name))))


def _picture(named: list[Scored], metric: MetricView) -> Figure:
    rows = [interval_dot(words(n), v.get(metric.name), int(k == "baseline"), k) for n, k, v in named]
    label = f"{metric.title} of candidates and baselines on the holdout"
    note = f"{metric.description}. Round: candidates; square: baselines."
    drawn = _focused(rows, metric)
    note += " An arrow points to a baseline that is far off." if any(row.far for row in drawn) else ""
    return Figure(dots(drawn, label=label, axis=metric.axis), f"{metric.title} on the holdout", note)


def _focused(rows: list[Dot], metric: MetricView) -> list[Dot]:
    """Let the axis span candidates and the best baseline, so that a hopeless one does not squeeze them."""
    best = min((row for row in rows if row.mark), key=lambda row: metric.distance(row.estimate), default=None)
    near = [row for row in rows if not row.mark or row is best]
    ends = [end for row in near for end in (row.estimate, row.low, row.high) if end is not None]
    if not ends:
        return rows
    low, high = min(ends), max(ends)
    reach = FAR_SPANS * (high - low)
    return [
        replace(row, far=row not in near and not low - reach <= (row.estimate or 0.0) <= high + reach)
        for row in rows
    ]


def _scores(named: list[Scored], keys: list[str], winner: str) -> Grid:
    """Return one row a metric and one column a model: there are more metrics than models."""
    head = ("metric", *(words(name) + (" (chosen)" if name == winner else "") for name, _, _ in named))
    rows: list[list[Cell]] = [["kind", *(kind for _, kind, _ in named)]]
    rows += [[MetricView(key).title, *estimates([values.get(key) for _, _, values in named])] for key in keys]
    return Grid("Scores on the holdout, with intervals", head, rows, frozenset({"metric"}))


def _spent(search: Json) -> list[str]:
    if finite(search.get("spent_row_fits")) is None:
        return []
    said = (
        f"The search spent {count(search['spent_row_fits'])} of {count(search.get('budget_row_fits'))} "
        f"row fits, with seed {search.get('seed', 'unknown')}."
    )
    again = [one for one in map(_repeat, search.get("repeats") or []) if one is not None]
    if len(again) > 1:
        said += f" Fitted with {len(again)} seeds, it scores {', '.join(alike(again))} on the holdout."
    return [said]


def _repeat(one: object) -> float | None:
    """Return the score of a fit with another seed, written bare or with its seed."""
    if isinstance(one, Mapping):
        return next((known for key in ("score", "mean") if (known := finite(one.get(key))) is not None), None)
    return finite(one)


def _trials(search: Json) -> list[Grid]:
    rows: list[list[Cell]] = []
    for result in search.get("results") or []:
        for trial in result.get("trials") or []:
            parameters = ", ".join(
                f"{k}={number(v)}" for k, v in sorted((trial.get("parameters") or {}).items())
            )
            size = [count(trial.get(key)) for key in ("rung", "rows", "folds")]
            scores = "  ".join(alike(trial.get("scores") or []))
            rows.append(
                [str(result.get("name")), *size, number(trial.get("mean")), scores, parameters or "default"]
            )
    head = ("candidate", "rung", "rows", "folds", "mean", "scores by fold", "parameters")
    plain = frozenset({"candidate", "scores by fold", "parameters"})
    said = f"All {len(rows)} trials of the search" if len(rows) > 1 else "The one trial of the search"
    return [Grid("Trials on the folds", head, rows, plain, said)] if rows else []
