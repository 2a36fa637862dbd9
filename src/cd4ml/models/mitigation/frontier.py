"""The frontier: what each treatment costs in accuracy and what it does to the largest gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cd4ml.domain.fairness.measure import Sample
from cd4ml.domain.metrics import METRICS
from cd4ml.domain.mitigation import PLAIN, RULE, Gap, Tried, blocking, choose_treatment, suggest, worst_gap
from cd4ml.domain.treatment import Groups, Treatment
from cd4ml.features.columns import CategoryArray
from cd4ml.models.data import FloatArray, IntArray
from cd4ml.models.evaluation import scores
from cd4ml.models.mitigation.attempts import Attempt, plain, recalibrated, thresholded
from cd4ml.models.mitigation.grouping import Judged, columns_of
from cd4ml.problem import Mitigation, Problem

__all__ = ["document", "entry", "gap_of", "measured", "simulate", "taken"]

Json = dict[str, Any]


def gap_of(problem: Problem, judged: Judged, predictions: FloatArray, decisions: FloatArray | None) -> Gap:
    """Return the largest gap between groups of the judged rows."""
    sample = Sample(judged.y, predictions, decisions, judged.weight)
    columns = {name: judged.columns[name] for name in columns_of(problem)}
    return worst_gap(sample, columns, blocking(problem), problem.bias)


def measured(
    problem: Problem,
    judged: Judged,
    predictions: FloatArray,
    decisions: FloatArray | None,
    treatment: Treatment | None,
) -> Json:
    """Return metrics with intervals, the gap, and what each of the treatment's groups has."""
    names = [problem.metrics.primary] + (["accuracy"] if problem.task == "classification" else [])
    found = scores(
        problem, list(dict.fromkeys(names)), judged.y, predictions, decisions, judged.weight, judged.cluster
    )
    return {
        "rows": len(judged.y),
        "metrics": {name: interval.to_dict() for name, interval in found.items()},
        "gap": gap_of(problem, judged, predictions, decisions).to_dict(),
        "groups": [] if treatment is None else _groups(judged, predictions, decisions, treatment),
    }


def _groups(
    judged: Judged, predictions: FloatArray, decisions: FloatArray | None, treatment: Treatment
) -> list[Json]:
    codes = treatment.groups.of(judged.columns)
    rows = []
    for number, name in enumerate(treatment.groups.names):
        inside = codes == number
        if not inside.any():
            continue
        row: Json = {"group": name, "n": int(inside.sum()), "actual": float(judged.y[inside].mean())}
        row["predicted"] = float(predictions[inside].mean())
        if decisions is not None:
            row["selected"] = float(decisions[inside].mean())
            row["right"] = float((decisions[inside] == judged.y[inside]).mean())
        if treatment.thresholds is not None:
            row["threshold"] = treatment.thresholds[number]
        rows.append(row)
    return rows


def entry(problem: Problem, attempt: Attempt, judged: Judged) -> Json:
    """Return a treatment's entry of mitigation.json, but for its holdout."""
    treatment = attempt.treatment
    return {
        "name": attempt.name,
        "kind": PLAIN if treatment is None else treatment.kind,
        "label": "no treatment" if treatment is None else treatment.label,
        "columns": [] if treatment is None else list(treatment.groups.columns),
        "row_fits": attempt.row_fits,
        "folds": measured(problem, judged, attempt.predictions, attempt.decisions, treatment),
    }


def taken(problem: Problem, entries: Sequence[Mapping[str, Any]]) -> Tried:
    """Return the treatment that is taken of entries of mitigation.json."""
    primary = problem.metrics.primary
    tried = [Tried.of(one, primary) for one in entries]
    return choose_treatment(tried, METRICS[primary].higher_is_better)


def document(problem: Problem, entries: Sequence[Mapping[str, Any]], on: str) -> Json:
    """Return mitigation.json; `on` says in words on which rows treatments were compared."""
    chosen = taken(problem, entries).name
    found: Json = {
        "chosen": chosen,
        "rule": RULE,
        "primary": problem.metrics.primary,
        "higher_is_better": METRICS[problem.metrics.primary].higher_is_better,
        "measures": [measure.name for measure in blocking(problem)],
        "columns": columns_of(problem),
        "simulated_on": on,
        "row_fits": sum(one["row_fits"] for one in entries),
        "treatments": [{**one, "chosen": one["name"] == chosen} for one in entries],
    }
    return found | {"suggestion": suggest(found)}


def simulate(
    problem: Problem,
    y: FloatArray,
    predictions: FloatArray,
    columns: Mapping[str, CategoryArray],
    *,
    weight: FloatArray | None = None,
    cluster: IntArray | None = None,
) -> Json | None:
    """Return the frontier of treatments that need no fit, simulated on judged rows, for `suggest`.

    What is found on four fifths of the rows is tried on the fifth.

    Parameters
    ----------
    y, predictions : arrays of shape (n,)
    columns : mapping of str to CategoryArray
        At least the sensitive columns; None is returned without any.
    """
    names = [name for name in columns_of(problem) if name in columns]
    if not names:
        return None
    every = np.arange(len(y), dtype=np.int64)
    judged = Judged(
        every,
        y,
        np.ones(len(y)) if weight is None else weight,
        every if cluster is None else cluster,
        columns,
    )
    least = Mitigation(kind="recalibration").min_rows
    groups = Groups.found({name: columns[name] for name in names}, every, least)
    attempts = [
        plain(problem, predictions),
        recalibrated(problem, "recalibration", groups, judged, predictions),
    ]
    if problem.task == "classification":

        def gap(one: Attempt) -> Gap:
            return gap_of(problem, judged, one.predictions, one.decisions)

        attempts.append(thresholded(problem, "group_thresholds", groups, judged, predictions, gap))
    return document(problem, [entry(problem, one, judged) for one in attempts], "simulated on the holdout")
