"""Scores of predictions, with clustered bootstrap intervals.

The estimate is exact; the interval comes from a Poisson bootstrap over clusters (see
cd4ml.domain.bootstrap). An interval says nothing that the rows do not: five rows all called right give
accuracy 1 from 1 to 1, so a gate on few rows should ask for more of them. With one cluster there is no
interval: `low` and `high` are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, Interval, Resampling, resample
from cd4ml.domain.metric_rows import Rows, prepare
from cd4ml.domain.metric_table import METRICS, TERMS, Metric, MetricSpec, find
from cd4ml.domain.ranking import calibration_curve, confusion, pr_curve, replicate_area, roc_curve
from cd4ml.errors import MetricError, UsageError, nearest

__all__ = [
    "METRICS",
    "Interval",
    "MetricSpec",
    "calibration_curve",
    "clip_count",
    "confusion",
    "improvement",
    "pr_curve",
    "replicate",
    "roc_curve",
    "score",
    "score_by",
]

_LOG_METRICS = ("nwrmsle", "rmsle")


def score(  # noqa: PLR0913 - keywords
    names: Sequence[str],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    quantile: float | None = None,
    threshold: float = 0.5,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return each metric with its interval.

    Parameters
    ----------
    names : sequence of str
        Keys of METRICS, of one task.
    y_true, y_pred : arrays of shape (n,)
        Actual and predicted values; for classification 0 or 1 and the probability of 1.
    weight : array of shape (n,), optional
        Row weights for nwrmsle, not negative; other metrics do not take weights.
    cluster : array of shape (n,), optional
        What rows depend on together, e.g. the day; None takes rows for independent.
    quantile : float, optional
        The quantile that was predicted, for pinball.
    threshold : float
        Probability from which a row is called positive.
    resamples, level, seed
        Size, coverage and seed of the bootstrap; equal seeds give equal intervals.

    Raises
    ------
    MetricError
        If there are no rows, values are NaN, infinite or out of range, a class is missing or a denominator
        is 0.
    UsageError
        If a name is unknown (NotFoundError), tasks are mixed, or lengths differ.
    """
    metrics = _metrics(names)
    rows = _prepare(metrics, y_true, y_pred, weight, quantile, threshold)
    design = resample(rows.y.size, cluster, resamples=resamples, level=level, seed=seed)
    return {metric.spec.name: _interval(metric, rows, design) for metric in metrics}


def clip_count(y_pred: npt.ArrayLike, names: Sequence[str]) -> int:
    """Count the negative predictions that `score` takes for 0; 0 unless `names` has a logarithmic metric."""
    if not set(names) & set(_LOG_METRICS):
        return 0
    return int((np.asarray(y_pred, dtype=np.float64) < 0).sum())


