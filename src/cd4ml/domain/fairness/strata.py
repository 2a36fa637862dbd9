"""Comparisons of like with like: within a stratum, averaged over strata."""

from __future__ import annotations

import numpy as np

from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.distances_between import pooled_deviation
from cd4ml.domain.fairness.measure import Measure, Sums, define, divide
from cd4ml.domain.fairness.terms import (
    ACCEPTED_BY_STRATUM,
    CALLED_BY_STRATUM,
    CONFUSION,
    LABELLED,
    NEGATIVE_LABELS,
    PASSED_BY_STRATUM,
    POSITIVE_LABELS,
    REJECTED_BY_STRATUM,
    TARGET_BY_STRATUM,
    TARGET_CENTRED,
    TARGET_CENTRED_SQUARE,
    TARGET_ROWS_BY_STRATUM,
)

__all__ = [
    "STRATIFIED",
    "conditional_demographic_disparity",
    "conditional_label_disparity",
    "conditional_target_difference",
    "demographic_disparity",
    "label_disparity",
]


def _disparity(
    own_accepted: FloatArray, own_rejected: FloatArray, accepted: FloatArray, rejected: FloatArray
) -> FloatArray:
    """Return the mean of the strata's disparities (..., strata), weighted by their rows."""
    value = divide(own_rejected, rejected) - divide(own_accepted, accepted)
    weight = np.where(np.isnan(value), 0.0, accepted + rejected)
    return divide((np.nan_to_num(value) * weight).sum(axis=-1), weight.sum(axis=-1))


def _of_strata(own: Sums, other: Sums, accepted: str, rejected: str) -> FloatArray:
    return _disparity(
        own[accepted], own[rejected], own[accepted] + other[accepted], own[rejected] + other[rejected]
    )


def label_disparity(own: Sums, other: Sums) -> FloatArray:
    """Share of the rejected that the slice holds, less its share of the accepted (demographic disparity).

    n0_slice / n0 - n1_slice / n1 with n0 negative and n1 positive labels, in [-1, 1]; 0 means that it has its
    share of both, above 0 that it is rejected more. Undefined where all have one label.

    Source: Wachter, Mittelstadt, Russell, 2021, Why Fairness Cannot Be Automated; Clarify, DD.
    """
    keys = ("positive_labels", "negative_labels")
    columns = [{key: s[key][..., None] for key in keys} for s in (own, other)]
    return _of_strata(columns[0], columns[1], *keys)


def conditional_label_disparity(own: Sums, other: Sums) -> FloatArray:
    """Demographic disparity of the labels within strata (CDDL).

    sum over strata i of n_i DD_i / n, with DD_i the disparity of stratum i; in [-1, 1]. 0 means that the
    strata explain who is rejected. A stratum in which all have one label says nothing and is left out.

    Source: Wachter, Mittelstadt, Russell, 2021, Why Fairness Cannot Be Automated; Clarify, Conditional
    Demographic Disparity in Labels (which takes a share of none for 0).
    """
    return _of_strata(own, other, "accepted_by_stratum", "rejected_by_stratum")


def demographic_disparity(own: Sums, other: Sums) -> FloatArray:
    """Share of those called negative that the slice holds, less its share of those called positive.

    n0_slice / n0 - n1_slice / n1 with n0 rows called negative and n1 called positive, in [-1, 1]; 0 means
    that it has its share of both, above 0 that it is rejected more. Undefined where all are called alike.

    Source: Wachter, Mittelstadt, Russell, 2021, Why Fairness Cannot Be Automated; Clarify, DD.
    """
    columns = []
    for s in (own, other):
        called, passed = s["tp"] + s["fp"], s["tn"] + s["fn"]
        columns.append({"called": called[..., None], "passed": passed[..., None]})
    return _of_strata(columns[0], columns[1], "called", "passed")


def conditional_demographic_disparity(own: Sums, other: Sums) -> FloatArray:
    """Demographic disparity of the decisions within strata (CDDPL).

    sum over strata i of n_i DD_i / n, with DD_i the disparity of stratum i; in [-1, 1]. 0 means that the
    strata explain who is rejected. A stratum in which all are called alike says nothing and is left out.

    Source: Wachter, Mittelstadt, Russell, 2021, Why Fairness Cannot Be Automated; Clarify, Conditional
    Demographic Disparity in Predicted Labels (which takes a share of none for 0).
    """
    return _of_strata(own, other, "called_by_stratum", "passed_by_stratum")


def conditional_target_difference(own: Sums, other: Sums) -> FloatArray:
    """Difference of the mean target within strata, in standard deviations.

    sum over strata i of a_i (mean target of the slice - of the others in i) / sum a_i / s, with a_i the
    slice's rows in i and s the standard deviation of the target within the groups; 0 means that the strata
    explain the difference. A stratum in which either group is missing is left out. In practice within [-3,
    3].

    Source: Cochran, 1968, The Effectiveness of Adjustment by Subclassification; Cohen, 1988 (the scale).
    """
    means = [divide(s["target_by_stratum"], s["target_rows_by_stratum"]) for s in (own, other)]
    gap = means[0] - means[1]
    weight = np.where(np.isnan(gap), 0.0, own["target_rows_by_stratum"])
    mean = divide((np.nan_to_num(gap) * weight).sum(axis=-1), weight.sum(axis=-1))
    return mean / pooled_deviation(own, other, "labelled", "target_centred", "target_centred_square")


STRATIFIED: tuple[Measure, ...] = (
    define(
        label_disparity,
        "Demographic disparity of labels",
        POSITIVE_LABELS,
        NEGATIVE_LABELS,
        stage="pre",
        tasks=("classification",),
        compare="difference",
        pair=True,
        aliases=("DD",),
    ),
    define(
        conditional_label_disparity,
        "Demographic disparity of labels within strata",
        ACCEPTED_BY_STRATUM,
        REJECTED_BY_STRATUM,
        stage="pre",
        tasks=("classification",),
        compare="difference",
        pair=True,
        aliases=("CDDL",),
        needs=("strata",),
    ),
    define(
        demographic_disparity,
        "Demographic disparity of decisions",
        *CONFUSION,
        stage="post",
        tasks=("classification",),
        compare="difference",
        pair=True,
        aliases=("DDPL",),
        needs=("decision",),
    ),
    define(
        conditional_demographic_disparity,
        "Demographic disparity of decisions within strata",
        CALLED_BY_STRATUM,
        PASSED_BY_STRATUM,
        stage="post",
        tasks=("classification",),
        compare="difference",
        pair=True,
        aliases=("CDDPL",),
        needs=("decision", "strata"),
    ),
    define(
        conditional_target_difference,
        "Difference of the mean target within strata",
        TARGET_BY_STRATUM,
        TARGET_ROWS_BY_STRATUM,
        LABELLED,
        TARGET_CENTRED,
        TARGET_CENTRED_SQUARE,
        stage="pre",
        tasks=("regression",),
        compare="difference",
        pair=True,
        needs=("strata",),
    ),
)
