"""Weights while fitting: group and label made independent, and the worst group raised."""

import numpy as np
import pytest

from cd4ml.domain.reweighting import MOST_EXTRA_WEIGHT, group_losses, raise_weights, reweigh


def test_the_published_example_of_reweighing() -> None:
    # Kamiran and Calders, 2012, table 1: ten applicants, five of each sex, 4 men and 2 women hired.
    groups, y = np.repeat([0, 1], 5), np.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 0], dtype=float)
    men, women = reweigh(groups, y, 2, np.ones(10))
    assert men == pytest.approx((2.0, 0.75))
    assert women == pytest.approx((0.67, 1.5), abs=0.004)


def test_with_the_weights_group_and_label_are_independent_and_the_total_stays() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    groups, weight = rng.integers(0, 4, 2000), rng.uniform(0.5, 2, 2000)
    y = (rng.random(2000) < np.array([0.1, 0.3, 0.5, 0.9])[groups]).astype(float)
    factors = np.array(reweigh(groups, y, 5, weight))
    new = weight * factors[groups, y.astype(int)]
    rates = [np.average(y[groups == g], weights=new[groups == g]) for g in range(4)]
    assert rates == pytest.approx([np.average(y, weights=weight)] * 4)
    assert new.sum() == pytest.approx(weight.sum())
    assert factors[4].tolist() == [1, 1]  # no rows


def test_losses_are_weighted_means_and_unknown_without_rows() -> None:
    found = group_losses(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), 3, np.array([3.0, 1.0, 2.0]))
    assert found[[0, 2]].tolist() == [1.5, 5.0]
    assert np.isnan(found[1])


def test_the_weight_of_a_group_beyond_the_bound_goes_up_and_comes_down_again() -> None:
    factors = raise_weights(np.ones(4), np.array([1.25, 1.0, 0.5, np.nan]), 1.0)
    assert factors.tolist() == [2.0, 1.0, 1.0, 1.0]
    assert raise_weights(factors, np.array([0.9, 1.0, 1.1, np.nan]), 1.0) == pytest.approx([1.6, 1, 1.4, 1])
    assert raise_weights(np.ones(1), np.array([1e9]), 1.0)[0] == 1 + MOST_EXTRA_WEIGHT
