"""A split puts every row in one part, and no part can see what it is judged on."""

import json

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from cd4ml.domain.splits import by_entity, by_row, by_time, given
from cd4ml.errors import DataError, UsageError


def _check_parts(split, n):
    assert (split.train.astype(int) + split.holdout + split.unused == 1).all()
    assert split.train.size == n
    assert split.holdout.any()
    assert split.train.any()
    for fold in split.folds:
        assert fold.train.any()
        assert fold.validation.any()
        assert not (fold.train & fold.validation).any()
        assert not ((fold.train | fold.validation) & ~split.train).any()
    described = split.describe()
    assert described["train"] + described["holdout"] + described["unused"] == described["rows"] == n
    json.dumps(described)


@settings(deadline=None, max_examples=50)
@forall(
    st.integers(1, 20),
    st.integers(0, 4),
    st.none() | st.integers(1, 10),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 1000),
)
def test_a_split_by_time_keeps_each_part_after_what_it_learns_from(
    holdout, folds, length, gap, embargo, seed
):
    rng = np.random.default_rng(seed)
    steps = rng.permutation(np.repeat(np.arange(-50, 150), rng.integers(1, 4, 200)))
    split = by_time(steps, holdout, folds, length, gap, embargo)
    _check_parts(split, steps.size)
    assert np.unique(steps[split.holdout]).size == holdout
    assert steps[split.holdout].min() - steps[split.train].max() == gap + 1
    assert np.unique(steps[split.unused]).size == gap
    for fold in split.folds:
        assert steps[fold.validation].min() - steps[fold.train].max() == gap + 1
        assert fold.train_range == (-50, steps[fold.train].max())
        assert fold.valid_range == (steps[fold.validation].min(), steps[fold.validation].max())
    for early, late in zip(split.folds, split.folds[1:], strict=False):
        assert late.valid_range[0] - early.valid_range[1] == embargo + 1
        assert early.train.sum() < late.train.sum()
    if split.folds:
        assert split.folds[-1].valid_range[1] == steps[split.train].max()


def test_folds_are_as_long_as_the_holdout_or_as_the_data_allow():
    assert by_time(np.arange(100), 10, 3).folds[0].valid_range == (60, 69)
    short = by_time(np.arange(25), 10, 2)
    assert [fold.valid_range for fold in short.folds] == [(5, 9), (10, 14)]


def test_the_shortest_split_that_is_possible_is_made_and_one_step_less_is_refused():
    _check_parts(by_time(np.arange(106), 57, 3, 16), 106)
    with pytest.raises(DataError, match="cover 105 steps; holdout 57 \\+ 3 folds of 16 need at least 106"):
        by_time(np.arange(105), 57, 3, 16)


def test_one_day_is_refused_with_what_was_found_and_needed():
    with pytest.raises(
        DataError, match="the data cover 1 step; holdout 57 \\+ 3 folds of 16 need at least 106"
    ):
        by_time(np.zeros(1000, dtype=int), 57, 3, 16)


def test_gaps_and_embargoes_are_counted_in_what_is_needed():
    with pytest.raises(DataError, match="gaps of 2 \\+ embargoes of 3 need at least 23"):
        by_time(np.arange(22), 5, 2, 5, gap_steps=2, embargo_steps=3)
    _check_parts(by_time(np.arange(23), 5, 2, 5, gap_steps=2, embargo_steps=3), 23)


def test_holes_in_time_do_not_pass_for_folds():
    steps = np.r_[np.arange(40), np.arange(70, 100)]
    with pytest.raises(
        DataError, match="no rows in validation of fold 1, validation of fold 2: the steps have holes"
    ):
        by_time(steps, 20, 3, 10)


