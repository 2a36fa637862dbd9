"""Measures of predicted values equal their published formulas, worked by hand or by SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.domain.fairness_samples import contrast, sample, values

Y = [10.0, 20.0, 30.0, 10.0, 40.0]
SCORE = np.array([12.0, 18.0, 33.0, 9.0, 36.0])
CODES = np.array([0, 0, 0, 1, 1])
TABLE = sample(
    Y,
    SCORE,
    weight=[1.0, 2.0, 1.0, 1.0, 3.0],
    low=SCORE - 2,
    high=SCORE + 2,
    quantile_score=SCORE,
    quantile=0.9,
)
LOGS = np.log1p(SCORE) - np.log1p(Y)

WORKED = [
    ("predicted_to_actual", 63 / 60, 45 / 50, 7 / 6),
    ("wape", 7 / 60, 5 / 50, 7 / 6),
    ("mae", 7 / 3, 5 / 2, 14 / 15),
    ("rmse", (17 / 3) ** 0.5, (17 / 2) ** 0.5, (2 / 3) ** 0.5),
    ("over_forecast_rate", 2 / 3, 0, 2 / 3),
    ("under_forecast_rate", 1 / 3, 1, -2 / 3),
    ("pinball", 2.3 / 3, 4.5 / 2, 46 / 135),
    ("interval_coverage", 2 / 3, 1 / 2, 1 / 6),
    ("quantile_coverage", 2 / 3, 0, 2 / 3),
    ("mean_signed_error", 1.0, -2.5, 3.5 / (34 / 5) ** 0.5),
]


@pytest.mark.parametrize(("name", "own", "other", "judged"), WORKED)
def test_an_error_equals_its_formula_worked_by_hand(name, own, other, judged):
    assert values(name, TABLE, CODES) == pytest.approx([own, other])
    assert contrast(name, TABLE, CODES) == pytest.approx(judged)


def test_log_errors_are_root_means_and_only_one_of_them_takes_weights():
    plain = [np.sqrt(np.mean(LOGS[code == CODES] ** 2)) for code in (0, 1)]
    weighed = [
        np.sqrt(np.average(LOGS[code == CODES] ** 2, weights=TABLE.weight[code == CODES])) for code in (0, 1)
    ]
    assert values("rmsle", TABLE, CODES) == pytest.approx(plain)
    assert values("nwrmsle", TABLE, CODES) == pytest.approx(weighed)
    assert contrast("nwrmsle", TABLE, CODES) == pytest.approx(weighed[0] / weighed[1])


def test_a_log_error_of_a_negative_actual_is_undefined():
    rows = sample([-3.0, 2.0, 1.0], [1.0, 2.0, 2.0])
    own, other = values("rmsle", rows, np.array([0, 0, 1]))
    assert np.isnan(own)
    assert other == pytest.approx(np.log(3 / 2))


def test_a_shift_of_predictions_is_a_wasserstein_distance_of_as_much():
    rows = sample(np.zeros(5), [1.0, 2.0, 3.0, 2.0, 4.0])
    # |F_a - F_b| is 1/3 on [1, 2), 1/6 on [2, 3), 1/2 on [3, 4); squares within the groups sum to 2 + 2.
    assert contrast("score_ks", rows, CODES) == pytest.approx(1 / 2)
    assert contrast("score_wasserstein", rows, CODES) == pytest.approx(1.0 / 0.8**0.5)


def test_distributions_that_cross_are_apart_though_their_means_are_alike():
    rows = sample(np.zeros(5), [0.0, 4.0, 1.0, 2.0, 3.0])
    codes = np.array([0, 0, 1, 1, 1])
    assert contrast("score_ks", rows, codes) == pytest.approx(0.5)
    # 1/2, 1/6, 1/6 and 1/2 over unit steps; squares within the groups sum to 8 + 2.
    assert contrast("score_wasserstein", rows, codes) == pytest.approx((4 / 3) / 2**0.5)


def _gap(a, b):
    return stats.ks_2samp(a, b, method="asymp").statistic


def _spread(scores, codes):
    inside = sum(((scores[codes == code] - scores[codes == code].mean()) ** 2).sum() for code in (0, 1))
    return (inside / codes.size) ** 0.5


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_distances_of_predictions_equal_scipys_up_to_fifty_distinct_values(seed, distinct):
    rng = np.random.default_rng(seed)
    places = rng.normal(3.0, 2.0, distinct)
    scores, codes = rng.choice(places, 60), np.r_[0, 0, 1, 1, rng.integers(0, 2, 56)]
    rows = sample(np.zeros(60), scores)
    a, b = scores[codes == 0], scores[codes == 1]
    assert contrast("score_ks", rows, codes) == pytest.approx(_gap(a, b))
    spread = _spread(scores, codes)
    if spread > 1e-9:
        expected = stats.wasserstein_distance(a, b) / spread
        assert contrast("score_wasserstein", rows, codes) == pytest.approx(expected)


def test_distances_of_many_distinct_predictions_are_close_to_scipys():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 2, 20_000)
    scores = rng.gamma(2.0, 3.0, 20_000) * np.where(codes == 0, 1.3, 1.0)
    rows = sample(np.zeros(codes.size), scores)
    a, b = scores[codes == 0], scores[codes == 1]
    assert contrast("score_ks", rows, codes) == pytest.approx(_gap(a, b), abs=0.02)
    expected = stats.wasserstein_distance(a, b) / _spread(scores, codes)
    assert contrast("score_wasserstein", rows, codes) == pytest.approx(expected, rel=0.02)


def _within(groups, scores, codes, distance):
    """The mean over groups, weighted by the slice's rows, of a distance between slice and others."""
    total, weight = 0.0, 0
    for group in np.unique(groups):
        a, b = (scores[(groups == group) & (codes == code)] for code in (0, 1))
        if a.size and b.size:
            total, weight = total + distance(a, b) * a.size, weight + a.size
    return total / weight


