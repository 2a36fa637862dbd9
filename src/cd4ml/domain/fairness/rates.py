"""Measures of bias on decisions: rates of the confusion table, and how they differ between groups.

`tp`, `fp`, `fn` and `tn` are counts of true and false positives and negatives in a group, n their sum. Where
Clarify subtracts the disadvantaged group from the advantaged one (or the other way), here it is always slice
less others, so that signs need no table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.measure import Compare, Measure, Sums, define, divide
from cd4ml.domain.fairness.terms import CONFUSION

__all__ = [
    "RATES",
    "accuracy",
    "average_odds",
    "balanced_accuracy",
    "conditional_acceptance",
    "conditional_rejection",
    "equalized_odds",
    "error_rate",
    "f1",
    "false_discovery_rate",
    "false_negative_rate",
    "false_omission_rate",
    "false_positive_rate",
    "negative_predictive_value",
    "precision",
    "predicted_positive_share",
    "selection_rate",
    "selection_rate_difference",
    "treatment_equality",
    "true_negative_rate",
    "true_positive_rate",
]


def _rows(s: Sums) -> FloatArray:
    return s["tp"] + s["fp"] + s["fn"] + s["tn"]


def selection_rate(s: Sums) -> FloatArray:
    """Share of the rows that are called positive.

    (tp + fp) / n, in [0, 1]; 0 means that nobody is called. Judged as slice / others (disparate impact): 1
    means equal treatment, and below 0.8 is the four-fifths rule's evidence of adverse impact.

    Source: US Equal Employment Opportunity Commission, 1978, Uniform Guidelines on Employee Selection
    Procedures, 29 CFR 1607.4 D; Feldman et al., 2015, Certifying and Removing Disparate Impact.
    """
    return divide(s["tp"] + s["fp"], _rows(s))


def selection_rate_difference(own: Sums, other: Sums) -> FloatArray:
    """Difference of the selection rates (statistical parity, DPPL).

    (tp + fp) / n of the slice less that of the others, in [-1, 1]; 0 means demographic parity, below 0 that
    the slice is called positive less often.

    Source: Dwork et al., 2012, Fairness Through Awareness; Clarify, Difference in Positive Proportions in
    Predicted Labels.
    """
    return selection_rate(own) - selection_rate(other)


def true_positive_rate(s: Sums) -> FloatArray:
    """Share of the positives that are called so (recall, sensitivity).

    tp / (tp + fn), in [0, 1]. Judged as slice less others (recall difference, RD): 0 means equal opportunity.

    Source: Hardt, Price, Srebro, 2016, Equality of Opportunity in Supervised Learning.
    """
    return divide(s["tp"], s["tp"] + s["fn"])


def true_negative_rate(s: Sums) -> FloatArray:
    """Share of the negatives that are called so (specificity).

    tn / (tn + fp), in [0, 1]. Judged as slice less others (specificity difference, SD): 0 means equal.

    Source: Clarify, Specificity Difference; Fairlearn, true_negative_rate.
    """
    return divide(s["tn"], s["tn"] + s["fp"])


def false_positive_rate(s: Sums) -> FloatArray:
    """Share of the negatives that are called positive.

    fp / (fp + tn), in [0, 1]. Judged as slice less others: 0 means predictive equality.

    Source: Corbett-Davies et al., 2017, Algorithmic Decision Making and the Cost of Fairness; Aequitas, fpr.
    """
    return divide(s["fp"], s["fp"] + s["tn"])


def false_negative_rate(s: Sums) -> FloatArray:
    """Share of the positives that are called negative.

    fn / (fn + tp), in [0, 1]. Judged as slice less others: 0 means equal.

    Source: Chouldechova, 2017, Fair Prediction with Disparate Impact; Aequitas, fnr.
    """
    return divide(s["fn"], s["fn"] + s["tp"])


def precision(s: Sums) -> FloatArray:
    """Share of the rows called positive that are (positive predictive value).

    tp / (tp + fp), in [0, 1], undefined where nothing is called. Judged as slice less others (difference in
    acceptance rates, DAR): 0 means predictive parity.

    Source: Chouldechova, 2017, Fair Prediction with Disparate Impact; Clarify, DAR.
    """
    return divide(s["tp"], s["tp"] + s["fp"])


def negative_predictive_value(s: Sums) -> FloatArray:
    """Share of the rows called negative that are.

    tn / (tn + fn), in [0, 1]. Judged as slice less others (difference in rejection rates, DRR): 0 means
    equal.

    Source: Clarify, Difference in Rejection Rates; Aequitas, npv.
    """
    return divide(s["tn"], s["tn"] + s["fn"])


def false_discovery_rate(s: Sums) -> FloatArray:
    """Share of the rows called positive that are not.

    fp / (fp + tp), in [0, 1]. Judged as slice less others: 0 means equal.

    Source: Saleiro et al., 2018, Aequitas, fdr.
    """
    return divide(s["fp"], s["fp"] + s["tp"])


def false_omission_rate(s: Sums) -> FloatArray:
    """Share of the rows called negative that are positive.

    fn / (fn + tn), in [0, 1]. Judged as slice less others: 0 means equal.

    Source: Saleiro et al., 2018, Aequitas, for.
    """
    return divide(s["fn"], s["fn"] + s["tn"])


def accuracy(s: Sums) -> FloatArray:
    """Share of the rows called right.

    (tp + tn) / n, in [0, 1]. Judged as slice less others (accuracy difference, AD): 0 means equal.

    Source: Berk et al., 2018, Fairness in Criminal Justice Risk Assessments (overall accuracy equality);
    Clarify, Accuracy Difference.
    """
    return divide(s["tp"] + s["tn"], _rows(s))


def error_rate(s: Sums) -> FloatArray:
    """Share of the rows called wrong (zero-one loss).

    (fp + fn) / n, in [0, 1]; 0 means no error. Judged as slice / others: 1 means equal.

    Source: Fairlearn, zero_one_loss.
    """
    return divide(s["fp"] + s["fn"], _rows(s))


def balanced_accuracy(s: Sums) -> FloatArray:
    """Mean of the true positive and the true negative rate.

    (tp / (tp + fn) + tn / (tn + fp)) / 2, in [0, 1]; 0.5 is chance. Judged as slice less others: 0 means
    equal.

    Source: Brodersen et al., 2010, The Balanced Accuracy and Its Posterior Distribution; Fairlearn.
    """
    return (true_positive_rate(s) + true_negative_rate(s)) / 2


def f1(s: Sums) -> FloatArray:
    """Harmonic mean of precision and recall.

    2 tp / (2 tp + fp + fn), in [0, 1]. Judged as slice less others: 0 means equal.

    Source: van Rijsbergen, 1979, Information Retrieval; Fairlearn, f1_score.
    """
    return divide(2 * s["tp"], 2 * s["tp"] + s["fp"] + s["fn"])


def equalized_odds(own: Sums, other: Sums) -> FloatArray:
    """Larger of the gaps of the true and the false positive rate.

    max(|difference of tp / (tp + fn)|, |difference of fp / (fp + tn)|), in [0, 1]; 0 means equalised odds.

    Source: Hardt, Price, Srebro, 2016, Equality of Opportunity in Supervised Learning; Fairlearn,
    equalized_odds_difference.
    """
    hits = true_positive_rate(own) - true_positive_rate(other)
    misses = false_positive_rate(own) - false_positive_rate(other)
    return np.maximum(np.abs(hits), np.abs(misses))


def average_odds(own: Sums, other: Sums) -> FloatArray:
    """Mean of the gaps of the true and the false positive rate.

    (|difference of tp / (tp + fn)| + |difference of fp / (fp + tn)|) / 2, in [0, 1]; 0 means equalised odds.

    Source: Bellamy et al., 2018, AI Fairness 360, average_abs_odds_difference; Fairlearn,
    equalized_odds_difference(agg="mean").
    """
    hits = true_positive_rate(own) - true_positive_rate(other)
    misses = false_positive_rate(own) - false_positive_rate(other)
    return (np.abs(hits) + np.abs(misses)) / 2


def conditional_acceptance(s: Sums) -> FloatArray:
    """Positives over rows called positive.

    (tp + fn) / (tp + fp), in [0, inf); 1 means as many called as there are, above 1 that too few are. Judged
    as slice less others (difference in conditional acceptance, DCA): 0 means equal.

    Source: Clarify, Difference in Conditional Acceptance (DCAcc).
    """
    return divide(s["tp"] + s["fn"], s["tp"] + s["fp"])


def conditional_rejection(s: Sums) -> FloatArray:
    """Negatives over rows called negative.

    (tn + fp) / (tn + fn), in [0, inf); 1 means as many called as there are, below 1 that too many are
    rejected. Judged as slice less others (difference in conditional rejection, DCR): 0 means equal.

    Source: Clarify, Difference in Conditional Rejection.
    """
    return divide(s["tn"] + s["fp"], s["tn"] + s["fn"])


def treatment_equality(s: Sums) -> FloatArray:
    """False negatives over false positives.

    fn / fp, in [0, inf), undefined without a false positive. Judged as slice less others (TE): 0 means equal.

    Source: Berk et al., 2018, Fairness in Criminal Justice Risk Assessments; Clarify, Treatment Equality.
    """
    return divide(s["fn"], s["fp"])


def predicted_positive_share(own: Sums, other: Sums) -> FloatArray:
    """Share of all rows called positive that the slice holds (predicted positive rate).

    (tp + fp) of the slice / (tp + fp) of both, in [0, 1]; 0 means that none of those called is of the slice.
    It grows with the slice, hence it is shown and not judged.

    Source: Saleiro et al., 2018, Aequitas, ppr.
    """
    here = own["tp"] + own["fp"]
    return divide(here, here + other["tp"] + other["fp"])


def _rate(
    function: Callable[..., FloatArray],
    label: str,
    compare: Compare = "difference",
    **more: Any,
) -> Measure:
    return define(
        function,
        label,
        *CONFUSION,
        stage="post",
        tasks=("classification",),
        compare=compare,
        needs=("decision",),
        **more,
    )


RATES: tuple[Measure, ...] = (
    _rate(
        selection_rate,
        "Selection rate",
        "rate_ratio",
        aliases=("DI", "disparate_impact", "demographic_parity_ratio", "pprev"),
    ),
    _rate(
        selection_rate_difference,
        "Difference of selection rates",
        pair=True,
        shown=selection_rate,
        aliases=("DPPL", "demographic_parity_difference", "statistical_parity_difference"),
    ),
    _rate(
        true_positive_rate,
        "True positive rate",
        better=True,
        aliases=("RD", "tpr", "recall", "equal_opportunity"),
    ),
    _rate(true_negative_rate, "True negative rate", better=True, aliases=("SD", "tnr", "specificity")),
    _rate(false_positive_rate, "False positive rate", better=False, aliases=("fpr", "predictive_equality")),
    _rate(false_negative_rate, "False negative rate", better=False, aliases=("fnr",)),
    _rate(precision, "Precision", better=True, aliases=("DAR", "ppv", "predictive_parity")),
    _rate(negative_predictive_value, "Negative predictive value", better=True, aliases=("DRR", "npv")),
    _rate(false_discovery_rate, "False discovery rate", better=False, aliases=("fdr",)),
    _rate(false_omission_rate, "False omission rate", better=False, aliases=("for",)),
    _rate(accuracy, "Accuracy", better=True, aliases=("AD",)),
    _rate(error_rate, "Error rate", "error_ratio", better=False, aliases=("zero_one_loss",)),
    _rate(balanced_accuracy, "Balanced accuracy", better=True),
    _rate(f1, "F1 score", better=True, aliases=("f1_score",)),
    _rate(
        equalized_odds,
        "Equalised odds gap",
        "distance",
        pair=True,
        aliases=("equalized_odds_difference",),
    ),
    _rate(
        average_odds,
        "Average odds gap",
        "distance",
        pair=True,
        aliases=("average_abs_odds_difference",),
    ),
    _rate(conditional_acceptance, "Conditional acceptance", aliases=("DCA", "DCAcc")),
    _rate(conditional_rejection, "Conditional rejection", aliases=("DCR",)),
    _rate(treatment_equality, "Treatment equality", aliases=("TE",)),
    _rate(
        predicted_positive_share,
        "Share of those called positive",
        pair=True,
        judged=False,
        aliases=("ppr",),
    ),
)
