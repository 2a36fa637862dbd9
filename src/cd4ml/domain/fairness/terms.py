"""The sums that measures of bias need: one value a row each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cd4ml.domain.bootstrap import FloatArray
from cd4ml.domain.fairness.bins import Bins
from cd4ml.domain.fairness.measure import Sample, Term
from cd4ml.domain.metric_rows import Rows
from cd4ml.domain.metric_table import TERMS

__all__ = [
    "ACCEPTED_BY_STRATUM",
    "ACTUAL",
    "AGE",
    "AGE_CENTRED",
    "AGE_CENTRED_SQUARE",
    "BENEFIT",
    "BENEFIT_LOG",
    "BENEFIT_SQUARE",
    "CALLED_BY_STRATUM",
    "CONFUSION",
    "COVERED",
    "LABELLED",
    "NEGATIVE_LABELS",
    "OVER",
    "PASSED_BY_STRATUM",
    "POSITIVE_LABELS",
    "QUANTILE_COVERED",
    "REJECTED_BY_STRATUM",
    "ROWS",
    "SCORE",
    "SCORE_BIN_ROWS",
    "SCORE_BIN_SUM",
    "SCORE_CELL_ROWS",
    "SCORE_CELL_SUM",
    "SCORE_CENTRED",
    "SCORE_CENTRED_SQUARE",
    "TARGET_BIN_ROWS",
    "TARGET_BIN_SUM",
    "TARGET_BY_STRATUM",
    "TARGET_CENTRED",
    "TARGET_CENTRED_SQUARE",
    "TARGET_ROWS_BY_STRATUM",
    "UNDER",
    "of_metric",
    "of_quantile",
]


def of_metric(name: str) -> Term:
    """Return the term of that name of the metrics, taken of the score; NaN where it has no value."""

    def amount(sample: Sample) -> npt.NDArray[np.generic]:
        rows = Rows(sample.y, sample.have("score"), sample.weight)
        with np.errstate(invalid="ignore", divide="ignore"):
            return TERMS[name].values(rows)

    return Term(name, amount)


def of_quantile() -> Term:
    """Return the pinball loss of the predicted quantile."""

    def amount(sample: Sample) -> npt.NDArray[np.generic]:
        rows = Rows(sample.y, sample.have("quantile_score"), quantile=sample.quantile)
        return TERMS["pinball"].values(rows)

    return Term("pinball", amount)


def _known(sample: Sample) -> FloatArray:
    """Return the actual with 0 for missing labels."""
    return np.where(sample.labelled, sample.y, 0.0)


def _centred(values: FloatArray, known: npt.NDArray[np.bool_]) -> FloatArray:
    """Return values less their mean, so that a variance by sums does not cancel; 0 for unknown ones."""
    mean = values[known].mean() if known.any() else 0.0
    return np.where(known, values - mean, 0.0)


def _target(sample: Sample) -> FloatArray:
    return _centred(sample.y, sample.labelled)


def _score(sample: Sample) -> FloatArray:
    score = sample.have("score")
    return _centred(score, np.isfinite(score))


def _age(sample: Sample) -> FloatArray:
    age = sample.have("age")
    return _centred(age, np.isfinite(age))


def _cell(actual: int, called: int) -> Callable[[Sample], npt.NDArray[np.generic]]:
    return lambda s: (s.y == actual) & (s.have("decision") == called)


def _benefit(sample: Sample) -> FloatArray:
    return np.asarray(sample.have("decision") - sample.y + 1.0, dtype=np.float64)


def _strata(sample: Sample) -> Bins:
    codes = np.asarray(sample.have("strata"), dtype=np.int64)
    return Bins(codes, int(codes.max(initial=0)) + 1)


ROWS = Term("rows", lambda s: np.ones(s.y.size))
LABELLED = Term("labelled", lambda s: s.labelled)
ACTUAL = Term("actual", _known)
SCORE = Term("predicted", lambda s: s.have("score"))

CONFUSION = (
    Term("tp", _cell(1, 1)),
    Term("fp", _cell(0, 1)),
    Term("fn", _cell(1, 0)),
    Term("tn", _cell(0, 0)),
)
BENEFIT = Term("benefit", _benefit)
BENEFIT_SQUARE = Term("benefit_square", lambda s: _benefit(s) ** 2)
# A benefit is 0, 1 or 2, and b ln b is 0 at 0.
BENEFIT_LOG = Term("benefit_log", lambda s: _benefit(s) * np.log(np.maximum(_benefit(s), 1.0)))

OVER = Term("over", lambda s: s.have("score") > s.y)
UNDER = Term("under", lambda s: s.have("score") < s.y)
COVERED = Term("covered", lambda s: (s.y >= s.have("low")) & (s.y <= s.have("high")))
QUANTILE_COVERED = Term("quantile_covered", lambda s: s.y <= s.have("quantile_score"))

POSITIVE_LABELS = Term("positive_labels", lambda s: s.y == 1)
NEGATIVE_LABELS = Term("negative_labels", lambda s: s.y == 0)
AGE = Term("age", lambda s: s.have("age"))
AGE_CENTRED = Term("age_centred", _age)
AGE_CENTRED_SQUARE = Term("age_centred_square", lambda s: _age(s) ** 2)

TARGET_CENTRED = Term("target_centred", _target)
TARGET_CENTRED_SQUARE = Term("target_centred_square", lambda s: _target(s) ** 2)
SCORE_CENTRED = Term("score_centred", _score)
SCORE_CENTRED_SQUARE = Term("score_centred_square", lambda s: _score(s) ** 2)

TARGET_BIN_ROWS = Term("target_bin_rows", lambda s: s.labelled, lambda s: s.target_bins)
TARGET_BIN_SUM = Term("target_bin_sum", _target, lambda s: s.target_bins)
SCORE_BIN_ROWS = Term("score_bin_rows", lambda s: np.ones(s.y.size), lambda s: s.score_bins)
SCORE_BIN_SUM = Term("score_bin_sum", _score, lambda s: s.score_bins)
SCORE_CELL_ROWS = Term("score_cell_rows", lambda s: np.ones(s.y.size), lambda s: s.score_cells)
SCORE_CELL_SUM = Term("score_cell_sum", _score, lambda s: s.score_cells)

ACCEPTED_BY_STRATUM = Term("accepted_by_stratum", lambda s: s.y == 1, _strata)
REJECTED_BY_STRATUM = Term("rejected_by_stratum", lambda s: s.y == 0, _strata)
CALLED_BY_STRATUM = Term("called_by_stratum", lambda s: s.have("decision") == 1, _strata)
PASSED_BY_STRATUM = Term("passed_by_stratum", lambda s: s.have("decision") == 0, _strata)
TARGET_ROWS_BY_STRATUM = Term("target_rows_by_stratum", lambda s: s.labelled, _strata)
TARGET_BY_STRATUM = Term("target_by_stratum", _target, _strata)
