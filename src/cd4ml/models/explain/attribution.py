"""Contributions summed up: over all rows, by slice, and for rows that stand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cd4ml.domain.bootstrap import Resampling
from cd4ml.features.columns import CategoryArray
from cd4ml.models.data import BoolArray, FloatArray, IntArray, Matrix
from cd4ml.models.explain.contributions import Contributions

__all__ = ["by_slice", "examples", "overall"]

LEAST_ROWS = 30
_MOST_SLICES = 8
_SLICE_FEATURES = 5
_EXAMPLE_FEATURES = 6


def overall(found: Contributions, names: Sequence[str], design: Resampling) -> list[dict[str, Any]]:
    """Return the mean size of each feature's contributions with its interval, the largest first."""
    sizes = np.abs(found.values)
    drawn = _drawn(sizes, np.ones(len(sizes), dtype=np.bool_), design)
    result = []
    for index, name in enumerate(names):
        interval = design.interval(float(sizes[:, index].mean()), drawn[:, index])
        entry = {"feature": name, "size": interval.estimate, "low": interval.low, "high": interval.high}
        result.append(entry | {"mean": float(found.values[:, index].mean())})
    return sorted(result, key=lambda one: (-one["size"], one["feature"]))


def by_slice(
    found: Contributions, names: Sequence[str], slices: Mapping[str, CategoryArray], design: Resampling
) -> dict[str, list[dict[str, Any]]]:
    """Return what each feature adds in a slice beyond what it adds in the other rows.

    The differences of all features sum to the difference of the mean raw predictions of slice and rest,
    `difference`: they say through which features a slice is predicted higher or lower.

    Parameters
    ----------
    slices : mapping
        Column -> groups of the rows of `found`.
    """
    return {column: _column(found, names, groups, design) for column, groups in sorted(slices.items())}


def _column(
    found: Contributions, names: Sequence[str], groups: CategoryArray, design: Resampling
) -> list[dict[str, Any]]:
    codes = np.asarray(groups.codes)
    sizes = np.bincount(codes[codes >= 0], minlength=len(groups.categories))
    result = []
    for code in np.argsort(-sizes, kind="stable")[:_MOST_SLICES]:
        inside = codes == code
        entry: dict[str, Any] = {"slice": groups.categories[code], "n": int(sizes[code]), "features": []}
        if LEAST_ROWS <= sizes[code] <= len(codes) - LEAST_ROWS:
            entry |= _difference(found, names, inside, design)
        if sizes[code]:
            result.append(entry)
    return result


def _difference(
    found: Contributions, names: Sequence[str], inside: BoolArray, design: Resampling
) -> dict[str, Any]:
    """Return the largest differences of the mean contributions, and the sum of all."""
    estimate = found.values[inside].mean(axis=0) - found.values[~inside].mean(axis=0)
    drawn = _drawn(found.values, inside, design) - _drawn(found.values, ~inside, design)
    features = []
    for index in np.argsort(-np.abs(estimate), kind="stable")[:_SLICE_FEATURES]:
        interval = design.interval(float(estimate[index]), drawn[:, index])
        features.append({"feature": names[index], "difference": interval.estimate})
        features[-1] |= {"low": interval.low, "high": interval.high}
    return {"difference": float(estimate.sum()), "features": features}


def _drawn(values: FloatArray, inside: BoolArray, design: Resampling) -> FloatArray:
    """Return the means (R, k) of some rows of values (n, k) in each resample."""
    count = design.weights.shape[1]
    sums = np.zeros((count, values.shape[1] + 1))
    kept = np.flatnonzero(inside)
    np.add.at(sums, design.groups[kept], np.column_stack([values[kept], np.ones(len(kept))]))
    drawn = design.replicate(sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(drawn[:, :-1] / drawn[:, -1:])


def examples(
    found: Contributions,
    names: Sequence[str],
    X: Matrix,
    rows: IntArray,
    predicted: FloatArray,
    actual: FloatArray,
    labels: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """Return rows that stand out, each with what made its prediction.

    Parameters
    ----------
    rows : array of shape (n,)
        Number of each row within the holdout.
    labels : mapping
        Feature -> names of its codes.
    """
    error = predicted - actual
    picked = {
        "highest prediction": int(predicted.argmax()),
        "lowest prediction": int(predicted.argmin()),
        "most too high": int(error.argmax()),
        "most too low": int(error.argmin()),
    }
    result = []
    for what, row in picked.items():
        values = found.values[row]
        order = np.argsort(-np.abs(values), kind="stable")[:_EXAMPLE_FEATURES]
        features = [
            {
                "feature": names[i],
                "value": shown_value(X[row, i], labels.get(names[i])),
                "contribution": float(values[i]),
            }
            for i in order
        ]
        entry = {"what": what, "row": int(rows[row]), "predicted": float(predicted[row])}
        entry |= {"actual": float(actual[row]), "base": found.base, "features": features}
        entry |= {"others": float(values.sum() - values[order].sum())}
        result.append(entry | {"raw": float(found.base + values.sum())})
    return result


def shown_value(value: np.float32, labels: Sequence[str] | None) -> float | str | None:
    """Return a feature's value as it is read: a category's name, a number, None without one."""
    if np.isnan(value):
        return None
    if labels is None:
        return float(value)
    code = int(value)
    return labels[code] if 0 <= code < len(labels) else "rare or unknown"
