"""Forecasts that need no model: what every model must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.keys import KeyIndex
from cd4ml.features.transform import seasonal_naive

if TYPE_CHECKING:
    from cd4ml.features.columns import ColumnSet
    from cd4ml.features.plan import Plan
    from cd4ml.features.state import State
    from cd4ml.problem import Baseline, Target

__all__ = ["baseline_values"]

Numbers = NDArray[np.float64]


def _to_scale(target: Target, values: Numbers) -> Numbers:
    return np.log1p(np.maximum(values, 0.0)) if target.transform == "log1p" else values


def _from_scale(target: Target, values: Numbers) -> Numbers:
    return np.expm1(values) if target.transform == "log1p" else values


def baseline_values(
    baseline: Baseline,
    plan: Plan,
    state: State,
    facts: ColumnSet,
    columns: ColumnSet,
    y: Numbers,
    train: NDArray[np.bool_],
) -> Numbers:
    """Return a baseline's forecast of every row, from training rows alone.

    Means are taken on the scale of the target's transform. A group without training rows has the overall
    mean. A season that is not known is 0 where an absent step is, and the overall mean elsewhere.

    Parameters
    ----------
    facts, columns : ColumnSet
        The facts, and the columns of `baseline.by`, [n].
    y : float64 [n]
        Target on its original scale.
    train : bool [n]

    Returns
    -------
    float64 [n]
        On the original scale, not below the target's minimum.
    """
    target = plan.problem.target
    scaled = _to_scale(target, y)
    overall = float(scaled[train].mean())
    if baseline.kind == "mean":
        values = _from_scale(target, np.full(len(y), overall))
    elif baseline.kind == "group_mean":
        index, codes = KeyIndex.build([columns[name] for name in baseline.by], len(y), baseline.by)
        known = train & (codes >= 0)
        count = np.bincount(codes[known], minlength=len(index) + 1)
        total = np.bincount(codes[known], weights=scaled[known], minlength=len(index) + 1)
        mean = np.where(count > 0, total / np.maximum(count, 1), overall)  # the last cell is that of nulls
        values = _from_scale(target, mean[codes])
    else:
        assert baseline.period is not None  # checked with the problem
        last = seasonal_naive(plan, state, facts, baseline.period)
        panel = plan.problem.panel
        zero = panel is not None and panel.absent == "zero"
        default = 0.0 if zero else float(_from_scale(target, np.array(overall)))
        values = np.where(np.isnan(last), default, last)
    return values if target.min is None else np.maximum(values, target.min)
