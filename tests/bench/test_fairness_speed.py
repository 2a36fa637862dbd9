"""The bias check beside Fairlearn's bootstrap: 54 slices, mean absolute error."""

import time
import warnings
from datetime import date

import numpy as np
import pytest

from cd4ml.domain.fairness.catalogue import find
from cd4ml.domain.fairness.check import check_bias
from cd4ml.domain.fairness.measure import Sample
from cd4ml.problem import Bias
from tests.domain.fairness_worlds import one_column

pytestmark = pytest.mark.bench
SLICES, RESAMPLES, FAIRLEARN_RESAMPLES = 54, 1000, 2


def _world(rows):
    rng = np.random.default_rng(0)
    code, day = rng.integers(0, SLICES, rows), rng.integers(0, 60, rows)
    y = rng.gamma(4.0, 5.0, rows)
    return code, day, Sample(y=y, score=y + rng.normal(0, 3, rows), decision=None, weight=np.ones(rows))


def _seconds(rows, clustered):
    code, day, sample = _world(rows)
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        report = check_bias(
            sample,
            one_column(code),
            [find("mae")],
            Bias(block=["mae"]),
            today=date(2026, 1, 1),
            cluster=day if clustered else None,
            resamples=RESAMPLES,
        )
        best = min(best, time.perf_counter() - started)
        assert len(report.rows) == 2 * SLICES - 1
    return best


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(("rows", "limit_seconds"), [(100_000, 0.5), (1_000_000, 2.0)])
def test_1000_bootstraps_of_54_slices_are_quick(rows, limit_seconds, clustered):
    seconds = _seconds(rows, clustered)
    print(f"\n{rows:,} rows, clustered {clustered}: {seconds:.3f} s for {RESAMPLES} resamples")
    assert seconds < limit_seconds


def test_a_resample_costs_a_hundredth_of_fairlearns():
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import mean_absolute_error

    code, _, sample = _world(100_000)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MetricFrame(
            metrics=mean_absolute_error,
            y_true=sample.y,
            y_pred=sample.score,
            sensitive_features=code,
            n_boot=FAIRLEARN_RESAMPLES,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )
    theirs = (time.perf_counter() - started) / FAIRLEARN_RESAMPLES
    ours = _seconds(100_000, clustered=False) / RESAMPLES
    print(f"\na resample: Fairlearn {theirs * 1e3:.1f} ms, here {ours * 1e3:.3f} ms, {theirs / ours:.0f}x")
    assert theirs / ours > 100
