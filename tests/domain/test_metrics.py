"""Metrics equal scikit-learn's where it has them, and their improvements mean what they say."""

import time

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.bootstrap import Interval
from cd4ml.domain.metrics import METRICS, clip_count, improvement, score, score_by

REGRESSION = [name for name, spec in METRICS.items() if spec.task == "regression" and name != "pinball"]
CLASSIFICATION = [name for name, spec in METRICS.items() if spec.task == "classification"]

THEIRS = {
    "rmsle": sk.root_mean_squared_log_error,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "r2": sk.r2_score,
    "roc_auc": sk.roc_auc_score,
    "pr_auc": sk.average_precision_score,
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
}
THEIRS_CALLED = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
}


def _forecast(n=500, seed=0):
    rng = np.random.default_rng(seed)
    actual = rng.poisson(6, n).astype(float)
    return actual, np.maximum(actual + rng.normal(0.4, 2, n), 0)


def _scores(n=800, seed=0, decimals=2):
    rng = np.random.default_rng(seed)
    actual = (rng.random(n) < 0.3).astype(int)
    return actual, np.round(1 / (1 + np.exp(1 - 2 * actual + rng.normal(0, 1.5, n))), decimals)


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_estimates_equal_scikit_learn(name):
    actual, predicted = _scores() if METRICS[name].task == "classification" else _forecast()
    found = score([name], actual, predicted, resamples=100)[name]
    assert found.estimate == pytest.approx(THEIRS[name](actual, predicted), rel=1e-10)


@pytest.mark.parametrize("threshold", [0.3, 0.5])
@pytest.mark.parametrize("name", sorted(THEIRS_CALLED))
def test_estimates_at_a_threshold_equal_scikit_learn(name, threshold):
    actual, p = _scores()
    found = score([name], actual, p, threshold=threshold, resamples=100)[name]
    assert found.estimate == pytest.approx(THEIRS_CALLED[name](actual, p >= threshold), rel=1e-12)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_pinball_equals_scikit_learn(quantile):
    actual, predicted = _forecast()
    found = score(["pinball"], actual, predicted, quantile=quantile, resamples=100)["pinball"]
    assert found.estimate == pytest.approx(sk.mean_pinball_loss(actual, predicted, alpha=quantile))


def test_formulas_that_scikit_learn_lacks_are_those_of_their_docstrings():
    actual, predicted = _forecast()
    weight = np.where(np.arange(500) % 3 == 0, 1.25, 1.0)
    found = score(
        ["nwrmsle", "wape", "bias", "relative_bias"], actual, predicted, weight=weight, resamples=100
    )
    squares = (np.log1p(predicted) - np.log1p(actual)) ** 2
    assert found["nwrmsle"].estimate == pytest.approx(np.sqrt((weight * squares).sum() / weight.sum()))
    assert found["wape"].estimate == pytest.approx(np.abs(predicted - actual).sum() / actual.sum())
    assert found["bias"].estimate == pytest.approx((predicted - actual).mean())
    assert found["relative_bias"].estimate == pytest.approx(predicted.sum() / actual.sum() - 1)


def test_nwrmsle_without_weights_is_rmsle():
    found = score(["nwrmsle", "rmsle"], *_forecast(), resamples=100)
    assert found["nwrmsle"] == found["rmsle"]


def test_weights_reach_nwrmsle_alone():
    actual, predicted = _forecast()
    weight = np.linspace(0, 1, 500)
    plain = score(["nwrmsle", "wape"], actual, predicted, resamples=100)
    weighted = score(["nwrmsle", "wape"], actual, predicted, weight=weight, resamples=100)
    assert weighted["wape"] == plain["wape"]
    assert weighted["nwrmsle"].estimate != plain["nwrmsle"].estimate


def test_calibration_error_is_the_mass_weighted_gap_of_equal_mass_bins():
    p = np.repeat([0.1, 0.4, 0.8], 10)
    actual = np.r_[[1] * 1 + [0] * 9, [1] * 6 + [0] * 4, [1] * 5 + [0] * 5]
    found = score(["calibration_error"], actual, p, resamples=100)["calibration_error"]
    assert found.estimate == pytest.approx((0.0 + 0.2 + 0.3) / 3)


def test_the_interval_of_a_calibration_error_allows_for_its_upward_bias():
    rng = np.random.default_rng(0)
    p = rng.random(2000)
    calibrated = score(["calibration_error"], rng.random(2000) < p, p)["calibration_error"]
    assert 0 <= calibrated.low < calibrated.estimate / 3
    pushed = score(["calibration_error"], rng.random(2000) < p**2, p)["calibration_error"]
    assert pushed.low > 0.1
    assert pushed.low < 1 / 6 < pushed.high


def test_the_low_end_of_a_calibration_error_is_cut_at_0():
    rng = np.random.default_rng(0)
    p = rng.random(60)
    found = score(["calibration_error"], rng.random(60) < p, p, cluster=np.arange(60) % 3)
    assert found["calibration_error"].low == 0


def test_precision_is_0_when_nothing_is_called_positive_and_f1_too():
    found = score(["precision", "f1"], [0, 1, 0, 1], [0.1, 0.2, 0.1, 0.2], resamples=100)
    assert found["precision"].estimate == 0
    assert found["f1"].estimate == 0


def test_r2_keeps_its_digits_far_from_zero():
    actual, predicted = _forecast()
    near, far = (score(["r2"], actual + c, predicted + c, resamples=100)["r2"] for c in (0.0, 1e7))
    assert far.estimate == pytest.approx(near.estimate, rel=1e-6)
    assert far.low == pytest.approx(near.low, rel=1e-6)