def test_steps_count_by_the_calendar_and_not_by_rows():
    split = by_time(np.array([0, 1, 2, 10]), 3, 0)
    assert split.holdout.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"holdout_steps": 0}, "holdout_steps must be at least 1; found 0"),
        ({"fold_count": -1}, "fold_count must be at least 0"),
        ({"fold_steps": 0}, "fold_steps must be at least 1; found 0"),
        ({"gap_steps": -1}, "gap_steps must be at least 0"),
        ({"embargo_steps": -1}, "embargo_steps must be at least 0"),
        ({"steps": [0.5, 1.5]}, "steps must be integers"),
    ],
)
def test_impossible_lengths_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        by_time(**{"steps": np.arange(50), "holdout_steps": 5, "fold_count": 2, **options})


def test_no_rows_cannot_be_split():
    for make in (lambda: by_time(np.array([], dtype=int), 1, 0), lambda: by_row(0, 0.2, 2, 0)):
        with pytest.raises(DataError, match="no rows to split"):
            make()


@settings(deadline=None, max_examples=50)
@forall(st.integers(12, 60), st.floats(0.05, 0.5), st.sampled_from([0, 1, 2, 3]), st.integers(0, 10_000))
def test_entities_stay_whole(entities, fraction, folds, seed):
    codes = np.random.default_rng(seed).integers(0, entities, 400) * 7 - 100
    try:
        split = by_entity(codes, fraction, folds, seed)
    except DataError:  # nearly all entities held out by chance
        return
    _check_parts(split, 400)
    assert len(split.folds) == folds
    for part in (split.holdout, *(fold.validation for fold in split.folds)):
        inside = set(codes[part])
        assert not inside & set(codes[~part])
    if folds > 1:
        assert (sum(fold.validation.astype(int) for fold in split.folds) == split.train).all()


def test_new_entities_move_no_old_one():
    few, many = by_entity(np.arange(100), 0.2, 0, 5), by_entity(np.arange(300), 0.2, 0, 5)
    assert (few.holdout == many.holdout[:100]).all()
    assert 0.15 < many.holdout.mean() < 0.25


def test_appended_rows_move_no_old_one_and_the_share_is_near():
    few, many = by_row(5000, 0.2, 3, 1), by_row(20_000, 0.2, 3, 1)
    assert (few.holdout == many.holdout[:5000]).all()
    assert many.holdout.mean() == pytest.approx(0.2, abs=0.01)
    assert [fold.validation.sum() for fold in few.folds] == pytest.approx([few.train.sum() / 3] * 3, abs=1)


def test_at_least_one_entity_is_held_out():
    assert by_entity(np.arange(4), 0.0001, 2, 0).holdout.sum() == 1


def test_a_single_fold_validates_on_a_fifth():
    split = by_row(1000, 0.2, 1, 0)
    assert split.folds[0].validation.sum() == pytest.approx(split.train.sum() / 5, abs=1)
    _check_parts(split, 1000)


def test_another_seed_is_another_split():
    assert (by_row(100, 0.3, 2, 1).holdout != by_row(100, 0.3, 2, 2).holdout).any()


def test_too_few_entities_are_refused():
    with pytest.raises(
        DataError, match="the data have 3 entities, 1 of them held out; 3 folds need at least 3 more"
    ):
        by_entity(np.array([1, 2, 3]), 0.0001, 3, 0)


@pytest.mark.parametrize(
    ("fraction", "folds", "message"),
    [
        (0.0, 2, "between 0 and 1; found 0.0"),
        (1.0, 2, "found 1.0"),
        (0.2, -1, "fold_count must be at least 0"),
    ],
)
def test_impossible_fractions_and_folds_are_refused(fraction, folds, message):
    with pytest.raises(UsageError, match=message):
        by_row(100, fraction, folds, 0)


def test_a_given_holdout_is_taken_as_it_is():
    mask = np.arange(50) >= 40
    split = given(mask, 4, 0)
    _check_parts(split, 50)
    assert (split.holdout == mask).all()
    assert [int(fold.validation.sum()) for fold in split.folds] == [10] * 4


@pytest.mark.parametrize("mask", [[True, True], [False, False], []])
def test_a_given_holdout_of_all_or_nothing_is_refused(mask):
    with pytest.raises(DataError, match="rows inside and outside"):
        given(mask, 0, 0)