def improvement(  # noqa: PLR0913 - keywords
    name: str,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    y_reference: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    quantile: float | None = None,
    threshold: float = 0.5,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the share of the reference's distance from perfect that the prediction takes away.

    (|best - reference| - |best - prediction|) / |best - reference|, where `best` is the metric's ideal value.
    For an error that is (ref - pred) / ref; for a metric whose best is 1 it is (pred - ref) / (1 - ref), the
    share of the gap that is closed; a signed bias counts by its size. 0 means equal, 0.1 that a tenth of the
    error is gone, 1 perfect, below 0 worse. Both are scored on the same rows in the same resamples, so what
    they share cancels and the interval is that of the difference.

    Raises
    ------
    MetricError
        As `score`; also if the reference is perfect and the prediction is not. Two perfect ones are equal: 0.
    """
    metric = _metrics([name])[0]
    rows = _prepare([metric], y_true, y_pred, weight, quantile, threshold)
    reference = _prepare([metric], y_true, y_reference, weight, quantile, threshold)
    design = resample(rows.y.size, cluster, resamples=resamples, level=level, seed=seed)
    best = metric.spec.best
    ours, theirs = (replicate(metric, r, design) for r in (rows, reference))
    estimate = _gain(abs(best - np.asarray(ours[0])), abs(best - np.asarray(theirs[0])))
    if not np.isfinite(estimate):
        raise MetricError(
            f"{name}: improvement over a perfect reference has no finite value (reference {theirs[0]:.6g}, "
            f"prediction {ours[0]:.6g}); choose another baseline or metric"
        )
    return design.interval(float(estimate), _gain(abs(best - ours[1]), abs(best - theirs[1])))


def score_by(  # noqa: PLR0913 - keywords
    groups: npt.ArrayLike,
    names: Sequence[str],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    quantile: float | None = None,
    threshold: float = 0.5,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[int, dict[str, Any]]:
    """Return the metrics of each slice: error by store, by day, by group.

    Parameters
    ----------
    groups : integer array of shape (n,)
        Slice of each row; negative codes belong to no slice.

    Returns
    -------
    dict
        {code: {metric: Interval or None, "n": rows, "clusters": clusters}} by rising code. A metric is None
        where the slice has no value for it (one class only, nothing sold); bad values raise as in `score`.
    """
    metrics = _metrics(names)
    rows = _prepare(metrics, y_true, y_pred, weight, quantile, threshold)
    codes = np.asarray(groups)
    if codes.shape != rows.y.shape or codes.dtype.kind not in "iu":
        raise UsageError(
            f"groups must be integers, one a row ({rows.y.size}); found {codes.dtype} of shape {codes.shape}"
        )
    design = resample(rows.y.size, cluster, resamples=resamples, level=level, seed=seed)
    order = np.argsort(codes, kind="stable")
    found, starts = np.unique(codes[order], return_index=True)
    members = zip(found.tolist(), np.split(order, starts[1:]), strict=True)
    return {code: _slice(metrics, rows.take(m), design.subset(m)) for code, m in members if code >= 0}


def _slice(metrics: Sequence[Metric], rows: Rows, design: Resampling) -> dict[str, Any]:
    result: dict[str, Any] = {"n": int(rows.y.size), "clusters": design.clusters}
    for metric in metrics:
        try:
            result[metric.spec.name] = _interval(metric, rows, design)
        except MetricError:
            result[metric.spec.name] = None
    return result


def _metrics(names: Sequence[str]) -> list[Metric]:
    if isinstance(names, str):
        raise UsageError(
            f"names must be a list of metrics, found the string '{names}'{nearest(names, METRICS)}"
        )
    metrics = [find(name) for name in dict.fromkeys(names)]
    tasks = sorted({metric.spec.task for metric in metrics})
    if len(tasks) != 1:
        raise UsageError(
            f"metrics must be of one task, found {' and '.join(tasks) or 'no metrics'}: {list(names)}"
        )
    return metrics


def _prepare(
    metrics: Sequence[Metric],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    quantile: float | None,
    threshold: float,
) -> Rows:
    names = [metric.spec.name for metric in metrics]
    binary = metrics[0].spec.task == "classification"
    return prepare(
        names, y_true, y_pred, binary=binary, weight=weight, quantile=quantile, threshold=threshold
    )


def _interval(metric: Metric, rows: Rows, design: Resampling) -> Interval:
    estimate, replicates = replicate(metric, rows, design)
    interval = design.interval(estimate, replicates, reflect=metric.biased)
    if metric.biased and interval.low is not None:
        return replace(interval, low=max(0.0, interval.low))
    return interval


def replicate(metric: Metric, rows: Rows, design: Resampling) -> tuple[float, FloatArray]:
    """Return the estimate of a metric and its replicates (R,): what intervals of any contrast are made of.

    Replicates in which it has no value are NaN. Raises MetricError where there is no estimate.
    """
    name = metric.spec.name
    for label in metric.needs:
        if not (rows.y == label).any():
            raise MetricError(
                f"{name}: class {label} is missing from all {rows.y.size} rows; it needs rows of it"
            )
    if metric.formula is None:
        return replicate_area(name, rows.y, rows.p, design)
    totals = {key: _totals(key, rows, design) for key in metric.terms}
    estimate = float(metric.formula({key: _flat(t.sum(axis=0)) for key, t in totals.items()}))
    if not np.isfinite(estimate):
        raise MetricError(f"{name}: has no finite value over {rows.y.size} rows, as {metric.undefined}")
    widths = np.cumsum([totals[key].shape[1] for key in metric.terms])[:-1]
    sums = np.split(design.replicate(np.hstack([totals[key] for key in metric.terms])), widths, axis=1)
    return estimate, metric.formula({key: _flat(s) for key, s in zip(metric.terms, sums, strict=True)})


def _totals(key: str, rows: Rows, design: Resampling) -> FloatArray:
    term = TERMS[key]
    values = np.asarray(term.values(rows), dtype=np.float64)
    return design.totals(values, None if term.bins is None else term.bins(rows), term.bin_count)


def _flat(sums: FloatArray) -> FloatArray:
    """Drop the bin axis of a term without bins."""
    return sums[..., 0] if sums.shape[-1] == 1 else sums


def _gain(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((ours == 0) & (theirs == 0), 0.0, (theirs - ours) / theirs)
