"""Intervals around predictions: what they promise, and where they promise nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.conformal import Intervals
from cd4ml.errors import UsageError


def world(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Skewed sales whose errors grow with them, and a model that is a little off."""
    size = rng.gamma(1.2, 8, rows)
    return 0.9 * size + 0.5, rng.poisson(size).astype(np.float64)


def covered(found: Intervals, prediction: np.ndarray, actual: np.ndarray) -> np.ndarray:
    low, high = found.around(prediction)
    return (low <= actual) & (actual <= high)


def test_the_ends_are_the_errors_of_the_promised_rank():
    actual = np.arange(1.0, 20.0)  # 19 rows, predicted as 0: errors above are 1 to 19, below all negative

    found = Intervals.fit(np.zeros(19), actual, 0.9)

    assert found is not None
    assert found.around(np.array([5.0])) == (np.array([5.0]), np.array([24.0]))


def test_a_row_less_than_the_level_needs_gives_none():
    assert Intervals.fit(np.zeros(18), np.ones(18), 0.9) is None
    assert Intervals.fit(np.zeros(19), np.ones(19), 0.9) is not None
    assert Intervals.fit(np.zeros(19), np.ones(19), 0.95) is None
    assert Intervals.fit(np.array([]), np.array([])) is None


def test_large_predictions_get_wider_intervals_where_their_errors_are_larger():
    rng = np.random.Generator(np.random.PCG64(1))
    found = Intervals.fit(*world(5000, rng), minimum=0.0)
    assert found is not None

    low, high = found.around(np.array([1.0, 40.0]))

    assert len(found.rows) == 10 and found.rows.sum() == 5000
    assert high[1] - low[1] > 3 * (high[0] - low[0])


def test_no_interval_reaches_below_the_smallest_value_there_can_be():
    rng = np.random.Generator(np.random.PCG64(2))
    f, y = world(2000, rng)
    bounded, free = Intervals.fit(f, y, minimum=0.0), Intervals.fit(f, y)
    assert bounded is not None and free is not None

    assert bounded.around(np.array([0.6]))[0] >= 0
    assert free.around(np.array([0.6]))[0] < 0
    assert np.isnan(bounded.around(np.array([np.nan]))).all()


def test_rows_without_a_value_are_left_out():
    f, y = np.zeros(40), np.r_[np.ones(20), np.full(20, np.nan)]
    found = Intervals.fit(f, y)
    assert found is not None and found.rows.tolist() == [20]


def test_equal_predictions_stay_in_one_group():
    f = np.r_[np.zeros(990), np.arange(1.0, 11.0)]
    found = Intervals.fit(f, np.ones(1000))
    assert found is not None
    assert (np.array(found.rows) >= 19).all() and found.rows.sum() == 1000


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 90.0])
def test_what_is_no_level_is_refused(level):
    with pytest.raises(UsageError, match="level"):
        Intervals.fit(np.zeros(50), np.zeros(50), level)


def test_lengths_that_differ_are_refused():
    with pytest.raises(UsageError, match="shapes"):
        Intervals.fit(np.zeros(50), np.zeros(49))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-1e6, 1e6)), st.floats(-1e6, 1e6)),
        min_size=19,
        max_size=400,
    ),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_a_prediction_lies_in_its_interval_and_so_does_the_promised_share_of_the_holdout(pairs, level):
    f, y = np.array(pairs).T
    found = Intervals.fit(f, y, level)
    assert found is not None

    low, high = found.around(f)

    assert (low <= f).all() and (f <= high).all()
    slack = 1e-9 * (1 + np.abs(f) + np.abs(y))  # f + (y - f) may miss y by a rounding
    assert ((low - slack <= y) & (y <= high + slack)).mean() >= level - 1e-9


@pytest.mark.simulations
@pytest.mark.parametrize(("level", "rows"), [(0.9, 60), (0.9, 1000), (0.8, 300)])
def test_new_rows_fall_inside_as_often_as_promised(level, rows):
    rng = np.random.Generator(np.random.PCG64(rows))
    shares = []
    for _ in range(1500):
        found = Intervals.fit(*world(rows, rng), level, minimum=0.0)
        assert found is not None
        shares.append(covered(found, *world(200, rng)).mean())
    mean, error = np.mean(shares), np.std(shares) / np.sqrt(len(shares))

    assert mean >= level - 3 * error
    assert mean <= level + 0.06  # counts lie on a lattice, and each end is rounded up: not much more


@pytest.mark.simulations
def test_small_and_large_predictions_are_covered_alike():
    rng = np.random.Generator(np.random.PCG64(5))
    hits: dict[int, list[float]] = {}
    for _ in range(300):
        found = Intervals.fit(*world(2000, rng), 0.9, minimum=0.0)
        assert found is not None
        f, y = world(2000, rng)
        inside, group = covered(found, f, y), np.searchsorted(found.edges, f)
        for number in range(len(found.rows)):
            hits.setdefault(number, []).append(inside[group == number].mean())

    assert len(hits) == 10
    assert min(np.mean(shares) for shares in hits.values()) > 0.89


@pytest.mark.simulations
def test_the_level_is_no_promise_once_the_world_drifts():
    rng = np.random.Generator(np.random.PCG64(6))
    found = Intervals.fit(*world(5000, rng), 0.9, minimum=0.0)
    assert found is not None
    f, y = world(5000, rng)

    assert covered(found, f, 1.8 * y).mean() < 0.75
