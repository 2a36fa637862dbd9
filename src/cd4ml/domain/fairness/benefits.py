"""Measures of bias on what each person gets: benefits of decisions, and mean scores."""

from __future__ import annotations

import numpy as np

from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.measure import Measure, Sums, define, divide
from cd4ml.domain.fairness.terms import ACTUAL, BENEFIT, BENEFIT_LOG, BENEFIT_SQUARE, ROWS, SCORE

__all__ = ["BENEFITS", "calibration_in_the_large", "generalized_entropy", "mean_score", "theil_index"]


def generalized_entropy(s: Sums) -> FloatArray:
    """Generalised entropy of the benefits b = decision - actual + 1, of order 2.

    sum((b / mean b)^2 - 1) / (2 n), in [0, inf); 0 means that all benefit alike. Judged as slice less others:
    0 means that the slice is as unequal within as the others are.

    Source: Speicher et al., 2018, A Unified Approach to Quantifying Algorithmic Unfairness; Clarify, GE.
    """
    return (divide(s["rows"] * s["benefit_square"], s["benefit"] ** 2) - 1) / 2


def theil_index(s: Sums) -> FloatArray:
    """Theil index of the benefits b = decision - actual + 1 (generalised entropy of order 1).

    sum((b / mean b) ln(b / mean b)) / n, in [0, ln n]; 0 means that all benefit alike. Judged as slice less
    others: 0 means that the slice is as unequal within as the others are.

    Source: Speicher et al., 2018, A Unified Approach to Quantifying Algorithmic Unfairness; AI Fairness 360.
    """
    mean = divide(s["benefit"], s["rows"])
    return divide(s["benefit_log"], s["benefit"]) - np.log(np.where(mean > 0, mean, np.nan))


def mean_score(s: Sums) -> FloatArray:
    """Mean predicted probability.

    sum of scores / n, in [0, 1]. Judged as slice less others: 0 means that no threshold is needed to say that
    groups are treated alike on average.

    Source: Fairlearn, mean_prediction.
    """
    return divide(s["predicted"], s["rows"])


def calibration_in_the_large(s: Sums) -> FloatArray:
    """Mean predicted probability less the share of positives.

    sum(score - actual) / n, in [-1, 1]; 0 means calibrated on average, above 0 too much predicted. Judged as
    slice less others: 0 means that no group is over-predicted more than another.

    Source: Kleinberg, Mullainathan, Raghavan, 2016, Inherent Trade-Offs in the Fair Determination of Risk
    Scores.
    """
    return divide(s["predicted"] - s["actual"], s["rows"])


_CLASSES = ("classification",)

BENEFITS: tuple[Measure, ...] = (
    define(
        generalized_entropy,
        "Generalised entropy of benefits",
        ROWS,
        BENEFIT,
        BENEFIT_SQUARE,
        stage="post",
        tasks=_CLASSES,
        compare="difference",
        better=False,
        aliases=("GE",),
        needs=("decision",),
    ),
    define(
        theil_index,
        "Theil index of benefits",
        ROWS,
        BENEFIT,
        BENEFIT_LOG,
        stage="post",
        tasks=_CLASSES,
        compare="difference",
        better=False,
        needs=("decision",),
    ),
    define(
        mean_score,
        "Mean score",
        ROWS,
        SCORE,
        stage="post",
        tasks=_CLASSES,
        compare="difference",
        aliases=("mean_prediction",),
        needs=("score",),
    ),
    define(
        calibration_in_the_large,
        "Mean score less share of positives",
        ROWS,
        SCORE,
        ACTUAL,
        stage="post",
        tasks=_CLASSES,
        compare="difference",
        needs=("score",),
    ),
)
