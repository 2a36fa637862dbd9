"""The clustered Poisson bootstrap covers as promised and repeats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.bootstrap import BLOCK_VALUES, MAX_GROUPS, Interval, resample
from cd4ml.domain.metrics import score
from cd4ml.errors import UsageError


def _coverage(clusters: int, clustered: bool, trials: int = 200, per_cluster: int = 20) -> float:
    """Return how often the 95 % interval of a mean error of 0 covers, with shocks shared by a cluster."""
    rng = np.random.default_rng(7)
    code = np.repeat(np.arange(clusters), per_cluster)
    actual = np.full(code.size, 10.0)
    hits = 0
    for trial in range(trials):
        predicted = actual + rng.normal(0, 1, clusters)[code] + rng.normal(0, 1, code.size)
        found = score(
            ["bias"], actual, predicted, cluster=code if clustered else None, resamples=300, seed=trial
        )["bias"]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    return hits / trials


def test_clustered_intervals_cover_under_day_shocks_and_iid_ones_do_not():
    assert 0.91 <= _coverage(28, clustered=True) <= 0.99
    assert _coverage(28, clustered=False) < 0.75


@pytest.mark.parametrize("clusters", [2, 3, 5, 8])
def test_intervals_cover_with_few_clusters_too(clusters):
    assert _coverage(clusters, clustered=True) >= 0.91


def test_one_cluster_has_no_interval_and_says_so_with_none():
    found = score(["mae"], [1, 2, 3], [1, 3, 3], cluster=["monday"] * 3)["mae"]
    assert found == Interval(pytest.approx(1 / 3), None, None)
    assert found.to_dict() == {"estimate": pytest.approx(1 / 3), "low": None, "high": None}


def test_no_interval_where_most_resamples_are_undefined():
    design = resample(10, resamples=100)
    mostly_nan = np.where(np.arange(100) < 60, np.nan, 1.0)
    assert design.interval(1.0, mostly_nan) == Interval(1.0)


def test_joining_many_clusters_keeps_the_width():
    rng = np.random.default_rng(0)
    actual = np.zeros(20_000)
    predicted = rng.normal(0, 1, actual.size)
    found = score(["bias"], actual, predicted)["bias"]
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / np.sqrt(actual.size), rel=0.15)
    assert resample(20_000).weights.shape == (1000, MAX_GROUPS)


def test_the_width_does_not_depend_on_the_names_or_order_of_clusters():
    rng = np.random.default_rng(0)
    actual, predicted, day = rng.normal(size=300), rng.normal(size=300), rng.integers(0, 30, 300)
    by_number = score(["rmse"], actual, predicted, cluster=day)
    by_name = score(["rmse"], actual, predicted, cluster=[f"day {d:02d}" for d in day])
    assert by_number == by_name


def test_a_subset_sees_the_resamples_of_the_whole():
    design = resample(40, cluster=np.arange(40) // 4, resamples=100)
    values = np.random.default_rng(0).normal(size=40)
    rows = np.r_[9:15, 30:33]
    inside = np.isin(np.arange(40), rows) * values
    part = design.subset(rows)
    assert part.clusters == 4
    replicates = part.replicate(part.totals(values[rows]))
    np.testing.assert_allclose(replicates, design.replicate(design.totals(inside)), rtol=1e-12)


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    rng = np.random.default_rng(0)
    actual, predicted = rng.normal(size=100), rng.normal(size=100)
    one, same, other = (score(["mae"], actual, predicted, seed=s)["mae"] for s in (1, 1, 2))
    assert one == same
    assert one.low != other.low


def test_replicates_are_the_same_in_blocks_as_in_one():
    design = resample(2000, resamples=2500)
    assert design.weights.size > BLOCK_VALUES
    totals = np.random.default_rng(0).normal(size=(2000, 2))
    np.testing.assert_allclose(design.replicate(totals), design.weights.astype(float) @ totals, rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(0, 1000), st.floats(0.5, 0.99))
def test_an_interval_holds_its_estimate_and_widens_with_its_level(clusters, seed, level):
    rng = np.random.default_rng(seed)
    actual, predicted, code = rng.normal(size=80), rng.normal(size=80), np.arange(80) % clusters
    narrow, wide = (
        score(["mae"], actual, predicted, cluster=code, resamples=100, level=x)["mae"] for x in (level, 0.995)
    )
    assert wide.low <= narrow.low <= narrow.estimate <= narrow.high <= wide.high


def test_an_interval_survives_a_round_trip_and_refuses_null():
    for interval in (Interval(1.0, 0.5, 2.0), Interval(1.0)):
        assert Interval.from_dict(interval.to_dict()) == interval
    with pytest.raises(UsageError, match="found null"):
        Interval.from_dict({"estimate": None})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 10}, "resamples must be at least 100, found 10"),
        ({"level": 95}, "level must be between 0 and 1, found 95"),
        ({"cluster": [1, 2]}, r"one value a row, shape \(3,\); found \(2,\)"),
    ],
)
def test_impossible_options_are_refused_with_what_was_found(options, message):
    with pytest.raises(UsageError, match=message):
        resample(3, **options)
