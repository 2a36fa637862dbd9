"""Distances are 0 for equals, agree with scipy, and see a shift through stored profiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from cd4ml.domain.distances import (
    category_distances,
    histogram,
    jensen_shannon,
    kolmogorov_smirnov,
    l_infinity,
    numeric_distances,
    psi,
    quantile_edges,
    wasserstein,
)
from cd4ml.errors import DataError, UsageError

COUNTS = st.lists(st.integers(1, 1000), min_size=4, max_size=4)


@settings(deadline=None, max_examples=50)
@given(COUNTS, COUNTS, st.integers(1, 9))
def test_distances_are_0_for_equal_shares_and_symmetric_and_bounded(p, q, factor):
    scaled = [factor * count for count in p]
    for distance in (psi, jensen_shannon, l_infinity, kolmogorov_smirnov):
        assert distance(p, scaled) == pytest.approx(0, abs=1e-12)
        assert distance(p, q) == pytest.approx(distance(q, p), rel=1e-9, abs=1e-12)
        assert distance(p, q) >= 0
    assert wasserstein(p, scaled, range(5)) == pytest.approx(0, abs=1e-12)
    assert kolmogorov_smirnov(p, q) <= 1
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)


def test_disjoint_distributions_are_at_the_far_end():
    p, q = [5, 0, 0], [0, 0, 7]
    assert jensen_shannon(p, q) == 1
    assert l_infinity(p, q) == 1
    assert kolmogorov_smirnov(p, q) == 1
    assert np.isfinite(psi(p, q))


def test_psi_is_its_formula():
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    assert psi(p * 100, q * 1000) == pytest.approx(((q - p) * np.log(q / p)).sum())


def test_many_columns_are_compared_at_once():
    rng = np.random.default_rng(0)
    p, q = rng.integers(0, 50, (6, 3, 8)) + 1, rng.integers(0, 50, (6, 3, 8)) + 1
    edges = np.arange(9.0)
    for distance in (psi, jensen_shannon, l_infinity, kolmogorov_smirnov):
        assert distance(p, q).shape == (6, 3)
        assert distance(p, q)[4, 1] == pytest.approx(distance(p[4, 1], q[4, 1]))
    assert wasserstein(p, q, edges)[4, 1] == pytest.approx(wasserstein(p[4, 1], q[4, 1], edges))


def test_wasserstein_is_exact_where_distribution_functions_cross():
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    p, q = np.array([2, 0, 2]), np.array([1, 2, 1])
    grid = np.linspace(0, 3, 300_001)
    f, g = (np.interp(grid, edges, np.r_[0, np.cumsum(x) / 4]) for x in (p, q))
    interquartile_range = 2.0  # of p, from 0.5 to 2.5
    assert wasserstein(p, q, edges) * interquartile_range == pytest.approx(
        np.trapezoid(np.abs(f - g), grid), rel=1e-6
    )


def test_stored_profiles_see_what_the_values_would_show():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 20_000), rng.normal(0.5, 1.2, 20_000)
    (ea, ca), (eb, cb) = ((e, histogram(x, e)) for x in (a, b) for e in [quantile_edges(x, 50)])
    found = numeric_distances(ea, ca, eb, cb)
    quartiles = np.subtract(*np.quantile(a, [0.75, 0.25]))
    assert found["wasserstein"] == pytest.approx(wasserstein_distance(a, b) / quartiles, rel=0.05)
    assert found["kolmogorov_smirnov"] == pytest.approx(ks_2samp(a, b).statistic, abs=0.01)
    assert found["psi"] == pytest.approx(float(psi(ca, histogram(b, ea))), rel=0.1)
    assert numeric_distances(ea, ca, ea, ca) == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-12)


def test_a_tiny_shift_of_many_rows_is_a_tiny_distance():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 200_000)
    edges = quantile_edges(a)
    assert psi(histogram(a, edges), histogram(a + 0.02, edges)) < 0.001


def test_current_mass_beyond_the_reference_falls_into_its_outer_bins():
    found = numeric_distances([0, 1, 2], [10, 10], [5, 6], [20])
    assert found["kolmogorov_smirnov"] == 1
    assert found["psi"] == pytest.approx(float(psi([10, 10], [0, 20])))
    assert found["wasserstein"] == pytest.approx(4.5)


def test_histograms_count_outsiders_in_the_outer_bins_and_nan_in_none():
    assert histogram([-5, 0, 0.5, 1, 1.5, 2, 9, np.nan, np.inf], [0, 1, 2]).tolist() == [3, 5]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 30))
def test_a_histogram_over_its_own_quantiles_holds_every_value(values, bins):
    edges = quantile_edges(values, bins)
    assert edges.size <= max(2, bins + 1)
    assert (np.diff(edges) > 0).all()
    assert histogram(values, edges).sum() == len(values)


def test_a_constant_column_has_one_bin():
    assert quantile_edges([3.0, 3.0]).tolist() == [2.5, 3.5]
    assert numeric_distances([2.5, 3.5], [2], [2.5, 3.5], [9])["wasserstein"] == 0


def test_the_spread_of_a_reference_with_one_heavy_value_is_still_positive():
    moved = wasserstein([98, 1, 1], [1, 1, 98], [0.0, 1.0, 2.0, 3.0])
    assert np.isfinite(moved)
    assert moved > 1


def test_new_and_vanished_categories_count():
    found = category_distances({"a": 50, "b": 50}, {"a": 50, "c": 50})
    assert found["l_infinity"] == 0.5
    assert found["jensen_shannon"] == pytest.approx(0.5)
    assert category_distances({"a": 1, "b": 3}, {"b": 300, "a": 100}) == pytest.approx(
        {"psi": 0, "jensen_shannon": 0, "l_infinity": 0}, abs=1e-12
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: psi([1, 2], [1, 2, 3]), UsageError, "same bins"),
        (lambda: psi([0, 0], [1, 2]), DataError, "reference distribution"),
        (lambda: psi([1, 2], [-1, 2]), DataError, "current distribution"),
        (lambda: category_distances({}, {}), UsageError, "same bins"),
        (lambda: quantile_edges([np.nan]), DataError, "no finite value"),
        (lambda: histogram([1], [2, 1]), UsageError, "rising"),
        (lambda: histogram([1], [2]), UsageError, "at least 2 rising numbers"),
        (lambda: numeric_distances([0, 1], [1, 2], [0, 1], [1]), UsageError, "2 edges and 2 counts"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
