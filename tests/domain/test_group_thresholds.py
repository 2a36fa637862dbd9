"""Thresholds by group: the best of all that keep the ratio, found exactly."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.group_thresholds import MOST_CUTS, find_thresholds
from cd4ml.errors import DataError, UsageError


def rates(score, groups, limits, count):  # type: ignore[no-untyped-def]
    called = score >= np.asarray(limits)[groups]
    return np.array([called[groups == g].mean() for g in range(count) if (groups == g).any()])


def right(score, y, groups, limits):  # type: ignore[no-untyped-def]
    return int(((score >= np.asarray(limits)[groups]) == (y > 0.5)).sum())


def by_trying_all(score, y, groups, count, ratio):  # type: ignore[no-untyped-def]
    """Return the most rows that any thresholds call right which keep the ratio."""
    cuts = [[*np.unique(score[groups == g]), 2.0] for g in range(count)]
    best = -1
    for limits in product(*cuts):
        found = rates(score, groups, limits, count)
        if found.max() > 0 and found.min() >= ratio * found.max() - 1e-12:
            best = max(best, right(score, y, groups, limits))
    return best


ROW = st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 0.9]), st.integers(0, 1), st.integers(0, 2))


@settings(deadline=None, max_examples=50)
@given(st.lists(ROW, min_size=1, max_size=16), st.sampled_from([0.5, 0.8, 1.0]))
def test_no_thresholds_that_keep_the_ratio_call_more_rows_right(
    rows: list[tuple[float, int, int]], ratio: float
) -> None:
    score, y, groups = (np.array(part) for part in zip(*rows, strict=True))
    present = np.unique(groups)
    groups = np.searchsorted(present, groups)
    limits = find_thresholds(score, y.astype(float), groups, len(present), ratio)
    found = rates(score, groups, limits, len(present))
    assert found.max() > 0
    assert found.min() >= ratio * found.max() - 1e-9
    assert right(score, y, groups, limits) == by_trying_all(score, y, groups, len(present), ratio)


def people(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(seed))
    groups = rng.integers(0, 3, rows)
    score = np.clip(rng.beta(2, 4, rows) * np.array([1.3, 1.0, 0.5])[groups], 0, 1)
    return score, (rng.random(rows) < score).astype(np.float64), groups


def test_a_stricter_ratio_costs_more() -> None:
    score, y, groups = people(4000)
    found = [right(score, y, groups, find_thresholds(score, y, groups, 3, r)) for r in (0.01, 0.5, 0.8, 0.95)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_without_a_real_constraint_each_group_is_cut_where_it_is_best_alone() -> None:
    score, y, groups = people(3000)
    limits = find_thresholds(score, y, groups, 3, 1e-9)
    for group in range(3):
        inside = groups == group
        best = max(
            int(((score[inside] >= t) == (y[inside] > 0.5)).sum()) for t in [*np.unique(score[inside]), 2.0]
        )
        assert right(score[inside], y[inside], np.zeros(inside.sum(), int), limits[group : group + 1]) == best


def test_more_cuts_than_are_tried_still_keep_the_ratio() -> None:
    score, y, groups = people(8 * MOST_CUTS)
    found = rates(score, groups, find_thresholds(score, y, groups, 3, 0.8), 3)
    assert found.min() / found.max() >= 0.8 - 1e-9


def test_a_group_without_rows_is_called_positive_as_often_as_all() -> None:
    score, y, groups = people(3000)
    limits = find_thresholds(score, y, groups, 5, 0.9)
    assert len(limits) == 5
    called = (score >= np.array(limits)[groups]).mean()
    assert (score >= limits[4]).mean() == pytest.approx(called, abs=0.002)


def test_equal_scores_are_never_told_apart() -> None:
    score = np.array([0.4] * 10 + [0.4] * 10)
    y = np.array([1.0] * 10 + [0.0] * 10)
    assert find_thresholds(score, y, np.repeat([0, 1], 10), 2, 0.8) == (0.0, 0.0)


def test_wrong_use_is_refused() -> None:
    nothing = np.empty(0)
    with pytest.raises(DataError, match="found none"):
        find_thresholds(nothing, nothing, nothing.astype(int), 2, 0.8)
    for ratio in (0.0, 1.1):
        with pytest.raises(UsageError, match="at most 1"):
            find_thresholds(np.ones(1), np.ones(1), np.zeros(1, int), 1, ratio)
