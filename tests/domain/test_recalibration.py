"""Recalibration curves: they put right what is wrong, and leave alone what is right."""

import numpy as np
import pytest

from cd4ml.domain.recalibration import ISOTONIC_ROWS, fit_curve, fit_curves


def labels(p: np.ndarray, seed: int = 2) -> np.ndarray:
    return (np.random.Generator(np.random.PCG64(seed)).random(len(p)) < p).astype(np.float64)


def uniform(rows: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(9)).uniform(0.02, 0.98, rows)


def test_few_probabilities_are_moved_along_their_logit() -> None:
    true = uniform(ISOTONIC_ROWS - 1)
    told = true**2
    curve = fit_curve(told, labels(true), "logit")
    assert not curve.x
    assert np.abs(curve(told) - true).mean() < 0.04 < np.abs(told - true).mean()


def test_many_probabilities_are_pooled_and_rise() -> None:
    true = uniform(20_000)
    told = np.where(true < 0.5, true * 0.2, true)
    curve = fit_curve(told, labels(true), "logit")
    assert len(curve.x) > 10
    assert np.abs(curve(told) - true).mean() < 0.02
    assert 0 < min(curve.y) <= max(curve.y) < 1


def test_pools_are_those_of_a_hand_worked_table() -> None:
    told = np.repeat([0.1, 0.2, 0.3, 0.4], 500)
    y = np.concatenate([np.r_[np.ones(k), np.zeros(500 - k)] for k in (50, 200, 100, 400)])
    curve = fit_curve(told, y, "logit")  # 0.4 and 0.2 violate the order: pooled to 0.3 at their mean 0.25
    assert curve.x == pytest.approx((0.1, 0.25, 0.4))
    assert curve.y == pytest.approx((0.1, 0.3, 0.8))


def test_right_probabilities_stay_about_as_they_are() -> None:
    told = uniform(800)
    found = fit_curve(told, labels(told), "logit")(told)
    assert np.abs(found - told).max() < 0.06


def test_a_rare_label_is_not_pooled() -> None:
    told = uniform(5000) * 0.02
    y = np.zeros(5000)
    y[:40] = 1
    assert not fit_curve(told, y, "logit").x


def test_one_label_alone_makes_nobody_certain() -> None:
    for label in (0.0, 1.0):
        found = fit_curve(uniform(50), np.full(50, label), "logit")(np.array([0.2, 0.8]))
        assert ((found > 0) & (found < 1)).all()
        assert (np.abs(found - label) < np.abs(np.array([0.2, 0.8]) - label)).all()


def test_a_ranking_that_is_wrong_is_not_turned_round() -> None:
    told = uniform(500)
    curve = fit_curve(told, labels(1 - told), "logit")
    assert curve.slope == 1.0
    assert curve(told).mean() == pytest.approx(labels(1 - told).mean(), abs=0.02)


def test_equal_probabilities_move_to_the_share_of_positives() -> None:
    curve = fit_curve(np.full(400, 0.5), np.r_[np.ones(40), np.zeros(360)], "logit")
    assert curve(np.array([0.5]))[0] == pytest.approx(0.1, abs=0.01)


def test_numbers_are_put_on_the_line_of_least_squares() -> None:
    told = np.array([1.0, 2.0, 3.0, 4.0])
    curve = fit_curve(told, 3 + 2 * told, "identity")
    assert (curve.slope, curve.intercept) == pytest.approx((2.0, 3.0))
    on_log = fit_curve(told, np.expm1(0.5 + np.log1p(told)), "log1p")
    assert on_log(told) == pytest.approx(np.expm1(0.5 + np.log1p(told)))


def test_a_falling_or_constant_line_moves_the_level_alone() -> None:
    falling = fit_curve(np.array([1.0, 2.0]), np.array([9.0, 6.0]), "identity")
    assert (falling.slope, falling.intercept) == (1.0, 6.0)
    constant = fit_curve(np.array([2.0, 2.0]), np.array([4.0, 6.0]), "identity")
    assert (constant.slope, constant.intercept) == (1.0, 3.0)


def test_groups_have_their_own_curves_and_an_empty_one_that_of_all() -> None:
    told, groups = np.array([1.0, 2.0, 1.0, 2.0]), np.array([0, 0, 2, 2])
    found = fit_curves(told, told + np.array([1.0, 1.0, 5.0, 5.0]), groups, 3, "identity")
    assert [round(float(curve(np.array([1.0]))[0]), 9) for curve in found] == [2.0, 4.0, 6.0]
    assert fit_curve(np.empty(0), np.empty(0), "identity")(np.array([3.0]))[0] == 3.0
