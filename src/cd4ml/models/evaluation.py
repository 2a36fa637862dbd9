"""Judge predictions on the holdout: what the report draws and the gates ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.metric_table import OF_CALLS
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
    from cd4ml.problem import Problem, Stock

__all__ = ["Holdout", "compare", "evaluate", "metric_table", "metrics_of", "scores"]

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
    """NaT, or none at all, where the problem has no time."""
    baselines: Mapping[str, FloatArray]
    """Predictions of each baseline."""
    slices: Mapping[str, CategoryArray]


def metrics_of(problem: Problem) -> list[str]:
    """Return the primary metric and the others, without repetition."""
    return list(dict.fromkeys([problem.metrics.primary, *problem.metrics.also]))


def _design(problem: Problem, holdout: Holdout) -> dict[str, Any]:
    metrics = problem.metrics
    common: dict[str, Any] = {
        "resamples": metrics.resamples,
        "level": metrics.level,
        "seed": problem.search.seed,
    }
    common |= {"quantile": problem.stock.quantile if problem.stock else None}
    return common | {"weight": holdout.weight, "cluster": holdout.cluster}


def scores(
    problem: Problem,
    names: Sequence[str],
    y: FloatArray,
    model: FloatArray,
    decisions: FloatArray | None,
    weight: FloatArray,
    cluster: npt.NDArray[np.int64],
) -> dict[str, Interval]:
    """Return each metric with its interval; arrays have shape (n,).

    Parameters
    ----------
    decisions : array, optional
        0 or 1 where rows are not called positive from a probability of 0.5 on: metrics of calls are theirs.
    """
    judged = Holdout(y, weight, cluster, None, {}, {})
    design = _design(problem, judged)
    called = [name for name in names if decisions is not None and name in OF_CALLS]
    of_calls = score(called, y, decisions, **design) if called and decisions is not None else {}
    others = [name for name in names if name not in called]
    found = {**(score(others, y, model, **design) if others else {}), **of_calls}
    return {name: found[name] for name in names}


def metric_table(
    problem: Problem,
    holdout: Holdout,
    model: FloatArray,
    candidates: Mapping[str, FloatArray],
    decisions: FloatArray | None = None,
) -> dict[str, Any]:
    """Return the content of metrics.json: the model, each baseline and each candidate on the holdout.

    Parameters
    ----------
    decisions : array of shape (n,), optional
        Of the model, see `scores`.
    """
    names = metrics_of(problem)

    def shown(prediction: FloatArray, called: FloatArray | None = None) -> dict[str, dict[str, float | None]]:
        found = scores(problem, names, holdout.y, prediction, called, holdout.weight, holdout.cluster)
        return {name: interval.to_dict() for name, interval in found.items()}

    baselines = {name: shown(prediction) for name, prediction in sorted(holdout.baselines.items())}
    fitted = {name: shown(prediction) for name, prediction in sorted(candidates.items())}
    return {"holdout": shown(model, decisions), "baselines": baselines, "candidates": {**baselines, **fitted}}


def _for_primary(problem: Problem, model: FloatArray, decisions: FloatArray | None) -> FloatArray:
    """Return what the primary metric is taken of: decisions where it is about calls."""
    return model if decisions is None or problem.metrics.primary not in OF_CALLS else decisions


def compare(
    problem: Problem, holdout: Holdout, model: FloatArray, decisions: FloatArray | None = None
) -> dict[str, Interval]:
    """Return the improvement of the model over each baseline on the same rows; 0 means equal."""
    design, model = _design(problem, holdout), _for_primary(problem, model, decisions)
    return {
        name: improvement(problem.metrics.primary, holdout.y, model, reference, **design)
        for name, reference in sorted(holdout.baselines.items())
    }


def evaluate(
    problem: Problem,
    holdout: Holdout,
    model: FloatArray,
    quantile: FloatArray | None = None,
    decisions: FloatArray | None = None,
) -> dict[str, Any]:
    """Return the content of evaluation.json but for the importances.

    Parameters
    ----------
    model : array of shape (n,)
        Predictions on the original scale, or probabilities of the positive class.
    quantile : array of shape (n,), optional
        Predictions of the quantile that the problem's stock costs ask for.
    decisions : array of shape (n,), optional
        0 or 1 where a treatment calls rows positive by other thresholds than 0.5.
    """
    page: dict[str, Any] = {"task": problem.task, "primary": problem.metrics.primary}
    page["holdout"] = _extent(holdout)
    judged = _for_primary(problem, model, decisions)
    page["over_time"] = _over_time(problem, holdout, model, judged)
    page["slices"] = _slices(problem, holdout, judged)
    page["clipped_negative"] = clip_count(model, metrics_of(problem))
    if problem.task == "regression":
        page |= {"residuals": _residuals(holdout.y, model), "deciles": _deciles(holdout.y, model)}
        page["stock"] = (
            None
            if quantile is None or problem.stock is None
            else _stock(problem, problem.stock, holdout, model, quantile)
        )
    else:
        page["calibration"] = _calibration(holdout.y, model, problem.metrics.level)
        page["confusion"] = confusion(holdout.y, model if decisions is None else decisions)
        page |= {"roc": roc_curve(holdout.y, model), "pr": pr_curve(holdout.y, model)}
    return page


def _extent(holdout: Holdout) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": int(holdout.y.size), "clusters": int(np.unique(holdout.cluster).size)}
    if (times := _times(holdout)) is not None:
        found |= {"first": str(times.min()), "last": str(times.max())}
    return found


def _times(holdout: Holdout) -> npt.NDArray[np.datetime64] | None:
    """Return the times of all rows, or None: a problem without time has NaT in each row."""
    if holdout.times is None or not holdout.times.size or np.isnat(holdout.times).any():
        return None
    return holdout.times


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.to_dict() if isinstance(value, Interval) else value for key, value in entry.items()}


def _over_time(
    problem: Problem, holdout: Holdout, model: FloatArray, judged: FloatArray
) -> list[dict[str, Any]]:
    """Return sums of actuals, predictions and baselines, and the primary metric, in at most 60 spans."""
    times = _times(holdout)
    if times is None:
        return []
    days = times.astype("datetime64[D]").astype(np.int64)
    first, width = days.min(), -(-(int(days.max() - days.min()) + 1) // _TIME_BUCKETS)
    buckets = (days - first) // width
    found = score_by(buckets, [problem.metrics.primary], holdout.y, judged, **_design(problem, holdout))
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
    low, high = (float(end) for end in np.quantile(residual, [0.005, 0.995]))
    least = max(abs(low), abs(high)) * 1e-9  # bins that are narrower cannot be told apart
    if high - low <= least:
        low, high = low - max(0.5, least), high + max(0.5, least)
    counts, edges = np.histogram(residual, bins=_RESIDUAL_BINS, range=(low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _deciles(y: FloatArray, model: FloatArray) -> list[dict[str, float]]:
    order = np.argsort(model, kind="stable")
    parts = [part for part in np.array_split(order, 10) if part.size]
    return [
        {"predicted": float(model[part].mean()), "actual": float(y[part].mean()), "n": int(part.size)}
        for part in parts
    ]


def _calibration(y: FloatArray, model: FloatArray, level: float) -> list[dict[str, float]]:
    """Return the reliability curve with Wilson's score interval of each share, rows taken for independent.

    References
    ----------
    .. [1] Wilson, 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    rows = []
    for predicted, actual, n in calibration_curve(y, model):
        centre = (actual + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(actual * (1 - actual) / n + z * z / (4 * n * n))
        low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
        rows.append({"predicted": predicted, "actual": actual, "n": n, "low": low, "high": high})
    return rows


def _stock(
    problem: Problem, stock: Stock, holdout: Holdout, model: FloatArray, order: FloatArray
) -> dict[str, Any]:
    """Return what ordering the quantile costs a row against ordering the mean forecast or a baseline."""
    under, over, q = stock.under_cost, stock.over_cost, stock.quantile

    def cost(amount: FloatArray) -> float:
        short = np.maximum(holdout.y - amount, 0)
        return float((under * short + over * np.maximum(amount - holdout.y, 0)).mean())

    pinball = score(["pinball"], holdout.y, order, **_design(problem, holdout))["pinball"]
    costs = {"quantile": cost(order), "model": cost(model)}
    costs |= {name: cost(values) for name, values in sorted(holdout.baselines.items())}
    covered = float((holdout.y <= order).mean())
    return {
        "quantile": q,
        "pinball": pinball.to_dict(),
        "coverage": {"aimed": q, "found": covered},
        "cost_per_row": costs,
    }
