"""Judge predictions on the holdout: what the report draws and the gates ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.metrics import (
    Interval,
    calibration_curve,
    clip_count,
    confusion,
    improvement,
    pr_curve,
    roc_curve,
    score,
    score_by,
)

if TYPE_CHECKING:
    from cd4ml.features.columns import CategoryArray
    from cd4ml.problem import Problem

__all__ = ["Holdout", "compare", "evaluate", "metric_table", "metrics_of"]

FloatArray = npt.NDArray[np.float64]
_TIME_BUCKETS = 60
_RESIDUAL_BINS = 40


@dataclass(frozen=True)
class Holdout:
    """The rows that are judged on; arrays have shape (n,)."""

    y: FloatArray
    """Actual values, or 0 and 1."""
    weight: FloatArray
    cluster: npt.NDArray[np.int64]
    times: npt.NDArray[np.datetime64] | None
    baselines: Mapping[str, FloatArray]
    """Predictions of each baseline."""
    slices: Mapping[str, CategoryArray]


def metrics_of(problem: Problem) -> list[str]:
    """Return the primary metric and the others, without repetition."""
    return list(dict.fromkeys([problem.metrics.primary, *problem.metrics.also]))


def _design(problem: Problem, holdout: Holdout) -> dict[str, Any]:
    metrics = problem.metrics
    common = {"resamples": metrics.resamples, "level": metrics.level, "seed": problem.search.seed}
    return common | {"weight": holdout.weight, "cluster": holdout.cluster}


def metric_table(
    problem: Problem, holdout: Holdout, model: FloatArray, candidates: Mapping[str, FloatArray]
) -> dict[str, Any]:
    """Return the content of metrics.json: the model, each baseline and each candidate on the holdout."""
    names, design = metrics_of(problem), _design(problem, holdout)

    def scores(prediction: FloatArray) -> dict[str, dict[str, float | None]]:
        found = score(names, holdout.y, prediction, **design)
        return {name: interval.to_dict() for name, interval in found.items()}

    baselines = {name: scores(prediction) for name, prediction in sorted(holdout.baselines.items())}
    fitted = {name: scores(prediction) for name, prediction in sorted(candidates.items())}
    return {"holdout": scores(model), "baselines": baselines, "candidates": {**baselines, **fitted}}


def compare(problem: Problem, holdout: Holdout, model: FloatArray) -> dict[str, Interval]:
    """Return the improvement of the model over each baseline on the same rows; 0 means equal."""
    design = _design(problem, holdout)
    return {
        name: improvement(problem.metrics.primary, holdout.y, model, reference, **design)
        for name, reference in sorted(holdout.baselines.items())
    }


def evaluate(
    problem: Problem, holdout: Holdout, model: FloatArray, quantile: FloatArray | None = None
) -> dict[str, Any]:
    """Return the content of evaluation.json but for the importances.

    Parameters
    ----------
    model : array of shape (n,)
        Predictions on the original scale, or probabilities of the positive class.
    quantile : array of shape (n,), optional
        Predictions of the quantile that the problem's stock costs ask for.
    """
    page: dict[str, Any] = {"task": problem.task, "primary": problem.metrics.primary}
    page["holdout"] = _extent(holdout)
    page["over_time"] = _over_time(problem, holdout, model)
    page["slices"] = _slices(problem, holdout, model)
    page["clipped_negative"] = clip_count(model, metrics_of(problem))
    if problem.task == "regression":
        page |= {"residuals": _residuals(holdout.y, model), "deciles": _deciles(holdout.y, model)}
        page["stock"] = None if quantile is None else _stock(problem, holdout, model, quantile)
    else:
        page |= {"calibration": _calibration(holdout.y, model), "confusion": confusion(holdout.y, model)}
        page |= {"roc": roc_curve(holdout.y, model), "pr": pr_curve(holdout.y, model)}
    return page


def _extent(holdout: Holdout) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": int(holdout.y.size), "clusters": int(np.unique(holdout.cluster).size)}
    if holdout.times is not None and holdout.y.size:
        found |= {"first": str(holdout.times.min()), "last": str(holdout.times.max())}
    return found


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.to_dict() if isinstance(value, Interval) else value for key, value in entry.items()}


def _over_time(problem: Problem, holdout: Holdout, model: FloatArray) -> list[dict[str, Any]]:
    """Return actual, predicted and baseline means and the primary metric in at most 60 spans of time."""
    if holdout.times is None:
        return []
    days = holdout.times.astype("datetime64[D]").astype(np.int64)
    first, width = days.min(), -(-(int(days.max() - days.min()) + 1) // _TIME_BUCKETS)
    buckets = (days - first) // width
    found = score_by(buckets, [problem.metrics.primary], holdout.y, model, **_design(problem, holdout))
    rows = []
    for bucket, entry in found.items():
        inside = buckets == bucket
        sums = {name: float(values[inside].sum()) for name, values in sorted(holdout.baselines.items())}
        time = str((first + bucket * width).astype("datetime64[D]"))
        totals = {"actual": float(holdout.y[inside].sum()), "predicted": float(model[inside].sum())}
        rows.append({"time": time, **totals, "baselines": sums, **_plain(entry)})
    return rows


def _slices(problem: Problem, holdout: Holdout, model: FloatArray) -> dict[str, list[dict[str, Any]]]:
    primary, design = problem.metrics.primary, _design(problem, holdout)
    result = {}
    for column, groups in sorted(holdout.slices.items()):
        found = score_by(groups.codes.astype(np.int64), [primary], holdout.y, model, **design)
        result[column] = [
            {"slice": groups.categories[code], **_plain(entry)} for code, entry in found.items()
        ]
    return result


def _residuals(y: FloatArray, model: FloatArray) -> dict[str, list[float]]:
    """Return a histogram of predicted minus actual between its 0.5 and 99.5 percentiles."""
    residual = model - y
    low, high = np.quantile(residual, [0.005, 0.995])
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(residual, bins=_RESIDUAL_BINS, range=(low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _deciles(y: FloatArray, model: FloatArray) -> list[dict[str, float]]:
    order = np.argsort(model, kind="stable")
    parts = [part for part in np.array_split(order, 10) if part.size]
    return [
        {"predicted": float(model[part].mean()), "actual": float(y[part].mean()), "n": int(part.size)}
        for part in parts
    ]


def _calibration(y: FloatArray, model: FloatArray) -> list[dict[str, float]]:
    """Return the reliability curve with Wilson's interval of each share."""
    z = 1.959964
    rows = []
    for predicted, actual, n in calibration_curve(y, model):
        centre = (actual + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(actual * (1 - actual) / n + z * z / (4 * n * n))
        low, high = float(centre - half), float(centre + half)
        rows.append({"predicted": predicted, "actual": actual, "n": n, "low": low, "high": high})
    return rows


def _stock(problem: Problem, holdout: Holdout, model: FloatArray, order: FloatArray) -> dict[str, Any]:
    """Return what ordering the quantile costs a row against ordering the mean forecast or a baseline."""
    assert problem.stock is not None
    under, over, q = problem.stock.under_cost, problem.stock.over_cost, problem.stock.quantile

    def cost(amount: FloatArray) -> float:
        short = np.maximum(holdout.y - amount, 0)
        return float((under * short + over * np.maximum(amount - holdout.y, 0)).mean())

    pinball = score(["pinball"], holdout.y, order, quantile=q, **_design(problem, holdout))["pinball"]
    costs = {"quantile": cost(order), "model": cost(model)}
    costs |= {name: cost(values) for name, values in sorted(holdout.baselines.items())}
    covered = float((holdout.y <= order).mean())
    return {
        "quantile": q,
        "pinball": pinball.to_dict(),
        "coverage": {"aimed": q, "found": covered},
        "cost_per_row": costs,
    }
