"""Bias ratios: a true excess is found, noise is not, and few data never read as a pass."""

import numpy as np
import pytest

from cd4ml.domain.bias import holm, slice_ratios


def _rows(excess, n=4000, seed=3):
    rng = np.random.default_rng(seed)
    y = rng.gamma(4.0, 5.0, n)
    slices = rng.integers(0, 4, n)
    noise = rng.normal(0, 2.0, n) * np.where(slices == 0, excess, 1.0)
    cluster = np.arange(n) % 60
    return y, y + noise, slices, cluster


def _table(excess, margin=1.25, **more):
    y, p, slices, cluster = _rows(excess, **more)
    groups = [("city", str(code), slices == code) for code in range(4)]
    return slice_ratios("mae", y, p, groups, cluster=cluster, margin=margin)


def test_a_slice_with_twice_the_error_fails_and_the_others_do_not():
    rows = _table(2.0)
    assert rows[0].status == "fail"
    assert rows[0].ratio == pytest.approx(2.0, rel=0.1)
    assert rows[0].low < rows[0].ratio < rows[0].high
    assert all(row.status != "fail" for row in rows[1:])


def test_equal_slices_pass():
    assert [row.status for row in _table(1.0)] == ["pass"] * 4


def test_an_excess_within_the_margin_is_no_failure():
    assert _table(1.15)[0].status in ("pass", "insufficient_data")


def test_few_rows_are_insufficient_and_never_a_pass():
    y, p, _, cluster = _rows(1.0, n=400)
    small = np.arange(400) < 20
    row = slice_ratios("mae", y, p, [("city", "small", small), ("city", "none", y < 0)], cluster=cluster)
    assert [r.status for r in row] == ["insufficient_data", "insufficient_data"]
    assert row[1].estimate is None


def test_a_metric_whose_best_is_one_compares_the_gaps():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 6000)
    group = rng.integers(0, 2, 6000).astype(bool)
    wrong = rng.random(6000) < np.where(group, 0.4, 0.1)
    p = np.where(wrong, 1 - y, y).astype(float)
    row = slice_ratios("accuracy", y, p, [("sex", "a", group)])[0]
    assert row.ratio == pytest.approx(4.0, rel=0.2)
    assert row.status == "fail"


def test_holm_is_the_textbook_step_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_many_equal_slices_raise_no_false_alarm(seed):
    rng = np.random.default_rng(seed)
    n = 20000
    y = rng.gamma(2.0, 5.0, n)
    p = y + rng.normal(0, 3, n)
    codes = rng.integers(0, 100, n)
    groups = [("shop", str(code), codes == code) for code in range(100)]
    rows = slice_ratios("mae", y, p, groups, cluster=np.arange(n) % 57, margin=1.0)
    assert sum(row.status == "fail" for row in rows) == 0