def test_predictions_are_compared_among_rows_of_the_same_label():
    rng = np.random.default_rng(6)
    y, codes = rng.integers(0, 2, 500), rng.integers(0, 2, 500)
    scores = (rng.integers(1, 9, 500) + 3 * y + 2 * codes * y) / 16
    rows = sample(y, scores, scores > 0.5)
    found = contrast("score_ks_within_deciles", rows, codes)
    assert found == pytest.approx(_within(y, scores, codes, _gap))
    moved = _within(y, scores, codes, stats.wasserstein_distance) / _spread(scores, codes)
    assert contrast("score_wasserstein_within_deciles", rows, codes) == pytest.approx(moved)


def test_predictions_are_compared_within_deciles_of_the_actual():
    rng = np.random.default_rng(7)
    y, codes = rng.permutation(2000).astype(float), rng.integers(0, 2, 2000)
    scores = np.round(y / 200) + rng.integers(0, 5, 2000) + codes
    codes[(y < 200)] = 0  # in the first decile there is nobody to compare with
    rows = sample(y, scores)
    deciles = (y // 200).astype(int)
    expected = _within(deciles, scores, codes, _gap)
    assert contrast("score_ks_within_deciles", rows, codes) == pytest.approx(expected)


def test_a_model_that_only_follows_the_actual_is_apart_in_parity_and_not_within_deciles():
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 2, 8000)
    y = rng.integers(0, 10, 8000) + 5.0 * codes * (rng.random(8000) < 0.5)
    scores = y + rng.integers(0, 3, 8000)
    rows = sample(y, scores)
    assert contrast("score_ks", rows, codes) > 0.15
    assert contrast("score_ks_within_deciles", rows, codes) < 0.05


@pytest.mark.parametrize("name", ["score_ks", "score_wasserstein", "score_ks_within_deciles"])
def test_a_distance_from_nobody_is_undefined(name):
    rows = sample([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert np.isnan(contrast(name, rows, np.zeros(3, dtype=int)))


@pytest.mark.parametrize(("here", "there"), [(5.0, 6.0), (0.1, 0.7), (1e6 + 0.1, 1e6 + 0.2)])
def test_a_distance_in_standard_deviations_of_constants_is_undefined(here, there):
    rows, codes = sample(np.zeros(21), [here] * 7 + [there] * 14), np.repeat([0, 1, 1], 7)
    assert contrast("score_ks", rows, codes) == 1.0
    assert np.isnan(contrast("score_wasserstein", rows, codes))


def test_a_spread_far_below_the_gap_is_still_a_spread():
    rows = sample(np.zeros(4), [0.0, 1e-3, 1.0, 1.001])
    found = contrast("score_wasserstein", rows, np.array([0, 0, 1, 1]))
    assert found == pytest.approx(1.0 / 5e-4)
