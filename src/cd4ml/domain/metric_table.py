"""The metrics: each a formula over sums, or an area under a curve.

A term is one value a row; its sums per cluster are all that the bootstrap needs. A formula takes sums of any
leading shape, so that the estimate and a thousand resamples are the same code. The first line of a formula's
docstring is the metric's description wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray, IntArray
from cd4ml.domain.metric_rows import CALIBRATION_BINS, Rows
from cd4ml.errors import NotFoundError, UsageError, nearest

__all__ = ["METRICS", "OF_CALLS", "TABLE", "TERMS", "Metric", "MetricSpec", "Sums", "Term", "find"]

Sums = Mapping[str, FloatArray]
Task = Literal["regression", "classification"]


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is to a reader; signed metrics are better the nearer they are to `best`."""

    name: str
    task: Task
    higher_is_better: bool
    best: float
    description: str


@dataclass(frozen=True)
class Term:
    """A value a row, summed per cluster, and per bin where there are bins."""

    values: Callable[[Rows], npt.NDArray[np.generic]]
    bins: Callable[[Rows], IntArray] | None = None
    bin_count: int = 1


@dataclass(frozen=True)
class Metric:
    """How a metric is taken.

    Attributes
    ----------
    terms : tuple of str
        Keys of TERMS that `formula` needs; empty for an area under a curve.
    needs : tuple of {0, 1}
        Classes without which it has no value.
    undefined : str
        Why the estimate may still have none, for the message.
    biased : bool
        Whether noise alone raises it, so that its interval is mirrored.
    """

    spec: MetricSpec
    formula: Callable[[Sums], FloatArray] | None
    terms: tuple[str, ...]
    needs: tuple[int, ...] = ()
    undefined: str = "its denominator is 0"
    biased: bool = False


def _clipped(rows: Rows) -> FloatArray:
    epsilon = np.finfo(np.float64).eps
    return np.clip(rows.p, epsilon, 1 - epsilon)


def _pinball_loss(rows: Rows) -> FloatArray:
    if rows.quantile is None or not 0 < rows.quantile < 1:
        raise UsageError(f"pinball needs quantile= between 0 and 1; found {rows.quantile}")
    short = rows.y - rows.p
    return np.maximum(rows.quantile * short, (rows.quantile - 1) * short)


TERMS: Mapping[str, Term] = MappingProxyType(
    {
        "rows": Term(lambda r: np.ones(r.y.size)),
        "weight": Term(lambda r: np.ones(r.y.size) if r.weight is None else r.weight),
        "error": Term(lambda r: r.p - r.y),
        "absolute": Term(lambda r: np.abs(r.p - r.y)),
        "square": Term(lambda r: (r.p - r.y) ** 2),
        "log_square": Term(lambda r: r.log_error**2),
        "weighted_log_square": Term(lambda r: r.log_error**2 * (1.0 if r.weight is None else r.weight)),
        "actual": Term(lambda r: r.y),
        "actual_size": Term(lambda r: np.abs(r.y)),
        "predicted": Term(lambda r: r.p),
        "centred": Term(lambda r: r.centred),
        "centred_square": Term(lambda r: r.centred**2),
        "pinball": Term(_pinball_loss),
        "tp": Term(lambda r: r.called * r.y),
        "fp": Term(lambda r: r.called * (1 - r.y)),
        "fn": Term(lambda r: ~r.called * r.y),
        "tn": Term(lambda r: ~r.called * (1 - r.y)),
        "surprise": Term(lambda r: -np.where(r.y > 0.5, np.log(_clipped(r)), np.log1p(-_clipped(r)))),
        "miscalibration": Term(lambda r: r.y - r.p, lambda r: r.calibration_bins, CALIBRATION_BINS),
    }
)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide, giving NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below != 0, above / below, np.nan)


def nwrmsle(s: Sums) -> FloatArray:
    """Weighted root mean squared logarithmic error; 0 is perfect.

    sqrt(sum w (log(1 + p) - log(1 + y))^2 / sum w), negative predictions clipped to 0. Without weights it is
    rmsle. It is the only metric that takes `weight`. Source: Kaggle, Corporacion Favorita Grocery Sales
    Forecasting, 2017 (perishable items weigh 1.25).
    """
    return np.sqrt(_ratio(s["weighted_log_square"], s["weight"]))


