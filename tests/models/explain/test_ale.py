"""Accumulated local effects: the slope of what is known, not fooled by correlated features."""

from __future__ import annotations

import numpy as np
import pytest

from cd4ml.domain.bootstrap import resample
from cd4ml.models.explain.ale import MAX_BINS, accumulated_effect


def rows(count: int = 2000, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=count)
    second = first + 0.1 * rng.normal(size=count)
    return np.column_stack([first, second, rng.integers(0, 4, count)]).astype(np.float32)


def effect(predict, X, index, **options):
    return accumulated_effect(predict, X, index, resample(len(X), resamples=200, seed=2), **options)


def heights(found) -> np.ndarray:
    return np.array([value.estimate for value in found.values])


def test_a_straight_line_is_found_exactly_and_centred_over_the_rows():
    X = rows()
    found = effect(lambda Z: 3.0 * Z[:, 0] + np.sin(Z[:, 1]), X, 0)
    assert len(found.at) == MAX_BINS + 1 and (np.diff(found.at) > 0).all()
    assert heights(found) == pytest.approx(3 * (found.at - X[:, 0].mean()), abs=1e-4)
    assert found.rows.sum() == len(X) and found.left_out == 0


def test_the_effect_of_a_correlated_feature_is_its_own_alone():
    """Apley and Zhu's first example: x1 x2 with x1 near x2 has the main effect x^2 / 2 along each."""
    X = rows(4000)
    found = effect(lambda Z: (Z[:, 0] * Z[:, 1]).astype(np.float64), X, 0)
    middle = np.abs(found.at) < 1.5
    half = found.at**2 / 2
    gap = heights(found)[middle] - half[middle]
    assert gap == pytest.approx(np.full(middle.sum(), gap.mean()), abs=0.08)


def test_a_value_that_most_rows_share_is_near_the_mean_and_the_others_are_told_apart():
    rng = np.random.default_rng(3)
    gain = np.where(rng.random(3000) < 0.95, 0, rng.uniform(1, 100, 3000))
    X = np.column_stack([gain, rng.normal(size=3000)]).astype(np.float32)
    found = effect(lambda Z: 2.0 * Z[:, 0], X, 0)
    assert len(found.at) > 10
    assert heights(found) == pytest.approx(2 * (found.at - X[:, 0].mean()), abs=1e-3)


def test_two_values_are_a_bin_and_missing_ones_are_left_out():
    X = rows(500)
    X[:, 2] = np.where(X[:, 2] < 1, np.nan, X[:, 2] > 2)
    found = effect(lambda Z: 5.0 * Z[:, 2], X, 2)
    known = X[~np.isnan(X[:, 2]), 2]
    assert found.at.tolist() == [0, 1] and found.left_out == 500 - len(known)
    assert heights(found) == pytest.approx([-5 * known.mean(), 5 - 5 * known.mean()])
    assert effect(lambda Z: Z[:, 0], np.ones((9, 3), np.float32), 2) is None
    assert effect(lambda Z: Z[:, 0], np.full((9, 3), np.nan, np.float32), 2) is None


def test_intervals_are_wider_where_the_rows_disagree_and_hold_the_estimate():
    X = rows()
    # The sign of the third feature turns the slope: rows disagree about every step.
    turned = effect(lambda Z: 3.0 * Z[:, 0] * (1 + (Z[:, 2] - 1.5)), X, 0)
    plain = effect(lambda Z: 3.0 * Z[:, 0], X, 0)
    widths = [max(value.high - value.low for value in found.values) for found in (turned, plain)]
    assert widths[0] > 0.1
    assert widths[1] < 1e-3
    assert all(value.low <= value.estimate <= value.high for value in turned.values)


def test_categories_have_their_own_heights_whatever_their_codes():
    X = rows()
    level = np.array([1.0, -2.0, 4.0, 0.5])
    found = effect(lambda Z: level[Z[:, 2].astype(int)] + 0.0 * Z[:, 0], X, 2, nominal=True)
    codes = found.at.astype(int)
    mean = level[X[:, 2].astype(int)].mean()
    assert sorted(codes) == [0, 1, 2, 3] and found.rows.sum() == len(X)
    assert heights(found) == pytest.approx(level[codes] - mean, abs=1e-6)


def test_categories_whose_rows_are_alike_stand_side_by_side():
    rng = np.random.default_rng(5)
    code = rng.integers(0, 4, 3000)
    place = np.array([0.0, 3.0, 1.0, 2.0])[code]  # 0, 2, 3, 1 lie along the other feature
    X = np.column_stack([code, place + 0.3 * rng.normal(size=3000)]).astype(np.float32)
    X[::50, 1] = np.nan
    found = effect(lambda Z: Z[:, 1] * 0.0, X, 0, nominal=True)
    assert found.at.tolist() in ([0, 2, 3, 1], [1, 3, 2, 0])


def test_the_rarest_of_many_categories_are_left_out():
    rng = np.random.default_rng(6)
    code = np.concatenate([np.repeat(np.arange(30), 40), [30, 31]])
    X = np.column_stack([code, rng.normal(size=len(code))]).astype(np.float32)
    found = effect(lambda Z: 1.0 * Z[:, 0], X, 0, nominal=True)
    assert len(found.at) == 24 and found.left_out == 6 * 40 + 2
    assert np.diff(heights(found)[np.argsort(found.at)]) == pytest.approx(np.ones(23), abs=1e-5)
