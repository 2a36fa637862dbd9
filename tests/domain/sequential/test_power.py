"""How many requests are needed."""

import math

import numpy as np
import pytest

from cd4ml.domain.sequential.mixture import log_threshold
from cd4ml.domain.sequential.power import Needed, pairs_for_loss, requests_for_rates
from cd4ml.domain.sequential.rate_ratio import RateRatio
from cd4ml.errors import UsageError


def test_small_effects_weights_and_rates_need_more() -> None:
    base = requests_for_rates(0.01, 2.0, 0.1)
    for harder in (
        requests_for_rates(0.005, 2.0, 0.1),
        requests_for_rates(0.01, 1.5, 0.1),
        requests_for_rates(0.01, 2.0, 0.05),
        requests_for_rates(0.01, 2.0, 0.1, alpha=0.01),
        requests_for_rates(0.01, 2.0, 0.1, power=0.95),
    ):
        assert harder.harm > base.harm and harder.safe > base.safe


def test_what_can_never_decide_says_so() -> None:
    assert requests_for_rates(0.0, 2.0, 0.1) == Needed(math.inf, math.inf)
    assert requests_for_rates(0.01, 2.0, 1.0).safe == math.inf
    assert Needed(10, 20).seconds(0) == Needed(math.inf, math.inf)
    assert Needed(10, 20).seconds(5) == Needed(2, 4)


def test_as_many_requests_are_enough_as_were_told() -> None:
    rng, limit = np.random.default_rng(11), log_threshold(0.05)
    needed, found = requests_for_rates(0.05, 2.0, 0.5), 0
    for _ in range(60):
        arm = rng.random(int(needed.safe)) < 0.5
        ratio = RateRatio(2.0)
        ratio.update(arm[rng.random(len(arm)) < 0.05], 0.5)
        found += ratio.safe.log_peak >= limit
    assert found >= 0.75 * 60
    assert needed.safe < 3000


def test_pairs_grow_with_the_square_of_the_noise() -> None:
    one, two = pairs_for_loss(1.0, 1.0, 0.05), pairs_for_loss(1.0, 2.0, 0.05)
    assert two.harm == pytest.approx(4 * one.harm, rel=0.01)
    assert pairs_for_loss(1.0, 0.0, 0.05) == Needed(1.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: requests_for_rates(0.01, 1.0, 0.1),
        lambda: requests_for_rates(1.5, 2.0, 0.1),
        lambda: pairs_for_loss(0.0, 1.0, 0.1),
        lambda: pairs_for_loss(1.0, math.inf, 0.1),
    ],
)
def test_what_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(UsageError, match="expected"):
        wrong()
