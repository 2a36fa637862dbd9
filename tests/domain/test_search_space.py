"""Candidates are distinct, repeat with their seed, and begin with the default."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.search_space import default_candidate, sample_space
from cd4ml.errors import UsageError

SPACE = {
    "rate": {"low": 0.01, "high": 1.0, "scale": "log"},
    "leaves": {"low": 8, "high": 64, "type": "int", "default": 31},
    "loss": ["squared", "absolute"],
}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(0, 2**40))
def test_candidates_are_distinct_in_range_and_repeat(count, seed):
    found = sample_space(SPACE, count, seed)
    assert len(found) == count == len({repr(candidate) for candidate in found})
    assert found == sample_space(dict(reversed(SPACE.items())), count, seed)
    assert found[0] == default_candidate(SPACE)
    for candidate in found:
        assert list(candidate) == list(SPACE)
        assert 0.01 <= candidate["rate"] <= 1.0
        assert 8 <= candidate["leaves"] <= 64
        assert type(candidate["leaves"]) is int
        assert type(candidate["rate"]) is float


def test_a_longer_sample_begins_with_the_shorter():
    assert sample_space(SPACE, 20, 3)[:5] == sample_space(SPACE, 5, 3)


def test_the_default_is_the_first_value_the_given_one_or_the_middle():
    assert default_candidate(SPACE) == {"rate": pytest.approx(0.1), "leaves": 31, "loss": "squared"}
    assert default_candidate({"n": {"low": 0, "high": 10, "type": "int"}}) == {"n": 5}


def test_a_small_space_is_returned_whole_and_once():
    found = sample_space({"a": [1, 2, 3], "b": ["x", "y"], "c": [[1], [2]]}, 100, 0)
    assert len(found) == 12 == len({repr(candidate) for candidate in found})
    assert found[0] == {"a": 1, "b": "x", "c": [1]}


def test_a_small_range_gives_what_it_has():
    found = sample_space({"n": {"low": 1, "high": 3, "type": "int"}}, 10, 0)
    assert sorted(candidate["n"] for candidate in found) == [1, 2, 3]


def test_a_large_grid_is_drawn_without_being_listed():
    space = {f"p{i}": list(range(100)) for i in range(5)}
    assert len(sample_space(space, 10, 0)) == 10


def test_no_parameters_give_one_empty_candidate():
    assert sample_space({}, 5, 0) == [{}]


def test_a_log_scale_spends_as_many_draws_on_each_decade():
    found = sample_space({"rate": {"low": 0.01, "high": 1.0, "scale": "log"}}, 400, 0)
    assert 160 < sum(candidate["rate"] < 0.1 for candidate in found) < 240


def test_the_ends_of_an_integer_range_are_as_likely_as_the_rest():
    space = {"n": {"low": 1, "high": 4, "type": "int"}, "x": {"low": 0.0, "high": 1.0}}
    found = [candidate["n"] for candidate in sample_space(space, 800, 0)]
    assert all(150 < found.count(n) < 250 for n in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], "'x' must be a list of values or a range"),
        ("abc", "found 'abc'"),
        (3, "found 3"),
        ({"low": 1}, "low <= high; found 1 and None"),
        ({"low": 2, "high": 1}, "found 2 and 1"),
        ({"low": 0, "high": 1, "scale": "log"}, "and low above 0"),
        ({"low": 0, "high": 1, "scale": "cube"}, "found cube, float"),
        ({"low": 0, "high": 1, "scael": "log"}, "'scael'; did you mean 'scale'?"),
        ({"low": 0, "high": float("inf")}, "found 0 and inf"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_parameter(entry, message):
    with pytest.raises(UsageError, match="search space 'x'") as caught:
        sample_space({"x": entry}, 1, 0)
    assert message in str(caught.value)


def test_a_count_below_one_is_refused():
    with pytest.raises(UsageError, match="found 0"):
        sample_space(SPACE, 0, 0)
