"""What differs between records."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.differences import Difference, differences, flatten

VALUES = st.recursive(
    st.none() | st.integers(-2, 2) | st.text("ab", max_size=2) | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.text("xyz", min_size=1, max_size=2), VALUES, max_size=4)


def test_values_stand_in_the_order_of_the_records_and_none_is_missing() -> None:
    first = {"same": 1, "a": {"b": 1, "list": [1, 2]}, "id": 1}
    second = {"same": 1, "a": {"b": 2, "list": [1, 2]}, "id": 2, "new": {}}
    third = {"same": 1, "a": {"b": 1, "list": [2]}, "new": {"x": True}}
    assert differences([first, second, third], leave_out={"id"}) == [
        Difference("a.b", (1, 2, 1)),
        Difference("a.list", ([1, 2], [1, 2], [2])),
        Difference("new.x", (None, None, True)),
    ]


def test_no_records_and_one_record_do_not_differ() -> None:
    assert differences([]) == []
    assert differences([{"a": 1}]) == []


@settings(max_examples=50, deadline=None)
@given(RECORDS)
def test_a_record_does_not_differ_from_itself(record: dict[str, Any]) -> None:
    assert differences([record, record]) == []


@settings(max_examples=50, deadline=None)
@given(RECORDS, RECORDS)
def test_differences_are_sorted_and_turn_round_with_the_records(a: dict[str, Any], b: dict[str, Any]) -> None:
    found = differences([a, b])
    assert [row.name for row in found] == sorted({row.name for row in found})
    assert [(row.name, row.values[::-1]) for row in found] == [
        (r.name, r.values) for r in differences([b, a])
    ]
    assert all(row.values[0] != row.values[1] for row in found)


@settings(max_examples=50, deadline=None)
@given(RECORDS)
def test_flattening_leaves_no_mapping(record: dict[str, Any]) -> None:
    assert not any(isinstance(value, dict) for value in flatten(record).values())
