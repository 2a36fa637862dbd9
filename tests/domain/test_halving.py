"""Successive halving stays within its budget, ends on all rows and keeps the best."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.halving import Rung, nested_sample, schedule, survivors
from cd4ml.errors import UsageError


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 60),
    st.integers(1, 200_000),
    st.integers(1, 5),
    st.floats(1, 100),
    st.integers(2, 4),
    st.integers(1, 5000),
)
def test_a_schedule_keeps_to_its_budget_and_ends_on_all_rows(candidates, rows, folds, fits, eta, min_rows):
    budget = int(rows * folds * fits)
    rungs = schedule(candidates, rows, folds, budget, eta, min_rows)
    assert sum(rung.candidates * rung.rows * rung.folds for rung in rungs) <= budget
    assert rungs[-1].rows == rows
    assert rungs[0].candidates <= candidates
    assert all(rung.rows >= min(min_rows, rows) and rung.candidates >= 1 for rung in rungs)
    for early, late in pairwise(rungs):
        assert early.rows < late.rows
        assert early.candidates > late.candidates


def test_a_large_budget_fits_every_candidate_on_all_rows():
    assert schedule(9, 10_000, 3, 10**9) == (Rung(9, 10_000, 3),)


def test_a_middling_budget_halves_and_keeps_every_candidate():
    assert schedule(9, 90_000, 1, 3 * 90_000) == (Rung(9, 10_000, 1), Rung(3, 30_000, 1), Rung(1, 90_000, 1))


def test_a_small_budget_drops_candidates_last_of_all():
    assert schedule(9, 3000, 2, 4 * 3000 * 2, min_rows=2000) == (Rung(4, 3000, 2),)


def test_the_smallest_budget_fits_one_candidate_and_less_is_refused_by_name():
    assert schedule(50, 1000, 3, 3000) == (Rung(1, 1000, 3),)
    with pytest.raises(UsageError, match="the smallest that does is 3000"):
        schedule(50, 1000, 3, 2999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": 0}, "candidates must be at least 1; found 0"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"folds": 0}, "folds must be at least 1"),
        ({"eta": 1}, "eta must be at least 2"),
    ],
)
def test_a_schedule_of_nothing_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        schedule(**{"candidates": 1, "rows": 1, "folds": 1, "budget_row_fits": 9, **change})


def test_survivors_are_the_best_ties_to_the_earlier_and_nan_last():
    scores = [0.3, float("nan"), 0.1, 0.3, 0.2]
    assert survivors(scores, 3, higher_is_better=True) == [0, 3, 4]
    assert survivors(scores, 5, higher_is_better=False) == [2, 4, 0, 3, 1]
    with pytest.raises(UsageError, match="keep"):
        survivors(scores, 0, higher_is_better=True)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 9))
def test_a_smaller_sample_is_within_a_larger_one(a, b, extra, seed):
    small, large = sorted((a, b))
    total = large + extra
    few, many = nested_sample(total, small, seed), nested_sample(total, large, seed)
    assert few.size == small
    assert many.size == large == np.unique(many).size
    assert set(few) <= set(many)
    assert (np.diff(many) > 0).all()


def test_more_rows_than_there_are_cannot_be_sampled():
    with pytest.raises(UsageError, match="from 0 to 3; found 4"):
        nested_sample(3, 4, 0)
