"""A metric that has no value says which rows or what is missing, in one line."""

import numpy as np
import pytest

from cd4ml.domain.metric_rows import name_rows
from cd4ml.domain.metrics import METRICS, improvement, score, score_by
from cd4ml.errors import MetricError, NotFoundError, UsageError


def test_bad_rows_are_counted_and_the_first_are_named():
    predicted = np.ones(100)
    predicted[[3, 17, 20]] = np.nan
    predicted[50:91] = np.inf
    with pytest.raises(MetricError, match=r"rows 3, 17, 20 and 41 more") as caught:
        score(["nwrmsle"], np.ones(100), predicted)
    assert str(caught.value).startswith("nwrmsle: y_pred is NaN or infinite in 44 of 100 rows")
    assert caught.value.exit_code == 4


def test_rows_are_named_in_the_singular_too():
    assert name_rows(np.array([False, True])) == "row 1"
    assert name_rows(np.array([True, True, False, True])) == "rows 0, 1, 3"


@pytest.mark.parametrize(
    ("name", "actual", "predicted", "options", "message"),
    [
        ("mae", [], [], {}, "mae: there are no rows to score"),
        ("wape", [0, 0], [1, 2], {}, "wape: has no finite value over 2 rows, as every y_true is 0"),
        ("relative_bias", [1, -1], [1, 2], {}, "as y_true sums to 0"),
        ("r2", [5, 5], [1, 2], {}, "as every y_true is the same"),
        ("nwrmsle", [1, 2], [1, 2], {"weight": [0, 0]}, "as the weights sum to 0"),
        ("nwrmsle", [1, 2], [1, 2], {"weight": [1, -1]}, r"weight is negative in 1 of 2 rows \(row 1"),
        ("rmsle", [1, -2], [1, 2], {}, "y_true is negative, and has no logarithm"),
        ("roc_auc", [1, 1], [0.1, 0.2], {}, "roc_auc: class 0 is missing from all 2 rows"),
        ("recall", [0, 0], [0.1, 0.2], {}, "recall: class 1 is missing"),
        ("brier", [0, 2], [0.1, 0.2], {}, r"y_true is neither 0 nor 1 in 1 of 2 rows \(row 1"),
        ("brier", [0, 1], [0.1, 1.2], {}, r"y_pred is not a probability within \[0, 1\]"),
        ("mae", ["a"], [1], {}, "y_true must be numbers"),
        ("mae", [None, 1.0], [1, 1], {}, "y_true is NaN or infinite in 1 of 2 rows"),
    ],
)
def test_what_has_no_value_is_refused_with_the_reason(name, actual, predicted, options, message):
    with pytest.raises(MetricError, match=message):
        score([name], actual, predicted, **options)


@pytest.mark.parametrize(
    ("names", "actual", "predicted", "options", "message"),
    [
        (["wap"], [1], [1], {}, "found 'wap'; did you mean 'wape'?"),
        (["mae", "brier"], [1], [1], {}, "one task, found classification and regression"),
        ([], [1], [1], {}, "one task, found no metrics"),
        ("mae", [1], [1], {}, "found the string 'mae'"),
        (["mae"], [1, 2], [1], {}, "y_pred must be as long as y_true; found 1 and 2 rows"),
        (["mae"], [[1, 2]], [1, 2], {}, r"y_true must have one value a row; found shape \(1, 2\)"),
        (["pinball"], [1, 2], [1, 2], {}, "pinball needs quantile= between 0 and 1; found None"),
        (["pinball"], [1, 2], [1, 2], {"quantile": 90}, "found 90"),
    ],
)
def test_impossible_questions_are_refused_as_wrong_use(names, actual, predicted, options, message):
    with pytest.raises(UsageError) as caught:
        score(names, actual, predicted, **options)
    assert message.replace("\\", "") in str(caught.value)


def test_an_unknown_metric_is_a_name_that_nobody_has():
    with pytest.raises(NotFoundError):
        score(["nope"], [1], [1])


def test_improvement_over_a_perfect_reference_is_refused_unless_both_are_perfect():
    actual = np.arange(10.0)
    with pytest.raises(
        MetricError, match=r"perfect reference has no finite value \(reference 0, prediction 1\)"
    ):
        improvement("mae", actual, actual + 1, actual)
    assert improvement("mae", actual, actual, actual).estimate == 0


def test_slices_must_be_integers_one_a_row():
    for groups in ([0.5, 1.5], [1], ["a", "b"]):
        with pytest.raises(UsageError, match="groups must be integers, one a row"):
            score_by(groups, ["mae"], [1, 2], [1, 2])


def test_bad_rows_refuse_the_whole_of_a_score_by_slice():
    with pytest.raises(MetricError, match="row 1"):
        score_by([0, 1], ["mae"], [1, 2], [1, np.nan])


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_refuses_nan(name):
    with pytest.raises(MetricError, match=name):
        score([name], [0.0, 1.0], [np.nan, 1.0], quantile=0.5)
