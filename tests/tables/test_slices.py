"""Columns as a few named groups."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.columns import texts
from cd4ml.tables.slices import slice_column
from tests.features.samples import column


def _slice(values, train=None):
    array = np.asarray(values)
    return slice_column(array, np.ones(len(array), dtype=bool) if train is None else np.array(train))


def test_texts_and_few_whole_numbers_are_groups_as_they_are():
    words = column("text", ["a", None])
    assert slice_column(words, np.ones(2, dtype=bool)) is words
    assert texts(_slice([3, 1, 3])) == ["3", "1", "3"]
    assert texts(_slice([3.0, np.nan, 1.0])) == ["3", None, "1"]
    assert texts(_slice([True, False])) == ["1", "0"]
    assert texts(_slice([np.nan, np.nan])) == [None, None]


def test_times_are_grouped_by_month():
    found = slice_column(column("date", ["2017-08-15", "2017-08-01", None]), np.ones(3, dtype=bool))
    assert texts(found) == ["2017-08", "2017-08", None]


def test_many_numbers_are_cut_into_ranges_of_about_as_many_rows():
    found = _slice(np.arange(100))
    assert found.categories == ("below 20", "20 to 40", "40 to 60", "60 to 80", "80 and above")
    assert np.bincount(found.codes).tolist() == [20] * 5
    assert texts(found)[19:21] == ["below 20", "20 to 40"]


def test_ranges_hang_on_training_rows_alone():
    values = np.concatenate([np.arange(100.0), np.arange(1e6, 1e6 + 900)])
    found = _slice(values, np.arange(1000) < 100)
    assert found.categories[-1] == "80 and above"
    assert set(texts(found)[100:]) == {"80 and above"}


def test_numbers_that_are_mostly_the_smallest_one_have_two_ranges():
    values = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    found = _slice(values)
    assert found.categories == ("up to 0", "above 0")
    assert texts(found)[899:901] == ["up to 0", "above 0"]


def test_numbers_that_are_constant_in_training_have_two_ranges():
    found = _slice(np.concatenate([np.full(10, 5.5), np.arange(40.0)]), [True] * 10 + [False] * 40)
    assert found.categories == ("up to 5.5", "above 5.5")
    assert set(texts(found)[:10]) == {"up to 5.5"}
    assert texts(found)[10 + 6] == "above 5.5"


def test_numbers_that_training_does_not_know_are_cut_by_the_others():
    found = _slice(np.concatenate([np.full(9, np.nan), np.arange(100.0)]), [True] * 9 + [False] * 100)
    assert len(found.categories) == 5
    assert texts(found)[:9] == [None] * 9


def test_labels_are_as_long_as_tells_the_ranges_apart():
    found = _slice(10_000 + np.arange(100) / 1000 + 0.0003)
    assert found.categories[1] == "10000.02 to 10000.04"
    assert len(set(found.categories)) == 5
    tight = _slice(1.0 + np.arange(100) * np.finfo(float).eps)
    assert len(set(tight.categories)) == 5
    closest = _slice(np.repeat(1.0 + np.arange(5) * np.finfo(float).eps, 20))
    assert len(set(closest.categories)) == 5


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")) | st.just(0.0), min_size=1, max_size=80), st.data()
)
def test_every_known_number_is_in_one_range_in_ascending_order(values, data):
    train = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    found = _slice(values, train)
    assert len(set(found.categories)) == len(found.categories)
    assert ((found.codes >= 0) == ~np.isnan(values)).all()
    known = np.array(values)[found.codes >= 0]
    order = np.argsort(known, kind="stable")
    codes = found.codes[found.codes >= 0][order]
    if found.categories and found.categories[0].startswith(("below", "up to")):
        assert (np.diff(codes) >= 0).all()
    else:  # few whole numbers, each a group
        assert [float(found.categories[code]) for code in codes] == sorted(known)
