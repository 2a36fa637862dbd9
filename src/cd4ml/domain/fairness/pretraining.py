"""Measures of bias on the data before a model is trained: who is in it, and with which targets.

Rows without a label count as missing and for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cd4ml.domain import distances
from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.distances_between import (
    ks_distance,
    pooled_deviation,
    wasserstein_distance,
    where_both,
)
from cd4ml.domain.fairness.measure import Compare, Measure, Sums, Term, define, divide
from cd4ml.domain.fairness.terms import (
    ACTUAL,
    AGE,
    AGE_CENTRED,
    AGE_CENTRED_SQUARE,
    LABELLED,
    NEGATIVE_LABELS,
    POSITIVE_LABELS,
    ROWS,
    TARGET_BIN_ROWS,
    TARGET_BIN_SUM,
    TARGET_CENTRED,
    TARGET_CENTRED_SQUARE,
)

__all__ = [
    "PRETRAINING",
    "class_imbalance",
    "label_kl",
    "label_lp",
    "label_tvd",
    "missing_label_rate",
    "positive_label_rate",
    "recency",
    "target_js",
    "target_ks",
    "target_mean_difference",
    "target_wasserstein",
]


def _count(s: Sums) -> FloatArray:
    return s["rows"]


def class_imbalance(own: Sums, other: Sums) -> FloatArray:
    """Whether the slice is represented as the others are (class imbalance, CI).

    (n_slice - n_others) / (n_slice + n_others), in [-1, 1]; 0 means as many rows, -1 none in the slice, and
    (1 + CI) / 2 is its share. Many true populations are uneven, hence it is shown and not judged.

    Source: Clarify, Class Imbalance.
    """
    return divide(own["rows"] - other["rows"], own["rows"] + other["rows"])


def missing_label_rate(s: Sums) -> FloatArray:
    """Share of the rows that have no label.

    1 - labelled / n, in [0, 1]. Judged as slice less others: 0 means that labels are missing equally often.

    Source: Goel et al., 2021, The Importance of Modeling Data Missingness in Algorithmic Fairness; Kallus,
    Zhou, 2018, Residual Unfairness in Fair Machine Learning from Prejudiced Data.
    """
    return 1 - divide(s["labelled"], s["rows"])


def _mean_age(s: Sums) -> FloatArray:
    return divide(s["age"], s["rows"])


def recency(own: Sums, other: Sums) -> FloatArray:
    """Difference of the mean age of the rows, in standard deviations.

    (mean age of the slice - of the others) / s, with s the standard deviation within the groups; 0 means data
    of the same age, above 0 that those of the slice are older. Each group alone is shown in days. In practice
    within [-3, 3].

    Source: Gebru et al., 2021, Datasheets for Datasets (the time frame of a collection); Cohen, 1988,
    Statistical Power Analysis (the scale).
    """
    spread = pooled_deviation(own, other, "rows", "age_centred", "age_centred_square")
    return (_mean_age(own) - _mean_age(other)) / spread


def positive_label_rate(s: Sums) -> FloatArray:
    """Share of the labels that are positive (prevalence).

    n1 / (n0 + n1), in [0, 1]. Judged as slice less others (difference in proportions of labels, DPL): 0 means
    that positive labels are equally frequent.

    Source: Clarify, Difference in Proportions of Labels; Aequitas, prev.
    """
    return divide(s["positive_labels"], s["positive_labels"] + s["negative_labels"])


def _labels(s: Sums) -> FloatArray:
    """Return the counts of negative and positive labels, (..., 2)."""
    return np.asarray(np.stack([s["negative_labels"], s["positive_labels"]], axis=-1), dtype=np.float64)


def _shares(own: Sums, other: Sums) -> tuple[FloatArray, FloatArray]:
    p, q = (divide(counts, counts.sum(axis=-1, keepdims=True)) for counts in (_labels(own), _labels(other)))
    return p, q


def label_kl(own: Sums, other: Sums) -> FloatArray:
    """Kullback-Leibler divergence of the labels of the others from those of the slice.

    sum over labels of P_slice ln(P_slice / P_others) in nats, in [0, inf); 0 means equal. Undefined where the
    others lack a label that the slice has.

    Source: Kullback, Leibler, 1951, On Information and Sufficiency; Clarify, KL.
    """
    p, q = _shares(own, other)
    ratio = np.where(p > 0, divide(p, q), 1.0)
    terms = np.where(np.isnan(p) | np.isnan(q), np.nan, p * np.log(ratio))
    return np.asarray(np.maximum(terms.sum(axis=-1), 0.0))


def label_lp(own: Sums, other: Sums) -> FloatArray:
    """Euclidean distance of the shares of the labels (LP, p = 2).

    sqrt(sum over labels of (P_slice - P_others)^2), in [0, sqrt 2]; 0 means equal.

    Source: Clarify, Lp-norm.
    """
    p, q = _shares(own, other)
    return np.asarray(np.sqrt(((p - q) ** 2).sum(axis=-1)))


def label_tvd(own: Sums, other: Sums) -> FloatArray:
    """Total variation distance of the labels (TVD).

    sum over labels of |P_slice - P_others| / 2, in [0, 1]; 0 means equal.

    Source: Clarify, Total Variation Distance.
    """
    p, q = _shares(own, other)
    return np.asarray(np.abs(p - q).sum(axis=-1) / 2)


def target_js(own: Sums, other: Sums) -> FloatArray:
    """Jensen-Shannon divergence of the targets (JS).

    (KL(P_slice, M) + KL(P_others, M)) / 2 with M their mean, in nats, in [0, ln 2]; 0 means equal. Of labels,
    or of 50 bins of equal mass for a number with more distinct values than that.

    Source: Lin, 1991, Divergence Measures Based on the Shannon Entropy; Clarify, JS.
    """
    bits = where_both(distances.jensen_shannon, own["target_bin_rows"], other["target_bin_rows"])
    return np.asarray(bits * np.log(2.0))


def target_ks(own: Sums, other: Sums) -> FloatArray:
    """Largest gap of the distribution functions of the targets (KS).

    sup over z of |F_slice(z) - F_others(z)|, in [0, 1]; 0 means equal. Of two labels it is the largest
    difference of their shares; a number with more than 50 distinct values is taken at 50 quantiles.

    Source: Kolmogorov, 1933; Smirnov, 1939; Clarify, Kolmogorov-Smirnov.
    """
    return ks_distance(own["target_bin_rows"], other["target_bin_rows"])


def _target_deviation(own: Sums, other: Sums) -> FloatArray:
    return pooled_deviation(own, other, "labelled", "target_centred", "target_centred_square")


def _mean_target(s: Sums) -> FloatArray:
    return divide(s["actual"], s["labelled"])


def target_mean_difference(own: Sums, other: Sums) -> FloatArray:
    """Difference of the mean targets, in standard deviations (Cohen's d).

    (mean target of the slice - of the others) / s, with s the standard deviation within the groups; 0 means
    equal means, 0.2 is small by custom. Each group alone is shown in units of the target. In practice within
    [-3, 3].

    Source: Cohen, 1988, Statistical Power Analysis for the Behavioral Sciences.
    """
    means = [divide(s["target_centred"], s["labelled"]) for s in (own, other)]
    return (means[0] - means[1]) / _target_deviation(own, other)


def target_wasserstein(own: Sums, other: Sums) -> FloatArray:
    """Mean distance by which targets must be moved to make the groups alike, in standard deviations.

    integral of |F_slice - F_others| / s, with s the standard deviation of the target within the groups; in
    [0, inf), and never below the size of the difference of means. 0 means equal.

    Source: Vallender, 1974, Calculation of the Wasserstein Distance Between Probability Distributions on the
    Line.
    """
    names = ("target_bin_rows", "target_bin_sum")
    distance = wasserstein_distance(own[names[0]], other[names[0]], own[names[1]], other[names[1]])
    return distance / _target_deviation(own, other)


_BOTH = ("classification", "regression")
_LABELS = (POSITIVE_LABELS, NEGATIVE_LABELS)
_SPREAD = (LABELLED, TARGET_CENTRED, TARGET_CENTRED_SQUARE)


def _before(
    function: Callable[..., FloatArray], label: str, compare: Compare, *terms: Term, **more: Any
) -> Measure:
    keywords = {"tasks": _BOTH} | more
    return define(function, label, *terms, stage="pre", compare=compare, **keywords)


def _labelled(
    function: Callable[..., FloatArray], label: str, compare: Compare, alias: str, pair: bool = True
) -> Measure:
    return _before(function, label, compare, *_LABELS, pair=pair, tasks=("classification",), aliases=(alias,))


PRETRAINING: tuple[Measure, ...] = (
    _before(
        class_imbalance,
        "Representation",
        "difference",
        ROWS,
        pair=True,
        shown=_count,
        aliases=("CI", "representation"),
        judged=False,
    ),
    _before(missing_label_rate, "Missing labels", "difference", LABELLED, ROWS, better=False),
    _before(
        recency,
        "Age of the data",
        "difference",
        ROWS,
        AGE,
        AGE_CENTRED,
        AGE_CENTRED_SQUARE,
        pair=True,
        shown=_mean_age,
        needs=("age",),
        better=False,
    ),
    _labelled(positive_label_rate, "Share of positive labels", "difference", "DPL", pair=False),
    _labelled(label_kl, "Kullback-Leibler divergence of labels", "distance", "KL"),
    _before(
        target_js,
        "Jensen-Shannon divergence of targets",
        "distance",
        TARGET_BIN_ROWS,
        pair=True,
        aliases=("JS",),
    ),
    _labelled(label_lp, "Euclidean distance of labels", "distance", "LP"),
    _labelled(label_tvd, "Total variation distance of labels", "distance", "TVD"),
    _before(
        target_ks,
        "Gap of the distributions of targets",
        "distance",
        TARGET_BIN_ROWS,
        pair=True,
        aliases=("KS",),
    ),
    _before(
        target_mean_difference,
        "Difference of the mean target",
        "difference",
        ACTUAL,
        *_SPREAD,
        pair=True,
        shown=_mean_target,
        tasks=("regression",),
    ),
    _before(
        target_wasserstein,
        "Distance of the distributions of targets",
        "distance",
        TARGET_BIN_ROWS,
        TARGET_BIN_SUM,
        *_SPREAD,
        pair=True,
        tasks=("regression",),
    ),
)
