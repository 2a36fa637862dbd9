"""Friedman's H is 0 for sums and large for products."""

import numpy as np
import pytest

from cd4ml.models.explain.interactions import interactions


def sample():
    return np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)


def test_what_adds_up_does_not_interact():
    found = interactions(
        lambda Z: Z[:, 0] ** 2 + np.exp(Z[:, 1].astype(float)) - Z[:, 2], sample(), [0, 1, 2]
    )
    assert len(found) == 3
    assert all(one.share == pytest.approx(0, abs=1e-5) for one in found)


def test_a_product_is_found_first_and_is_interaction_alone():
    def predict(Z):
        return 2.0 * Z[:, 0] * Z[:, 2] + 0.5 * Z[:, 1]

    X = sample()
    X -= X.mean(axis=0)
    found = interactions(predict, X, [0, 1, 2])
    assert (found[0].first, found[0].second) == (0, 2)
    assert found[0].share > 0.95
    exact = 2 * X[:, 0] * X[:, 2]
    assert found[0].size == pytest.approx(np.std(exact), rel=0.1)
    assert found[1].size < 1e-5


def test_a_constant_model_has_no_share():
    found = interactions(lambda Z: np.ones(len(Z)), sample(), [0, 3])
    assert [(one.share, one.size) for one in found] == [(0.0, 0.0)]