def rmsle(s: Sums) -> FloatArray:
    """Root mean squared logarithmic error; 0 is perfect, 0.1 is about 10 % off.

    sqrt(mean (log(1 + p) - log(1 + y))^2), negative predictions clipped to 0.
    """
    return np.sqrt(_ratio(s["log_square"], s["rows"]))


def rmse(s: Sums) -> FloatArray:
    """Root mean squared error in units of the target; 0 is perfect.

    sqrt(mean (p - y)^2).
    """
    return np.sqrt(_ratio(s["square"], s["rows"]))


def mae(s: Sums) -> FloatArray:
    """Mean absolute error in units of the target; 0 is perfect.

    mean |p - y|.
    """
    return _ratio(s["absolute"], s["rows"])


def wape(s: Sums) -> FloatArray:
    """Weighted absolute percentage error as a fraction; 0 is perfect.

    sum |p - y| / sum |y|. Source: Hyndman, Koehler, 2006, Another look at measures of forecast accuracy
    (MAD/mean ratio).
    """
    return _ratio(s["absolute"], s["actual_size"])


def bias(s: Sums) -> FloatArray:
    """Mean signed error in units of the target; 0 is balanced, above 0 predicts too much.

    mean (p - y).
    """
    return _ratio(s["error"], s["rows"])


def relative_bias(s: Sums) -> FloatArray:
    """Sum of predictions over sum of actuals, less 1; 0 is balanced, 0.1 predicts 10 % too much.

    sum p / sum y - 1.
    """
    return _ratio(s["predicted"], s["actual"]) - 1


def r2(s: Sums) -> FloatArray:
    """Share of the variance explained; 1 is perfect, 0 is no better than the mean of these rows.

    1 - sum (p - y)^2 / sum (y - mean y)^2; each resample has its own mean.
    """
    spread = s["centred_square"] - _ratio(s["centred"] ** 2, s["rows"])
    return 1 - _ratio(s["square"], np.where(spread > 1e-12 * s["centred_square"], spread, 0.0))


def pinball(s: Sums) -> FloatArray:
    """Mean pinball loss of a predicted quantile in units of the target; 0 is perfect.

    mean max(q (y - p), (q - 1) (y - p)); half of mae at q = 0.5. Source: Koenker, Bassett, 1978, Regression
    Quantiles.
    """
    return _ratio(s["pinball"], s["rows"])


def accuracy(s: Sums) -> FloatArray:
    """Share of rows called right at the threshold; 1 is perfect.

    (tp + tn) / n.
    """
    return _ratio(s["tp"] + s["tn"], s["rows"])


def balanced_accuracy(s: Sums) -> FloatArray:
    """Mean of the recalls of both classes; 1 is perfect, 0.5 is chance.

    (tp / (tp + fn) + tn / (tn + fp)) / 2. Source: Brodersen et al., 2010.
    """
    return (_ratio(s["tp"], s["tp"] + s["fn"]) + _ratio(s["tn"], s["tn"] + s["fp"])) / 2


def precision(s: Sums) -> FloatArray:
    """Share of the rows called positive that are; 1 is perfect.

    tp / (tp + fp), and 0 by convention when nothing is called positive, as scikit-learn has it.
    """
    return np.nan_to_num(_ratio(s["tp"], s["tp"] + s["fp"]), nan=0.0)


def recall(s: Sums) -> FloatArray:
    """Share of the positives called so; 1 is perfect.

    tp / (tp + fn).
    """
    return _ratio(s["tp"], s["tp"] + s["fn"])


def f1(s: Sums) -> FloatArray:
    """Harmonic mean of precision and recall; 1 is perfect.

    2 tp / (2 tp + fp + fn).
    """
    return _ratio(2 * s["tp"], 2 * s["tp"] + s["fp"] + s["fn"])


def log_loss(s: Sums) -> FloatArray:
    """Mean negative log likelihood in nats; 0 is perfect.

    mean of -log p on positives and -log(1 - p) on negatives, p clipped to [2.2e-16, 1 - 2.2e-16].
    """
    return _ratio(s["surprise"], s["rows"])


