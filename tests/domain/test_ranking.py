"""Curves run from end to end, are finite and agree with scikit-learn; resampled areas vary as they should."""

import json

import numpy as np
import pytest
import sklearn.metrics as sk

from cd4ml.domain.bootstrap import resample
from cd4ml.domain.metrics import calibration_curve, confusion, pr_curve, roc_curve
from cd4ml.domain.ranking import equal_mass_bins, replicate_area


def _scores(n=5000, seed=0):
    rng = np.random.default_rng(seed)
    actual = (rng.random(n) < 0.2).astype(float)
    return actual, 1 / (1 + np.exp(2 - 2 * actual + rng.normal(0, 1, n)))


def test_confusion_counts_what_scikit_learn_counts():
    actual, p = _scores()
    tn, fp, fn, tp = sk.confusion_matrix(actual, p >= 0.4).ravel()
    assert confusion(actual, p, 0.4) == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}


def test_a_probability_at_the_threshold_is_called_positive():
    assert confusion([0, 1], [0.5, 0.5])["tp"] == 1


def test_the_roc_curve_runs_from_corner_to_corner_and_keeps_the_area():
    actual, p = _scores()
    curve = roc_curve(actual, p, points=200)
    false_rate, true_rate, threshold = (np.array(x) for x in zip(*curve, strict=True))
    assert len(curve) <= 200
    assert curve[0][:2] == (0.0, 0.0)
    assert curve[-1][:2] == (1.0, 1.0)
    assert (np.diff(threshold) < 0).all()
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(sk.roc_auc_score(actual, p), abs=2e-3)
    json.dumps(curve, allow_nan=False)


def test_a_short_roc_curve_is_exact():
    actual, p = [0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9]
    assert [point[:2] for point in roc_curve(actual, p)] == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]
    assert [point[2] for point in roc_curve(actual, p)][1:] == [0.9, 0.4, 0.1]


def test_the_pr_curve_ends_at_full_recall_and_the_base_rate():
    actual, p = _scores()
    curve = pr_curve(actual, p)
    assert len(curve) <= 200
    assert curve[-1][:2] == (1.0, pytest.approx(actual.mean()))
    precision, recall, _ = sk.precision_recall_curve(actual, p)
    known = {(round(r, 12), round(q, 12)) for r, q in zip(recall, precision, strict=True)}
    assert all((round(r, 12), round(q, 12)) in known for r, q, _ in curve)


def test_curves_of_one_class_stay_finite():
    for curve in (roc_curve([0, 0], [0.1, 0.2]), pr_curve([0, 0], [0.1, 0.2]), roc_curve([1, 1], [0.1, 0.2])):
        assert np.isfinite(np.array(curve)).all()


def test_the_calibration_curve_has_bins_of_equal_mass_that_sum_to_the_rows():
    actual, p = _scores()
    curve = calibration_curve(actual, p, bins=10)
    assert [rows for _, _, rows in curve] == [500] * 10
    assert sum(happened * rows for _, happened, rows in curve) == pytest.approx(actual.sum())
    assert [predicted for predicted, _, _ in curve] == sorted(predicted for predicted, _, _ in curve)


def test_equal_scores_share_a_bin():
    bins, count = equal_mass_bins(np.array([0.2] * 90 + [0.9] * 10), 15)
    assert bins[0] != bins[-1]
    assert np.unique(bins).size == 2
    assert bins.max() < count


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc"])
def test_resampled_areas_are_those_of_the_weighted_rows(name):
    actual, p = _scores(n=2000)
    design = resample(2000, resamples=100)
    exact, replicates = replicate_area(name, actual, p, design)
    theirs = {"roc_auc": sk.roc_auc_score, "pr_auc": sk.average_precision_score}[name]
    assert exact == pytest.approx(theirs(actual, p), rel=1e-12)
    for k in range(5):
        weighted = theirs(actual, p, sample_weight=design.weights[k][design.groups])
        assert replicates[k] == pytest.approx(weighted, abs=2e-3)
        assert replicates[k] != pytest.approx(exact, abs=1e-9)


def test_the_spread_of_a_resampled_roc_area_is_that_of_delong():
    actual, p = _scores()
    _, replicates = replicate_area("roc_auc", actual, p, resample(actual.size))
    above = p[actual == 1][:, None] > p[actual == 0][None, :]
    variance = above.mean(axis=1).var() / above.shape[0] + above.mean(axis=0).var() / above.shape[1]
    assert replicates.std() == pytest.approx(np.sqrt(variance), rel=0.1)
