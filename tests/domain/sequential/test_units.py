"""Retries count once; a sticky caller counts once, and by who is still at risk."""

import numpy as np
import pytest

from cd4ml.domain.sequential.units import FirstEvents, FirstSights


def take(events: FirstEvents, *rows: tuple[str, bool, float, bool]) -> list[tuple[bool, float]]:
    keys, arm, share, happened = zip(*rows, strict=True)
    found = events.update(list(keys), np.array(arm), np.array(share), np.array(happened))
    return list(zip(found[0].tolist(), found[1].tolist(), strict=True))


def test_a_request_counts_once() -> None:
    sights = FirstSights(most=3)
    assert sights.update(["a", "b", "a"]).tolist() == [True, True, False]
    assert sights.update(["b", "c", "d"]).tolist() == [False, True, True]
    assert sights.update(["a"]).tolist() == [True]  # forgotten long ago


def test_a_unit_that_fails_at_once_has_the_weight_as_its_chance() -> None:
    events = FirstEvents()
    assert take(events, ("a", True, 0.25, True), ("b", False, 0.25, True)) == [(True, 0.25), (False, 0.25)]
    assert events.units == 2


def test_only_the_first_event_of_a_unit_counts() -> None:
    events = FirstEvents()
    assert take(events, ("a", True, 0.1, True), ("a", True, 0.1, True), ("a", True, 0.1, False)) == [
        (True, 0.1)
    ]


def test_a_known_unit_has_the_share_of_those_at_risk() -> None:
    events = FirstEvents()
    take(events, *((name, name == "a", 0.1, False) for name in "abcd"))
    assert take(events, ("b", False, 0.1, True)) == [(False, 0.25)]
    assert take(events, ("c", False, 0.1, True)) == [(False, pytest.approx(1 / 3))]
    assert take(events, ("a", True, 0.1, True)) == [(True, 0.5)]
    assert take(events, ("d", False, 0.1, True)) == [(False, 0.0)]


def test_a_larger_weight_moves_units_before_they_are_met_again() -> None:
    events = FirstEvents()
    take(events, ("a", True, 0.2, False), *((name, False, 0.2, False) for name in "bcde"))
    # Of four stable units a quarter is expected to move when the weight goes from 0.2 to 0.4.
    assert take(events, ("b", False, 0.4, True)) == [(False, pytest.approx((1 + 4 * 0.25) / 5))]
    # c is known to have moved; a, d and e were 4 units with 1.6 in the canary: without c 1.2 of 3.
    take(events, ("c", True, 0.4, False))
    assert take(events, ("d", False, 0.4, True)) == [(False, pytest.approx((1 + 1.2) / 4))]


def test_a_smaller_weight_moves_units_back() -> None:
    events = FirstEvents()
    take(events, ("a", True, 0.5, False), ("b", True, 0.5, False), ("c", False, 0.5, False))
    assert take(events, ("a", False, 0.0, True)) == [(False, pytest.approx(0.0))]
