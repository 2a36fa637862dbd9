"""Intervals, p-values and shrinkage on cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cd4ml.domain.bootstrap import resample
from cd4ml.domain.fairness.catalogue import find
from cd4ml.domain.fairness.extremes import find_extremes
from cd4ml.domain.fairness.inference import Limits, floored, infer, shrink, spread, variance_floor
from cd4ml.domain.fairness.resampling import replicate
from cd4ml.domain.fairness.sizes import slice_sizes
from tests.domain.fairness_worlds import decisions, forecasts, one_column

LIMITS = Limits.of("rate_ratio", 0.8, 1.25, 0.1)


def _replicates(sample, column, names, design, **more):
    asked = [find(name) for name in names]
    return {(r.measure.name, r.against): r for r in replicate(sample, column, asked, design, **more)}


def _forecast_world(seed=0, rows=3000, days=40):
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 4, rows)
    cluster = rng.integers(0, days, rows)
    return forecasts(rng.gamma(4, 1, rows)), one_column(code).columns[0], resample(rows, cluster, seed=seed)


def test_every_resample_is_the_formula_on_the_resampled_rows():
    sample, column, design = _forecast_world()
    found = _replicates(sample, column, ["mae"], design, reference=2)
    error = np.abs(sample.score - sample.y)
    for draw in (3, 700):
        weight = design.weights[draw][design.groups]
        mean = [np.average(error[column.codes == s], weights=weight[column.codes == s]) for s in range(4)]
        other = np.average(error[column.codes != 1], weights=weight[column.codes != 1])
        assert found["mae", "rest"].value[draw + 1] == pytest.approx(mean)
        assert found["mae", "rest"].contrast[draw + 1, 1] == pytest.approx(mean[1] / other)
        assert found["mae", "reference:s2"].contrast[draw + 1, 1] == pytest.approx(mean[1] / mean[2])


def test_blocks_of_slices_change_nothing():
    sample, column, design = _forecast_world()
    names = ["mae", "score_ks", "predicted_to_actual"]
    whole = _replicates(sample, column, names, design, reference=2, champion=sample)
    parts = _replicates(sample, column, names, design, reference=2, champion=sample, block_values=1)
    assert set(whole) == set(parts)
    assert {against for _, against in whole} == {"rest", "reference:s2", "champion"}
    for key, found in whole.items():
        assert np.allclose(found.contrast, parts[key].contrast, equal_nan=True)


def test_the_interval_is_that_of_the_bootstrap_of_one_statistic():
    sample, column, design = _forecast_world()
    found = _replicates(sample, column, ["mae"], design)["mae", "rest"]
    clusters = np.full(4, design.clusters)
    result = infer(found, Limits.of("error_ratio", 0.8, 1.25, 0.1), clusters, 0.95)
    for position in range(4):
        one = design.interval(float(found.contrast[0, position]), found.contrast[1:, position])
        assert (result.low[position], result.high[position]) == pytest.approx((one.low, one.high))


def test_p_values_are_students_on_the_logarithm_of_the_ratio():
    sample, column, design = _forecast_world()
    found = _replicates(sample, column, ["mae"], design)["mae", "rest"]
    clusters = np.full(4, 40)
    result = infer(found, Limits.of("error_ratio", 0.8, 1.1, 0.1), clusters, 0.95)
    error = np.log(found.contrast[1:]).std(axis=0, ddof=1) * np.sqrt(40 / 39)
    expected = stats.t.sf((np.log(found.contrast[0]) - np.log(1.1)) / error, 39)
    assert result.p == pytest.approx(expected)


def test_a_two_sided_p_value_at_no_margin_is_twice_the_one_sided():
    sample, column, design = _forecast_world()
    found = _replicates(sample, column, ["over_forecast_rate"], design)["over_forecast_rate", "rest"]
    none = infer(found, Limits(0.0, 0.0, 0.0), np.full(4, 40), 0.95).p
    error = spread(found.contrast[1:], np.full(4, 40))
    assert none == pytest.approx(2 * stats.t.sf(np.abs(found.contrast[0]) / error, 39))


def test_what_noise_raises_a_distance_by_is_taken_off_before_it_is_tested():
    sample, column, design = _forecast_world()
    found = _replicates(sample, column, ["score_ks"], design)["score_ks", "rest"]
    assert (found.contrast[1:].mean(axis=0) > found.contrast[0]).all()
    centre = np.maximum(2 * found.contrast[0] - found.contrast[1:].mean(axis=0), 0.0)
    clusters = np.full(4, 40)
    p = infer(found, Limits.of("distance", 0.8, 1.25, 0.02), clusters, 0.95).p
    assert p == pytest.approx(stats.t.sf((centre - 0.02) / spread(found.contrast[1:], clusters), 39))


def test_few_clusters_get_students_interval_and_one_gets_none():
    sample, column, _ = _forecast_world()
    design = resample(sample.y.size, np.arange(sample.y.size) % 3)
    found = _replicates(sample, column, ["mae"], design)["mae", "rest"]
    limits = Limits.of("error_ratio", 0.8, 1.25, 0.1)
    result = infer(found, limits, np.array([3, 3, 3, 1]), 0.95)
    one = design.interval(float(found.contrast[0, 0]), found.contrast[1:, 0])
    assert (result.low[0], result.high[0]) == pytest.approx((one.low, one.high))
    assert np.isnan([result.low[3], result.p[3]]).all()
    assert not result.within[3]


def _selected(counts, rows, of_others=0.1):
    """Return the replicates of a first group with `counts` of `rows` called, against a second of 10,000."""
    called = np.concatenate([np.arange(rows) < counts, np.arange(10_000) < of_others * 10_000])
    column = one_column(np.repeat([0, 1], [rows, 10_000])).columns[0]
    design = resample(called.size)
    found = _replicates(decisions(called), column, ["selection_rate"], design)["selection_rate", "rest"]
    own, rest = slice_sizes(column, design)
    return found, np.minimum(own.clusters, rest.clusters), own


def test_nobody_called_of_many_is_found_and_its_interval_is_no_point():
    found, clusters, _ = _selected(0, 5000)
    result = infer(found, LIMITS, clusters, 0.95)
    assert result.estimate[0] == 0.0
    assert result.low[0] == 0.0
    assert 0.0 < result.high[0] < 0.8
    assert result.p[0] < 0.001


def test_nobody_called_of_few_may_be_chance():
    found, clusters, _ = _selected(0, 200, of_others=0.01)
    result = infer(found, LIMITS, clusters, 0.95)
    assert result.p[0] > 0.1
    assert result.high[0] > 0.8


def test_the_support_of_a_rate_is_the_number_of_rows_it_is_a_share_of():
    rng = np.random.default_rng(0)
    y, called = rng.random(3000) < 0.1, rng.random(3000) < 0.2
    column = one_column(rng.integers(0, 3, 3000)).columns[0]
    names = ["selection_rate", "true_positive_rate", "precision", "accuracy"]
    found = _replicates(decisions(called, y), column, names, resample(3000))
    inside = column.codes == 1
    expected = [inside.sum(), (y & inside).sum(), (called & inside).sum(), inside.sum()]
    assert [found[name, "rest"].support[1] for name in names] == pytest.approx(expected, rel=1e-3)


def test_shares_near_0_and_1_have_a_least_variance_and_others_none():
    rate, support = np.array([0.0, 1.0, 0.5, 3.0, 0.0]), np.array([100.0, 100.0, 100.0, 100.0, np.inf])
    least = variance_floor(rate, support, logarithm=False)
    assert least[0] == pytest.approx(least[1])
    assert least[0] == pytest.approx(0.5 / 101 * (100.5 / 101) / 100)
    assert list(least[2:]) == [0.0, 0.0, 0.0]
    assert list(floored(np.array([0.0, 0.2]), np.array([100.0, 100.0]))) == [0.005, 0.2]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_shrinkage_draws_each_slice_towards_the_others_and_small_ones_the_more(seed):
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(5), [2000, 2000, 2000, 2000, 60])
    called = rng.random(code.size) < np.array([0.2, 0.25, 0.3, 0.35, 0.9])[code]
    column, design = one_column(code, min_rows=10).columns[0], resample(code.size, seed=seed, resamples=200)
    found = _replicates(decisions(called), column, ["selection_rate"], design)["selection_rate", "rest"]
    own, _ = slice_sizes(column, design)
    shrunk = shrink(found, own.clusters, np.ones(5, dtype=bool))
    value = found.value[0]
    moved = np.abs(shrunk - value)
    assert value.min() <= shrunk.min() <= shrunk.max() <= value.max()
    assert moved[4] == moved.max()


def test_equal_slices_shrink_to_their_mean_and_one_slice_stays():
    called = np.tile([1, 0, 0, 0], 1000)
    code = np.repeat([0, 1], 2000)
    column, design = one_column(code).columns[0], resample(4000)
    found = _replicates(decisions(called), column, ["selection_rate"], design)["selection_rate", "rest"]
    assert shrink(found, np.array([2000, 2000]), np.ones(2, dtype=bool)) == pytest.approx([0.25, 0.25])
    alone = shrink(found, np.array([2000, 2000]), np.array([True, False]))
    assert alone == pytest.approx([0.25, 0.25])


def test_two_groups_have_the_plain_interval_of_their_ratio():
    found, clusters, own = _selected(400, 5000)
    usable = np.ones(2, dtype=bool)
    ends = find_extremes(found, own.clusters, usable, 0.8, 0.95)
    plain = infer(found, LIMITS, clusters, 0.95)
    assert ends.ratio == pytest.approx(0.8)
    assert (ends.lowest, ends.highest) == (0, 1)
    assert (ends.low, ends.high) == pytest.approx((plain.low[0], plain.high[0]), rel=0.02)


def test_the_p_value_of_the_extremes_is_bonferronis_over_all_ordered_pairs():
    code = np.repeat([0, 1, 2], 1000)
    called = np.arange(3000) % 100 < np.array([24, 28, 30])[code]
    column, design = one_column(code).columns[0], resample(3000)
    found = _replicates(decisions(called), column, ["selection_rate"], design)["selection_rate", "rest"]
    ends = find_extremes(found, np.full(3, 1000), np.ones(3, dtype=bool), 0.9, 0.95)
    logs = np.log(found.value)
    error = (logs[1:, 0] - logs[1:, 2]).std(ddof=1) * np.sqrt(1000 / 999)
    one = stats.t.cdf((logs[0, 0] - logs[0, 2] - np.log(0.9)) / error, 999)
    assert ends.p == pytest.approx(6 * one)
    half = -stats.t.ppf(0.05 / 6, 999) * error
    assert ends.low == pytest.approx(0.8 * np.exp(-half))
    assert ends.low < 0.8 < ends.high


def test_there_are_no_extremes_of_one_group_or_of_none_called():
    found, _, own = _selected(400, 5000)
    assert find_extremes(found, own.clusters, np.array([True, False]), 0.8, 0.95) is None
    nobody, _, _ = _selected(0, 5000, of_others=0.0)
    assert find_extremes(nobody, own.clusters, np.ones(2, dtype=bool), 0.8, 0.95) is None
