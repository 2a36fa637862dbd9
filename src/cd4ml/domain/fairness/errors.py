"""Measures of bias on the errors of values: who is predicted worse, too high or too low."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cd4ml.domain import metric_table
from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.measure import Measure, Sums, Term, define, divide
from cd4ml.domain.fairness.terms import (
    ACTUAL,
    COVERED,
    OVER,
    QUANTILE_COVERED,
    ROWS,
    SCORE,
    UNDER,
    of_metric,
    of_quantile,
)

__all__ = [
    "ERRORS",
    "interval_coverage",
    "mean_signed_error",
    "over_forecast_rate",
    "predicted_to_actual",
    "quantile_coverage",
    "under_forecast_rate",
]


def mean_signed_error(own: Sums, other: Sums) -> FloatArray:
    """Difference of the mean signed errors, over the root mean squared error of both groups.

    (mean(score - actual) of the slice less that of the others) / sqrt(mean (score - actual)^2); 0 means that
    neither group is favoured, above 0 that the slice is predicted too much by comparison. Its size is at most
    sqrt(n / a + n / b) for a and b of n rows, 2 for equal groups. Each group alone is shown as mean(score -
    actual), in units of the target.

    Source: Calders et al., 2013, Controlling Attribute Effect in Linear Regression (balanced residuals).
    """
    square, rows = own["square"] + other["square"], own["rows"] + other["rows"]
    return divide(metric_table.bias(own) - metric_table.bias(other), np.sqrt(divide(square, rows)))


def predicted_to_actual(s: Sums) -> FloatArray:
    """Sum of the predictions over the sum of the actuals.

    sum score / sum actual, in [0, inf) for values of at least 0; 1 means balanced, above 1 that too much is
    predicted, 0 that nothing is. Judged as slice / others: 1 means that both are over- or under-predicted
    alike.

    Source: the inverse of actuaries' actual-to-expected ratio; calibration within groups after Kleinberg,
    Mullainathan, Raghavan, 2016, Inherent Trade-Offs in the Fair Determination of Risk Scores.
    """
    return divide(s["predicted"], s["actual"])


def over_forecast_rate(s: Sums) -> FloatArray:
    """Share of the rows that are predicted too high.

    mean(score > actual), in [0, 1]. Judged as slice less others: 0 means that both are predicted too high
    equally often.

    Source: Calders et al., 2013, Controlling Attribute Effect in Linear Regression; the sign test of
    residuals.
    """
    return divide(s["over"], s["rows"])


def under_forecast_rate(s: Sums) -> FloatArray:
    """Share of the rows that are predicted too low.

    mean(score < actual), in [0, 1]. Judged as slice less others: 0 means that both are predicted too low
    equally often.

    Source: Calders et al., 2013, Controlling Attribute Effect in Linear Regression; the sign test of
    residuals.
    """
    return divide(s["under"], s["rows"])


def interval_coverage(s: Sums) -> FloatArray:
    """Share of the actuals that lie within their predicted interval.

    mean(low <= actual <= high), in [0, 1]. Judged as slice less others: 0 means equalised coverage.

    Source: Romano, Barber, Sabatti, Candes, 2020, With Malice Toward None: Assessing Uncertainty via
    Equalized Coverage.
    """
    return divide(s["covered"], s["rows"])


def quantile_coverage(s: Sums) -> FloatArray:
    """Share of the actuals that lie at or below their predicted quantile.

    mean(actual <= quantile), in [0, 1]; the quantile's level is right. Judged as slice less others: 0 means
    that both are covered alike.

    Source: Romano, Barber, Sabatti, Candes, 2020, With Malice Toward None: Assessing Uncertainty via
    Equalized Coverage.
    """
    return divide(s["quantile_covered"], s["rows"])


def _values(function: Callable[..., FloatArray], label: str, *terms: Term, **more: Any) -> Measure:
    keywords = {"compare": "difference", "needs": ("score",)} | more
    return define(function, label, *terms, stage="post", tasks=("regression",), **keywords)


def _term(name: str) -> Term:
    """Return the term that stands for one of a metric."""
    if name == "rows":
        return ROWS
    return of_quantile() if name == "pinball" else of_metric(name)


def _error_ratio(name: str, label: str, source: str, task: str = "regression") -> Measure:
    """Return the measure of a metric: its value in the slice over that in the others."""
    metric = metric_table.find(name)
    assert metric.formula is not None, f"{name} is an area, which sums do not make"
    made = define(
        metric.formula,
        label,
        *(_term(term) for term in metric.terms),
        stage="post",
        tasks=(task,),
        compare="error_ratio",
        better=False,
        needs=("quantile_score", "quantile") if name == "pinball" else ("score",),
    )
    body = made.description.partition("Source: ")[0].strip()
    note = "Range [0, inf). Judged as slice / others: 1 means that both are predicted equally well."
    return replace(made, description=f"{body}\n\n{note}\n\nSource: {source}", source=source)


_BOUNDED_LOSS = "Agarwal, Dudik, Wu, 2019, Fair Regression (bounded group loss)."

ERRORS: tuple[Measure, ...] = (
    _values(
        mean_signed_error,
        "Mean signed error",
        of_metric("error"),
        of_metric("square"),
        ROWS,
        pair=True,
        shown=metric_table.bias,
        aliases=("bias", "mean_residual_difference"),
    ),
    _values(predicted_to_actual, "Predicted over actual", SCORE, ACTUAL, compare="rate_ratio"),
    _error_ratio("wape", "WAPE", f"Hyndman, Koehler, 2006 (MAD/mean ratio); {_BOUNDED_LOSS}"),
    _error_ratio("rmsle", "RMSLE", _BOUNDED_LOSS),
    _error_ratio("nwrmsle", "NWRMSLE", f"Kaggle, Corporacion Favorita, 2017; {_BOUNDED_LOSS}"),
    _error_ratio("mae", "MAE", f"Fairlearn, mean_absolute_error by group; {_BOUNDED_LOSS}"),
    _error_ratio("rmse", "RMSE", f"Fairlearn, root_mean_squared_error by group; {_BOUNDED_LOSS}"),
    _error_ratio("pinball", "Pinball cost", f"Koenker, Bassett, 1978; {_BOUNDED_LOSS}"),
    _error_ratio("brier", "Brier score", f"Brier, 1950; {_BOUNDED_LOSS}", "classification"),
    _error_ratio("log_loss", "Log loss", f"Fairlearn, log_loss by group; {_BOUNDED_LOSS}", "classification"),
    _values(over_forecast_rate, "Over-forecast rate", OVER, ROWS),
    _values(under_forecast_rate, "Under-forecast rate", UNDER, ROWS),
    _values(interval_coverage, "Coverage of the interval", COVERED, ROWS, better=True, needs=("low", "high")),
    _values(quantile_coverage, "Coverage of the quantile", QUANTILE_COVERED, ROWS, needs=("quantile_score",)),
)
