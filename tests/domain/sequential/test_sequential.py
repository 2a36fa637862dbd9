"""Sequential tests: blocks equal single updates, known answers, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.sequential.balance import ArmBalance
from cd4ml.domain.sequential.bounded_mean import PositiveMean
from cd4ml.domain.sequential.mean_difference import MeanDifference
from cd4ml.domain.sequential.mixture import Mixture, log_threshold
from cd4ml.domain.sequential.paired import PairedLoss
from cd4ml.domain.sequential.quantiles import quantile_interval
from cd4ml.domain.sequential.rate_ratio import EventShare, RateRatio, canary_share_of_events
from cd4ml.errors import UsageError

seeds = st.integers(0, 2**32 - 1)


def cut(seed: int, n: int) -> list[slice]:
    """Return blocks that cover 0 to n."""
    rng = np.random.default_rng(seed)
    ends = sorted({*rng.integers(1, n, size=5).tolist(), n})
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_blocks_of_events_equal_single_events_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arm, share = rng.random(60) < 0.3, rng.choice([0.0, 0.1, 0.5, 1.0], 60)
    single, block = RateRatio(1.5), RateRatio(1.5)
    for one in range(60):
        single.update(arm[one : one + 1], share[one : one + 1])
    for part in cut(seed, 60):
        block.update(arm[part], share[part])
    assert single.harm.log_wealth.tolist() == block.harm.log_wealth.tolist()
    assert (single.harm.log_peak, single.safe.log_peak) == (block.harm.log_peak, block.safe.log_peak)
    assert single.interval(0.05) == block.interval(0.05)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_blocks_of_pairs_and_outcomes_equal_single_ones_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    old, new, arm = rng.exponential(size=80), rng.exponential(size=80), rng.random(80) < 0.4
    pairs, means = (PairedLoss(0.1), PairedLoss(0.1)), (MeanDifference(5, 0.1), MeanDifference(5, 0.1))
    for one in range(80):
        part = slice(one, one + 1)
        pairs[0].update(old[part], new[part])
        means[0].update(old[part], arm[part], np.full(1, 0.4))
    for part in cut(seed, 80):
        pairs[1].update(old[part], new[part])
        means[1].update(old[part], arm[part], np.full(part.stop - part.start, 0.4))
    for single, block in (pairs, means):
        assert single.harm.log_wealth.tolist() == block.harm.log_wealth.tolist()
        assert single.safe.log_peak == block.safe.log_peak
        assert single.estimate == pytest.approx(block.estimate)


def test_the_share_of_events_is_that_of_two_poisson_processes() -> None:
    assert canary_share_of_events(0.1, 1.0) == pytest.approx(0.1)
    assert canary_share_of_events(0.1, 2.0) == pytest.approx(0.2 / 1.1)
    assert canary_share_of_events(0.5, 3.0) == pytest.approx(0.75)


def test_one_event_changes_the_wealth_by_its_likelihood_ratio() -> None:
    one = EventShare(1.0, {2.0: 1.0})
    one.update(np.array([True]), np.array([0.1]))
    assert math.exp(one.mixture.log_value) == pytest.approx((0.2 / 1.1) / 0.1)
    one.update(np.array([False]), np.array([0.1]))
    assert math.exp(one.mixture.log_value) == pytest.approx((0.2 / 1.1) / 0.1 * (0.9 / 1.1) / 0.9)


def test_each_coin_is_a_fair_game_under_what_is_tested() -> None:
    for share in (0.01, 0.1, 0.5, 0.9):
        for null, other in ((1.0, 2.0), (1.5, 1.0)):
            test = [EventShare(null, {other: 1.0}) for _ in range(2)]
            for arm, one in zip((True, False), test, strict=True):
                one.update(np.array([arm]), np.array([share]))
            chance = float(canary_share_of_events(share, null))
            mean = chance * math.exp(test[0].mixture.log_value) + (1 - chance) * math.exp(
                test[1].mixture.log_value
            )
            assert mean == pytest.approx(1.0)


def test_a_weight_of_nothing_or_all_teaches_nothing() -> None:
    ratio = RateRatio(2.0)
    ratio.update(np.array([True, False] * 50), np.array([1.0, 0.0] * 50))
    assert (ratio.harm.log_peak, ratio.safe.log_peak) == pytest.approx((0.0, 0.0))
    assert ratio.interval(0.05)[0] < 1 < ratio.interval(0.05)[1]


def test_the_interval_narrows_around_the_truth() -> None:
    rng = np.random.default_rng(5)
    ratio, widths = RateRatio(1.5), []
    for _ in range(3):
        ratio.update(rng.random(1500) < float(canary_share_of_events(0.2, 2.0)), 0.2)
        low, high = ratio.interval(0.05)
        widths.append(high / low)
        assert low <= 2.0 <= high
    assert widths[0] > widths[1] > widths[2] and widths[2] < 1.5
    assert ratio.estimate == pytest.approx(2.0, rel=0.15)
    assert ratio.events == 4500 and 1300 < ratio.events_in_canary < 1700


def test_a_mixture_remembers_its_peak() -> None:
    mixture = Mixture([1, 1])
    mixture.update(np.array([[1.0, 1.0], [-5.0, -5.0]]))
    assert mixture.log_peak == pytest.approx(1.0)
    assert mixture.log_value == pytest.approx(-4.0)
    assert mixture.count == 2


def test_nothing_observed_leaves_everything_at_the_start() -> None:
    ratio, pairs, balance = RateRatio(2.0), PairedLoss(0.1), ArmBalance()
    ratio.update(np.array([], dtype=bool), 0.1)
    pairs.update(np.array([]), np.array([]))
    balance.update(np.array([], dtype=bool), np.array([]))
    assert ratio.estimate == 1.0 and ratio.harm.log_value == pytest.approx(0.0)
    assert math.isnan(pairs.estimate) and pairs.pairs == 0 and balance.log_peak < 0.0
    assert math.isnan(PositiveMean().mean) and math.isnan(PositiveMean().scale)


def test_the_first_observations_tell_the_scale_and_no_more() -> None:
    one = PositiveMean()
    one.update(np.full(30, 1e6))
    assert one.mixture.log_peak == 0.0
    one.update(np.full(1, 1e6))
    assert one.mixture.log_peak > 0.0
    assert one.mean == pytest.approx(1e6) and one.scale == pytest.approx(1e6)


def test_scaling_all_losses_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    old, new = rng.exponential(size=500), rng.exponential(1.3, size=500)
    small, large = PairedLoss(0.1), PairedLoss(0.1)
    small.update(old, new)
    large.update(old * 1024, new * 1024)
    assert small.harm.log_peak == pytest.approx(large.harm.log_peak)
    assert small.harm.log_peak > 1
    assert small.estimate == pytest.approx(new.sum() / old.sum())


def test_a_shadow_that_never_differs_is_safe_and_does_no_harm() -> None:
    loss = np.random.default_rng(2).exponential(size=4000)
    pairs = PairedLoss(0.05)
    pairs.update(loss, loss)
    assert pairs.harm.log_peak == 0.0
    assert pairs.safe.log_peak > log_threshold(0.05)


def test_wrong_splits_of_requests_are_found() -> None:
    rng = np.random.default_rng(4)
    right, wrong = ArmBalance(), ArmBalance()
    right.update(rng.random(3000) < 0.1, np.full(3000, 0.1))
    wrong.update(rng.random(3000) < 0.1 / (0.1 + 0.9 * 0.7), np.full(3000, 0.1))
    assert right.log_peak < log_threshold(0.01) < wrong.log_peak
    assert wrong.few_log_peak < log_threshold(0.01) < wrong.many_log_peak
    assert right.count == 3000


def test_quantiles_are_inside_and_unknown_at_first() -> None:
    values = np.random.default_rng(1).exponential(size=5000)
    low, high = quantile_interval(values, 0.9, 0.05)
    assert low < math.log(10) < high < 3.5
    assert quantile_interval(values[:20], 0.99, 0.05)[1] == math.inf
    assert quantile_interval([], 0.5, 0.05) == (-math.inf, math.inf)


def test_the_difference_of_means_leaves_out_what_nearly_never_happens() -> None:
    difference = MeanDifference(cap=1.0, margin=0.1)
    difference.update(np.ones(10), np.ones(10, dtype=bool), np.full(10, 0.01))
    assert math.isnan(difference.estimate) and difference.harm.count == 0
    difference.update(np.array([0.0, 1.0, 7.0]), np.array([False, True, True]), np.full(3, 0.5))
    assert difference.estimate == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RateRatio(1.0),
        lambda: PairedLoss(0.0),
        lambda: PositiveMean(0.0),
        lambda: PositiveMean().update(np.array([np.nan])),
        lambda: PositiveMean(1.0).update(np.array([1.5])),
        lambda: PairedLoss(0.1).update(np.array([1.0]), np.array([1.0, 2.0])),
        lambda: PairedLoss(0.1).update(np.array([-1.0]), np.array([1.0])),
        lambda: MeanDifference(0.0, 0.1),
        lambda: quantile_interval([1.0], 1.0, 0.05),
    ],
)
def test_what_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(UsageError, match="expected"):
        wrong()
