"""What training saw of a category."""

import numpy as np

from cd4ml.features.encodings import fit_vocabulary
from tests.features.samples import column


def test_texts_are_ordered_by_frequency_and_then_by_text():
    words = fit_vocabulary(column("text", ["b", "a", "c", "c", None, "b", "d"]), 3)
    assert words.texts == ("b", "c", "a")
    assert words.shares == (2 / 7, 2 / 7, 1 / 7)


def test_codes_shares_and_one_hot_columns():
    words = fit_vocabulary(column("integer", [5, 5, 7, 5]), 255)
    asked = column("integer", [7, None, 5, 9])
    np.testing.assert_array_equal(words.encode(asked, "ordinal", {})[:, 0], [1, np.nan, 0, 2])
    np.testing.assert_array_equal(words.encode(asked, "frequency", {})[:, 0], [0.25, np.nan, 0.75, 0])
    assert words.encode(asked, "one_hot", {}).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]]


def test_unknown_texts_are_told_once_and_sorted():
    words = fit_vocabulary(column("text", ["a"]), 255)
    assert words.unknown(column("text", ["z", "a", "b", None, "z"])) == ["b", "z"]


def test_a_category_of_nulls_alone_has_no_text():
    words = fit_vocabulary(column("text", [None, None]), 255)
    assert words.texts == ()
    np.testing.assert_array_equal(words.encode(column("text", ["a", None]), "ordinal", {})[:, 0], [0, np.nan])


def test_a_category_that_occurs_in_no_row_is_not_counted():
    values = column("text", ["a", "b"])
    assert fit_vocabulary(type(values)(values.codes[:1], values.categories), 255).texts == ("a",)
