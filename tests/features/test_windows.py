"""Statistics of windows, against NumPy's own on each row."""

import warnings
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cd4ml.features.windows import STATISTICS, Windows
from cd4ml.problem import Statistic

values = st.floats(-1e4, 1e4, width=32) | st.just(0.0) | st.just(float("nan"))
ORACLE = {
    "mean": np.nanmean,
    "std": lambda x: np.nanstd(x, ddof=1),
    "min": np.nanmin,
    "max": np.nanmax,
    "total": lambda x: np.nansum(x) if (~np.isnan(x)).any() else np.nan,
    "median": np.nanmedian,
    "share_nonzero": lambda x: (x[~np.isnan(x)] != 0).mean(),
    "count": lambda x: (~np.isnan(x)).sum(),
}


@pytest.mark.parametrize("name", sorted(ORACLE))
@settings(deadline=None, max_examples=30)
@given(block=arrays(np.float32, (5, 7), elements=values), size=st.integers(1, 7))
def test_a_statistic_of_the_newest_values_is_numpys(name, block, size):
    found = getattr(Windows(block), name)(size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = [ORACLE[name](row[:size].astype(np.float64)) for row in block]
    if name == "std":
        wanted = [np.nan if np.isinf(value) else value for value in wanted]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-4 if name == "std" else 1e-6)


def test_every_statistic_of_the_problem_format_has_its_method():
    methods = {"total" if name == "sum" else name for name in STATISTICS}
    assert methods == set(ORACLE)
    assert set(STATISTICS) == set(get_args(Statistic))


def test_a_constant_window_has_a_spread_of_exactly_zero():
    assert Windows(np.full((1, 9), 0.1, dtype=np.float32)).std(9).tolist() == [0.0]


def test_large_values_that_differ_little_have_their_spread():
    block = (np.float32(2**23) + np.array([[0, 1, 2, 3]], dtype=np.float32)).astype(np.float32)
    assert Windows(block).std(4)[0] == pytest.approx(np.std([0, 1, 2, 3], ddof=1))


@settings(deadline=None, max_examples=30)
@given(block=arrays(np.float32, (6, 5), elements=values))
def test_a_row_has_the_same_bits_beside_rows_with_unknown_values(block):
    for name in ORACLE:
        alone = np.concatenate([getattr(Windows(block[[row]]), name)(4) for row in range(6)])
        together = getattr(Windows(block), name)(4)
        assert alone.astype(np.float64).tobytes() == together.astype(np.float64).tobytes()