@pytest.mark.parametrize("name", REGRESSION)
def test_a_perfect_forecast_scores_the_best_value(name):
    actual, _ = _forecast()
    found = score([name], actual, actual, resamples=100)[name]
    assert found == Interval(METRICS[name].best, METRICS[name].best, METRICS[name].best)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_a_perfect_classifier_scores_the_best_value(name):
    actual, _ = _scores()
    found = score([name], actual, actual, resamples=100)[name]
    assert found.estimate == pytest.approx(METRICS[name].best, abs=1e-12)


def test_negative_predictions_are_clipped_for_logarithms_alone_and_counted():
    actual, predicted = np.array([1.0, 2.0, 3.0, 0.0]), np.array([-5.0, 2.0, 3.0, -0.1])
    found = score(["rmsle", "mae"], actual, predicted, resamples=100)
    assert found["rmsle"].estimate == pytest.approx(np.log(2) / 2)
    assert found["mae"].estimate == pytest.approx((6 + 0.1) / 4)
    assert clip_count(predicted, ["rmsle", "mae"]) == 2
    assert clip_count(predicted, ["mae"]) == 0


def test_the_table_of_metrics_is_sorted_and_described():
    assert list(METRICS) == sorted(METRICS)
    assert all(spec.description and "\n" not in spec.description for spec in METRICS.values())
    assert all(name == spec.name == name.lower() for name, spec in METRICS.items())


@pytest.mark.parametrize("name", REGRESSION)
def test_improvement_over_itself_is_0_without_width(name):
    actual, predicted = _forecast()
    found = improvement(name, actual, predicted, predicted, resamples=100)
    assert found == Interval(0, 0, 0)


def test_improvement_is_the_share_of_the_error_or_of_the_gap_that_is_gone():
    actual, reference = np.full(100, 10.0), np.full(100, 14.0)
    assert improvement("mae", actual, np.full(100, 11.0), reference, resamples=100).estimate == 0.75
    assert improvement("bias", actual, np.full(100, 9.0), reference, resamples=100).estimate == 0.75
    y, theirs, ours = np.arange(100) % 2, np.full(100, 1.0), np.full(100, 1.0)
    ours[:50:2] = 0.0  # half of the negatives put right: accuracy 0.5 -> 0.75
    assert improvement("accuracy", y, ours, theirs, resamples=100).estimate == pytest.approx(0.5)
    assert improvement("accuracy", y, theirs, ours, resamples=100).estimate == pytest.approx(-1.0)


def test_improvement_is_paired_so_that_shared_shocks_cancel():
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(30), 20)
    actual = 50 + rng.normal(0, 10, 30)[day] + rng.normal(0, 1, day.size)
    reference = np.full(day.size, 50.0)
    ours = 50 + 0.1 * (actual - 50)
    found = improvement("mae", actual, ours, reference, cluster=day)
    assert found.estimate == pytest.approx(0.1)
    assert found.high - found.low < 1e-9
    lone = score(["mae"], actual, reference, cluster=day)["mae"]
    assert (lone.high - lone.low) / lone.estimate > 0.2


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc", "calibration_error"])
def test_improvement_works_for_what_is_not_a_plain_sum(name):
    actual, p = _scores(decimals=8)
    worse = np.clip(p + np.random.default_rng(1).normal(0.1, 0.3, p.size), 0, 1)
    found = improvement(name, actual, p, worse, resamples=200)
    assert found.low > 0


def test_slices_score_as_their_rows_alone_do():
    actual, p = _scores(decimals=6)
    slices, day = np.arange(800) % 5 - 1, np.arange(800) // 20
    found = score_by(slices, CLASSIFICATION, actual, p, cluster=day, resamples=100)
    assert list(found) == [0, 1, 2, 3]
    for code, values in found.items():
        rows = slices == code
        alone = score(CLASSIFICATION, actual[rows], p[rows], cluster=day[rows], resamples=100)
        assert values["n"] == rows.sum()
        assert values["clusters"] == np.unique(day[rows]).size
        for name in CLASSIFICATION:
            assert values[name].estimate == pytest.approx(alone[name].estimate, rel=1e-9)
            width = alone[name].high - alone[name].low
            assert values[name].high - values[name].low == pytest.approx(width, rel=0.6)


def test_a_slice_without_a_value_has_none_and_the_others_keep_theirs():
    actual, p = np.r_[np.zeros(50), np.arange(50) % 2], np.random.default_rng(0).random(100)
    found = score_by(np.arange(100) // 50, ["roc_auc", "brier"], actual, p, resamples=100)
    assert found[0]["roc_auc"] is None
    assert found[0]["brier"].low is not None
    assert found[1]["roc_auc"].low is not None


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(0, 10_000))
def test_areas_equal_scikit_learn_with_ties_of_any_kind(n, seed):
    rng = np.random.default_rng(seed)
    actual, p = np.r_[0, 1, rng.integers(0, 2, n)], rng.integers(0, 4, n + 2) / 4
    found = score(["roc_auc", "pr_auc"], actual, p, resamples=100)
    assert found["roc_auc"].estimate == pytest.approx(sk.roc_auc_score(actual, p), abs=1e-12)
    assert found["pr_auc"].estimate == pytest.approx(sk.average_precision_score(actual, p), abs=1e-12)


def test_a_hundred_thousand_rows_take_well_under_a_second():
    rng = np.random.default_rng(0)
    actual = rng.poisson(5, 100_000).astype(float)
    predicted, day = actual + rng.normal(size=actual.size), rng.integers(0, 365, actual.size)
    start = time.process_time()
    score(["nwrmsle", "rmsle", "rmse", "mae", "wape", "bias"], actual, predicted, cluster=day)
    assert time.process_time() - start < 0.5
