"""What a wrong prediction costs, on the scale on which the problem is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cd4ml.problem import Problem

__all__ = ["LOSSES", "Quality", "quality_of"]

FloatArray = NDArray[np.float64]
_Loss = Callable[[FloatArray, FloatArray], FloatArray]

_LEAST_PROBABILITY = 1e-6


def _square(actual: FloatArray, predicted: FloatArray) -> FloatArray:
    return (predicted - actual) ** 2


def _absolute(actual: FloatArray, predicted: FloatArray) -> FloatArray:
    return np.abs(predicted - actual)


def _log_square(actual: FloatArray, predicted: FloatArray) -> FloatArray:
    logs: FloatArray = np.log1p(np.maximum(predicted, 0.0)) - np.log1p(np.maximum(actual, 0.0))
    return logs**2


def _log_loss(actual: FloatArray, predicted: FloatArray) -> FloatArray:
    p = np.clip(predicted, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    found: FloatArray = -np.where(actual > 0.5, np.log(p), np.log1p(-p))
    return found


LOSSES: Mapping[str, _Loss] = {
    "squared error": _square,
    "absolute error": _absolute,
    "squared log error": _log_square,
    "log loss": _log_loss,
    "Brier score": _square,
}
_BY_METRIC = {
    "rmse": "squared error",
    "r2": "squared error",
    "mae": "absolute error",
    "wape": "absolute error",
    "rmsle": "squared log error",
    "nwrmsle": "squared log error",
    "brier": "Brier score",
}


@dataclass(frozen=True)
class Quality:
    """How predictions are compared with what came true.

    Attributes
    ----------
    loss : str
        One of `LOSSES`.
    by_day : bool
        Rows of one day share shocks: a day is one observation.
    day_column : str
        The input that tells the day of a row; "" takes the day (UTC) of the prediction.
    """

    loss: str = "squared error"
    by_day: bool = False
    day_column: str = ""

    def of(self, actual: FloatArray, predicted: FloatArray) -> FloatArray:
        """Return the losses, shape (n,), none below 0."""
        return LOSSES[self.loss](actual, predicted)

    def day(self, inputs: Mapping[str, Any], at_seconds: float) -> str:
        """Return the day of a row, as text that sorts."""
        found = inputs.get(self.day_column)
        if isinstance(found, str) and found:
            return found[:10]
        return datetime.fromtimestamp(at_seconds, UTC).date().isoformat()


def quality_of(problem: Problem, inputs: tuple[str, ...] = ()) -> Quality:
    """Return how a problem's predictions are compared.

    The loss is that of the primary metric where that is a mean of losses; else the squared error, of
    logarithms where the target is fitted on them; of probabilities it is the log loss.

    Parameters
    ----------
    inputs : tuple of str
        What callers send; the day is taken from the problem's time column if it is one of them.
    """
    primary = problem.metrics.primary
    if problem.task == "classification":
        loss = _BY_METRIC.get(primary, "log loss")
    else:
        otherwise = "squared log error" if problem.target.transform == "log1p" else "squared error"
        loss = _BY_METRIC.get(primary, otherwise)
    time = problem.time.column if problem.time is not None else ""
    column = time if time in inputs else ""
    return Quality(loss, problem.metrics.cluster == "day", column)
