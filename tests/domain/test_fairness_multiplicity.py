"""Adjusted p-values are the textbook's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from cd4ml.domain.fairness.multiplicity import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_holm_is_the_textbook_step_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_benjamini_hochberg_is_the_textbook_step_up():
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert benjamini_hochberg([]) == []


@settings(deadline=None, max_examples=50)
@given(P_VALUES)
def test_benjamini_hochberg_agrees_with_scipy(p):
    assert benjamini_hochberg(p) == pytest.approx(list(false_discovery_control(p)))


@settings(deadline=None, max_examples=50)
@given(P_VALUES)
def test_holm_is_never_below_benjamini_hochberg_nor_that_below_the_raw_values(p):
    strict, mild = np.array(holm(p)), np.array(benjamini_hochberg(p))
    assert (strict >= mild - 1e-12).all()
    assert (mild >= np.array(p) - 1e-12).all()
    assert (np.diff(strict[np.argsort(p)]) >= 0).all()
