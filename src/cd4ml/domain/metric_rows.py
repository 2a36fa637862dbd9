"""The rows that metrics are taken over, checked once: finite, in range, of equal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, IntArray
from cd4ml.domain.ranking import equal_mass_bins
from cd4ml.errors import MetricError, UsageError

__all__ = ["CALIBRATION_BINS", "Rows", "name_rows", "prepare"]

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Rows:
    """Actual and predicted values (n,), with what else a metric may need."""

    y: FloatArray
    p: FloatArray
    weight: FloatArray | None = None
    quantile: float | None = None
    threshold: float = 0.5

    def take(self, rows: IntArray) -> Rows:
        """Return some of the rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Rows(self.y[rows], self.p[rows], weight, self.quantile, self.threshold)

    @cached_property
    def log_error(self) -> FloatArray:
        """log(1 + p) - log(1 + y), negative predictions taken for 0."""
        return np.asarray(np.log1p(np.maximum(self.p, 0.0)) - np.log1p(self.y), dtype=np.float64)

    @cached_property
    def centred(self) -> FloatArray:
        """The actual less its mean, so that a variance by sums does not cancel."""
        return np.asarray(self.y - self.y.mean(), dtype=np.float64)

    @cached_property
    def called(self) -> npt.NDArray[np.bool_]:
        """Whether the probability reaches the threshold."""
        return np.asarray(self.p >= self.threshold)

    @cached_property
    def calibration_bins(self) -> IntArray:
        """The equal-mass bin of each probability."""
        return equal_mass_bins(self.p, CALIBRATION_BINS)[0]


def name_rows(bad: npt.NDArray[np.bool_]) -> str:
    """Return e.g. "rows 3, 17, 20 and 41 more" for the rows that are True, counted from 0."""
    found = np.flatnonzero(bad)
    shown = ", ".join(str(row) for row in found[:3])
    more = f" and {found.size - 3} more" if found.size > 3 else ""
    return f"row{'s' if found.size > 1 else ''} {shown}{more}"


def prepare(
    names: Sequence[str],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    binary: bool,
    weight: npt.ArrayLike | None = None,
    quantile: float | None = None,
    threshold: float = 0.5,
) -> Rows:
    """Return checked rows.

    Raises
    ------
    MetricError
        If there are no rows, values are NaN or infinite, labels are not 0 and 1 or probabilities not within
        [0, 1] (binary), weights are negative; the message names the metrics and the rows.
    UsageError
        If lengths differ.
    """
    metrics = ", ".join(names)
    y = _column("y_true", y_true, metrics)
    p = _column("y_pred", y_pred, metrics)
    w = None if weight is None else _column("weight", weight, metrics)
    for name, column in (("y_pred", p), ("weight", w)):
        if column is not None and column.shape != y.shape:
            raise UsageError(
                f"{metrics}: {name} must be as long as y_true; found {column.size} and {y.size} rows"
            )
    if not y.size:
        raise MetricError(f"{metrics}: there are no rows to score; look at the filters and the split")
    if w is not None:
        _refuse(w < 0, metrics, "weight", "negative")
    if binary:
        _refuse((y != 0) & (y != 1), metrics, "y_true", "neither 0 nor 1")
        _refuse((p < 0) | (p > 1), metrics, "y_pred", "not a probability within [0, 1]")
    if {"nwrmsle", "rmsle"} & set(names):
        _refuse(y < 0, "nwrmsle, rmsle", "y_true", "negative, and has no logarithm; filter such rows")
    return Rows(y, p, w, quantile, threshold)


def _column(name: str, values: npt.ArrayLike, metrics: str) -> FloatArray:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricError(f"{metrics}: {name} must be numbers; {error}") from error
    if column.ndim != 1:
        raise UsageError(f"{metrics}: {name} must have one value a row; found shape {column.shape}")
    _refuse(~np.isfinite(column), metrics, name, "NaN or infinite")
    return column


def _refuse(bad: npt.NDArray[np.bool_], metrics: str, column: str, what: str) -> None:
    if bad.any():
        raise MetricError(
            f"{metrics}: {column} is {what} in {int(bad.sum())} of {bad.size} rows ({name_rows(bad)}, from 0)"
        )