def brier(s: Sums) -> FloatArray:
    """Mean squared error of the probability; 0 is perfect, 0.25 is a constant 0.5.

    mean (p - y)^2. Source: Brier, 1950.
    """
    return _ratio(s["square"], s["rows"])


def calibration_error(s: Sums) -> FloatArray:
    """Expected gap between predicted and observed rates; 0 is calibrated.

    sum over 15 bins of equal mass (cut at quantiles of these rows' p, ties together) of |sum (y - p)| / n.
    Noise alone raises it by about sqrt(15 p (1 - p) / n), hence its interval is mirrored and cut at 0: read
    the high end; the low end of a calibrated model lies near 0 and often above it.
    Source: Naeini, Cooper, Hauskrecht, 2015; equal mass after Nguyen, O'Connor, 2015.
    """
    return _ratio(np.abs(s["miscalibration"]).sum(axis=-1), s["rows"])


def _describe(formula: Callable[..., object]) -> str:
    return (formula.__doc__ or "").split("\n", 1)[0].removesuffix(".")


def _error(
    formula: Callable[[Sums], FloatArray], *terms: str, task: Task = "regression", **more: object
) -> Metric:
    """Return a metric whose best value is 0."""
    spec = MetricSpec(formula.__name__, task, False, 0.0, _describe(formula))
    return Metric(spec, formula, terms, **more)  # type: ignore[arg-type]


def _share(formula: Callable[[Sums], FloatArray], *terms: str, needs: tuple[int, ...] = ()) -> Metric:
    """Return a classification metric whose best value is 1."""
    spec = MetricSpec(formula.__name__, "classification", True, 1.0, _describe(formula))
    return Metric(spec, formula, terms, needs)


def _area(name: str, description: str, needs: tuple[int, ...]) -> Metric:
    return Metric(MetricSpec(name, "classification", True, 1.0, description), None, (), needs)


def _r2() -> Metric:
    spec = MetricSpec("r2", "regression", True, 1.0, _describe(r2))
    terms = ("square", "centred", "centred_square", "rows")
    return Metric(spec, r2, terms, undefined="every y_true is the same")


_ALL = (
    _error(nwrmsle, "weighted_log_square", "weight", undefined="the weights sum to 0"),
    _error(rmsle, "log_square", "rows"),
    _error(rmse, "square", "rows"),
    _error(mae, "absolute", "rows"),
    _error(wape, "absolute", "actual_size", undefined="every y_true is 0"),
    _error(bias, "error", "rows"),
    _error(relative_bias, "predicted", "actual", undefined="y_true sums to 0"),
    _r2(),
    _error(pinball, "pinball", "rows"),
    _share(accuracy, "tp", "tn", "rows"),
    _share(balanced_accuracy, "tp", "fp", "fn", "tn", needs=(0, 1)),
    _share(precision, "tp", "fp"),
    _share(recall, "tp", "fn", needs=(1,)),
    _share(f1, "tp", "fp", "fn", needs=(1,)),
    _area("roc_auc", "Probability that a positive row is ranked above a negative one", (0, 1)),
    _area("pr_auc", "Average precision over all thresholds: the area below precision by recall", (1,)),
    _error(log_loss, "surprise", "rows", task="classification"),
    _error(brier, "square", "rows", task="classification"),
    _error(calibration_error, "miscalibration", "rows", task="classification", biased=True),
)
TABLE: Mapping[str, Metric] = MappingProxyType(
    {m.spec.name: m for m in sorted(_ALL, key=lambda metric: metric.spec.name)}
)
METRICS: Mapping[str, MetricSpec] = MappingProxyType({name: metric.spec for name, metric in TABLE.items()})

OF_CALLS = frozenset(name for name, metric in TABLE.items() if {"tp", "fp", "fn", "tn"} & set(metric.terms))
"""Metrics that depend on which rows are called positive, and on nothing else of the prediction."""


def find(name: str) -> Metric:
    """Return the metric of that name, or raise NotFoundError with the nearest."""
    if name not in TABLE:
        raise NotFoundError(f"metric must be one of {', '.join(TABLE)}; found '{name}'{nearest(name, TABLE)}")
    return TABLE[name]
