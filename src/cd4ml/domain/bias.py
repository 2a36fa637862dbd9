"""Does the model err more for some than for others? Ratios of slices against the rest, with their proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from cd4ml.domain.bootstrap import FloatArray, Resampling, resample
from cd4ml.domain.metric_rows import Rows, prepare
from cd4ml.domain.metric_table import Metric, find
from cd4ml.domain.metrics import replicate
from cd4ml.errors import MetricError

__all__ = ["BiasRow", "holm", "slice_ratios"]

BiasStatus = Literal["pass", "fail", "insufficient_data", "waived"]
MIN_ROWS = 50
MIN_CLUSTERS = 5
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class BiasRow:
    """One slice against all other rows.

    Attributes
    ----------
    estimate, reference : float or None
        The metric in the slice and in the rest; None where it has no value.
    ratio : float or None
        Distance from perfect in the slice over that in the rest: 1 means equal, 2 twice the error.
    low, high : float or None
        95 % interval of the ratio.
    adjusted_p : float or None
        Holm-adjusted probability of such a ratio if the true one did not exceed the margin.
    margin : float
        The largest ratio that is right.
    status : str
        `pass`: the whole interval keeps the margin. `fail`: the excess is significant after Holm.s step.
        `insufficient_data`: neither can be said; it never reads as pass.
    """

    metric: str
    column: str
    slice: str
    n: int
    clusters: int
    estimate: float | None
    reference: float | None
    ratio: float | None
    low: float | None
    high: float | None
    adjusted_p: float | None
    margin: float
    status: BiasStatus

    def to_dict(self) -> dict[str, Any]:
        """Return the row as bias.json has it."""
        return asdict(self)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given.

    References
    ----------
    .. [1] Holm, 1979, A simple sequentially rejective multiple test procedure.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    adjusted = np.empty(len(p_values))
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def slice_ratios(  # noqa: PLR0913 - keywords
    metric_name: str,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    groups: Sequence[tuple[str, str, npt.NDArray[np.bool_]]],
    *,
    weight: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    margin: float = 1.25,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[BiasRow]:
    """Compare the error of each slice with that of all other rows.

    Slice and rest see the same resampled clusters, so shocks that they share cancel. The p-value is
    Student's, with the clusters of the slice minus 1 degrees of freedom, on the logarithm of the ratio:
    percentiles of 1000 resamples cannot reach 0.05 / 400.

    Parameters
    ----------
    groups : sequence of (column, slice, mask of shape (n,))
        The slices; they may overlap.
    margin : float
        Ratio that is still right, e.g. 1.25.

    Returns
    -------
    list of BiasRow
        In the order of `groups`.
    """
    metric = find(metric_name)
    rows = prepare(
        [metric_name],
        y_true,
        y_pred,
        binary=metric.spec.task == "classification",
        weight=weight,
        quantile=None,
        threshold=0.5,
    )
    design = resample(rows.y.size, cluster, resamples=resamples, level=level, seed=seed)
    measured = [_measure(metric, rows, design, mask) for _, _, mask in groups]
    tests = [_p_value(found, margin) for found in measured]
    adjusted = iter(holm([p for p in tests if p is not None]))
    result = []
    for (column, name, _), found, p in zip(groups, measured, tests, strict=True):
        adjusted_p = None if p is None else next(adjusted)
        status = _status(found, adjusted_p, margin)
        facts = {
            key: found[key] for key in ("n", "clusters", "estimate", "reference", "ratio", "low", "high")
        }
        result.append(
            BiasRow(metric_name, column, name, adjusted_p=adjusted_p, margin=margin, status=status, **facts)
        )
    return result


def _measure(metric: Metric, rows: Rows, design: Resampling, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    inside, outside = np.flatnonzero(mask), np.flatnonzero(~mask)
    own = design.subset(inside) if inside.size else None
    found: dict[str, Any] = dict.fromkeys(("estimate", "reference", "ratio", "low", "high", "error"))
    found |= {"n": int(inside.size), "clusters": own.clusters if own else 0}
    try:
        if own is None or not outside.size:
            return found
        here, here_samples = replicate(metric, rows.take(inside), own)
        there, there_samples = replicate(metric, rows.take(outside), design.subset(outside))
    except MetricError:
        return found
    found |= {"estimate": here, "reference": there}
    best = metric.spec.best
    if best in (here, there):
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: FloatArray = np.log(np.abs(best - here_samples)) - np.log(np.abs(best - there_samples))
    centre = float(np.log(abs(best - here)) - np.log(abs(best - there)))
    interval = own.interval(centre, logs)
    finite = logs[np.isfinite(logs)]
    found["ratio"] = float(np.exp(centre))
    if interval.low is not None and interval.high is not None:
        found |= {"low": float(np.exp(interval.low)), "high": float(np.exp(interval.high))}
        found["error"] = float(finite.std(ddof=1))
    return found


def _p_value(found: dict[str, Any], margin: float) -> float | None:
    if not found["error"] or found["n"] < MIN_ROWS or found["clusters"] < MIN_CLUSTERS:
        return None
    statistic = (np.log(found["ratio"]) - np.log(margin)) / found["error"]
    return float(stdtr(found["clusters"] - 1, -statistic))


def _status(found: dict[str, Any], adjusted_p: float | None, margin: float) -> BiasStatus:
    if adjusted_p is None:
        return "insufficient_data"
    if adjusted_p < SIGNIFICANCE:
        return "fail"
    return "pass" if found["high"] <= margin else "insufficient_data"
