"""The slice explorer: a page on which a reader cuts the holdout at will, with an interval on each part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from cd4ml.domain.metrics import METRICS
from cd4ml.reports.explorer_data import MAX_BYTES, Judged, explorer_data
from cd4ml.reports.formats import count, number, words
from cd4ml.reports.metric_view import MetricView
from cd4ml.reports.page import render_script

__all__ = ["slice_explorer_page"]

Json = Mapping[str, Any]
_RATES = {
    "classification": {
        "selection_rate": "Share of the rows called positive",
        "false_positive_rate": "Share of the negatives called positive",
        "false_negative_rate": "Share of the positives called negative",
        "mean_actual": "Share of positives",
        "mean_predicted": "Mean probability",
    },
    "regression": {"mean_actual": "Mean of the actual values", "mean_predicted": "Mean of the predictions"},
}
_ERROR_RATES = {"false_positive_rate", "false_negative_rate"}
_NOT_HERE = {"pinball"}
"""Metrics of predictions that the page does not have."""


def slice_explorer_page(
    problem: Json,
    judged: Judged,
    *,
    first: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
) -> str:
    """Return the page as self-contained HTML; the same input gives the same text.

    Parameters
    ----------
    problem : mapping
        `Problem.model_dump(mode="json")`: name, task, metrics.
    judged : Judged
        The rows of the holdout.
    first : sequence of str
        Columns that come first and are always in the page; by default the first of `judged.columns`.
    max_bytes : int
        Most bytes of data; above it a random sample of the rows is shown, and the page says so.
    """
    task = str(problem["task"])
    wanted = [name for name in first if name in judged.columns] or list(judged.columns)[:1]
    ordered = {name: judged.columns[name] for name in [*wanted, *judged.columns]}
    rows = Judged(judged.actual, judged.predictions, ordered, judged.cluster, judged.weight, judged.decisions)
    binary = task == "classification"
    data = explorer_data(rows, binary=binary, essential=len(wanted), max_bytes=max_bytes, seed=seed)
    settings: Json = problem.get("metrics") or {}
    level = float(settings.get("level") or 0.95)
    data |= {
        "task": task,
        "level": level,
        "z": NormalDist().inv_cdf((1 + level) / 2),
        "metrics": _metrics(task, settings),
    }
    return render_script(
        "slice_explorer",
        scripts=("slice_metrics.js", "slice_explorer.js"),
        title=words(problem["name"]).capitalize(),
        lead=_lead(problem, data, str(settings.get("cluster") or "row")),
        notes=_notes(level, binary),
        data=json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False),
    )


def _metrics(task: str, settings: Json) -> list[dict[str, Any]]:
    """Return the metrics that may be chosen, the problem's own first."""
    named = [str(settings.get("primary") or ""), *map(str, settings.get("also") or [])]
    known = {name for name, spec in METRICS.items() if spec.task == task} - _NOT_HERE
    names = [name for name in dict.fromkeys([*named, *sorted(known)]) if name in known]
    found = [
        {
            "name": name,
            "title": MetricView(name).title,
            "best": METRICS[name].best,
            "description": f"{METRICS[name].description.rstrip('.')}; {MetricView(name).direction}.",
        }
        for name in names
    ]
    return found + [
        {
            "name": name,
            "title": words(name),
            "best": 0.0 if name in _ERROR_RATES else None,
            "description": f"{said}.",
        }
        for name, said in _RATES[task].items()
    ]


def _lead(problem: Json, data: Json, cluster: str) -> list[str]:
    said = f"{count(data['rows'])} rows of the holdout in {count(data['clusters'])} clusters (by {cluster})."
    if data["rows"] < data["of"]:
        said = (
            f"A random sample of {count(data['rows'])} of the {count(data['of'])} rows of the holdout, in "
            f"{count(data['clusters'])} clusters (by {cluster}): estimates and intervals are those of the "
            "sample."
        )
    return [*([str(problem["description"])] if problem.get("description") else []), said]


def _notes(level: float, binary: bool) -> list[str]:
    said = [
        f"Intervals are {number(100 * level)} % jackknife intervals over clusters (for ROC AUC DeLong's with "
        "clusters). They are each slice's own: among 20 slices without a difference about one looks worse "
        "by chance. The bias checks of the report correct for that.",
        "“few” marks slices with fewer than 30 rows or without an interval; “worse” those whose interval "
        "leaves out the value of all rows on the bad side.",
    ]
    return [*said, "A row is called positive as the model decides it."] if binary else said
