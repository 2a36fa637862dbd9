"""The hash is even, fixed for all time, and independent of what else is hashed."""

import numpy as np

from cd4ml.domain.hashing import uniform_hash

FIXED = [0.28176129772258496, 0.6524484863740322, 0.9701714704688417, 0.6773357370437865]


def test_the_hash_of_a_code_is_fixed():
    found = uniform_hash([0, 1, -1, 2**40], seed=0)
    assert found[:2].tolist() == uniform_hash([0, 1], seed=0).tolist()
    np.testing.assert_allclose(found, FIXED, rtol=1e-15)


def test_the_hash_is_even_over_consecutive_codes_and_seeds():
    for seed in (0, 1, -5, 2**63):
        counts = np.histogram(uniform_hash(np.arange(100_000), seed), bins=20, range=(0, 1))[0]
        assert ((counts - 5000) ** 2 / 5000).sum() < 45  # chi-squared with 19 degrees of freedom: p = 0.0007


def test_neighbouring_seeds_are_unrelated():
    a, b = (uniform_hash(np.arange(10_000), seed) for seed in (1, 2))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.04
