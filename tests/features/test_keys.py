"""Keys are found whatever represents them, and what is no key is found nowhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import DataError
from cd4ml.features.keys import KeyIndex
from tests.features.samples import column

key = st.tuples(
    st.sampled_from(["a", "b", "c", None]), st.integers(-3, 3) | st.none(), st.sampled_from(range(4))
)


def _columns(keys):
    names, numbers, days = zip(*keys, strict=True) if keys else ((), (), ())
    times = [None if d is None else f"2024-01-0{d + 1}" for d in days]
    return [column("category", names), column("integer", numbers), column("date", times)]


@settings(deadline=None, max_examples=50)
@given(st.lists(key, min_size=1, max_size=30), st.lists(key, max_size=30))
def test_an_index_finds_exactly_the_keys_that_it_was_built_from(known, asked):
    index, codes = KeyIndex.build(_columns(known), len(known))
    whole = {k for k in known if None not in k}
    assert len(index) == len(whole)
    position = {k: code for k, code in zip(known, codes.tolist(), strict=True) if None not in k}
    assert sorted(set(position.values())) == list(range(len(whole)))
    assert [code for k, code in zip(known, codes, strict=True) if None in k] == [-1] * sum(
        None in k for k in known
    )
    found = index.positions(_columns(asked), len(asked), {})
    assert found.tolist() == [position.get(k, -1) for k in asked]
    alone = [index.positions(_columns([k]), 1, {}).tolist() for k in asked]
    assert alone == [[place] for place in found.tolist()]


def test_keys_are_numbered_in_ascending_order_whatever_their_order():
    values = [("b", 2), ("a", 9), ("b", 1), ("a", 9)]
    columns = [column("text", [a for a, _ in values]), column("integer", [b for _, b in values])]
    index, codes = KeyIndex.build(columns, 4)
    assert codes.tolist() == [2, 0, 1, 0]
    assert index.parts[0] == ("a", "b")


def test_without_columns_there_is_one_key():
    index, codes = KeyIndex.build([], 3)
    assert len(index) == 1
    assert codes.tolist() == [0, 0, 0]
    assert index.positions([], 2, {}).tolist() == [0, 0]


def test_an_empty_index_finds_nothing():
    index, codes = KeyIndex.build([column("integer", []), column("text", [])], 0)
    assert len(index) == len(codes) == 0
    assert index.positions([column("integer", [1]), column("text", ["a"])], 1, {}).tolist() == [-1]


def test_types_that_do_not_agree_find_nothing():
    numbers = KeyIndex.build([column("integer", [1, 2])], 2)[0]
    words = KeyIndex.build([column("text", ["1", "2"])], 2)[0]
    assert numbers.positions([column("text", ["1"])], 1, {}).tolist() == [-1]
    assert words.positions([column("integer", [1])], 1, {}).tolist() == [-1]


def test_numbers_that_are_not_whole_or_too_large_are_no_keys_when_asked():
    index = KeyIndex.build([column("integer", [1, 2])], 2)[0]
    asked = np.array([1.0, 1.5, np.nan, np.inf, -np.inf, 1e300, 2.0])
    assert index.positions([asked], 7, {}).tolist() == [0, -1, -1, -1, -1, -1, 1]
    alone = [index.positions([asked[[row]]], 1, {}).item() for row in range(7)]
    assert alone == [0, -1, -1, -1, -1, -1, 1]


def test_an_index_is_not_built_from_numbers_that_are_not_whole():
    with pytest.raises(DataError, match=r"whole numbers; found 0\.5 in 'temp', round it with floor"):
        KeyIndex.build([column("number", [None, 1.0, 0.5])], 3, ["temp"])
    with pytest.raises(DataError, match="found inf in its column 2"):
        KeyIndex.build([column("integer", [1]), np.array([np.inf])], 1)
    assert len(KeyIndex.build([column("number", [None, 2.0, 2.0])], 3)[0]) == 1
    assert len(KeyIndex.build([column("date", [None, "2024-01-01"])], 2)[0]) == 1


def test_a_number_between_the_keys_is_not_found():
    index = KeyIndex.build([column("integer", [1, 5])], 2)[0]
    assert index.positions([np.array([0, 1, 3, 5, 9])], 5, {}).tolist() == [-1, 0, -1, 1, -1]


def test_many_values_are_found_without_a_table_of_all_combinations():
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 10**6, 20_000), rng.integers(0, 10**6, 20_000)]
    index, codes = KeyIndex.build(columns, 20_000)
    assert index._table is None
    again = index.positions([column[::-1] for column in columns], 20_000, {})
    assert again[::-1].tolist() == codes.tolist()
    assert (codes >= 0).all()
    assert index.positions([np.array([columns[0][0]]), np.array([-1])], 1, {}).tolist() == [-1]


def test_too_many_combinations_are_refused():
    columns = [np.arange(70_000)] * 4
    with pytest.raises(DataError, match="a key of 4 columns has too many values"):
        KeyIndex.build(columns, 70_000)
