"""The budget of a holdout: the bound, an attack that it must withstand, limits, and the gate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.gates import Gate
from cd4ml.domain.holdout_budget import (
    Budget,
    HoldoutUse,
    budget_of,
    ledger_gate,
    looks_within,
    worst_case_bias,
)
from cd4ml.domain.row_sketch import RowSketch, shared_fraction, sketch
from cd4ml.errors import DataError, UsageError
from cd4ml.problem import HoldoutBudget


def use(own: int, inherited: float = 0.0, size: int = 10_000) -> HoldoutUse:
    return HoldoutUse("c" * 64, size, own, inherited, Budget(20, 50))


def test_the_bound_is_the_published_one() -> None:
    bits = 10 * 6 * math.log(2) + math.log(2 / 0.05)
    assert worst_case_bias(10, 5000) == pytest.approx(math.sqrt(bits / 10_000))
    hoeffding = math.sqrt(math.log(2 / 0.05) / 10_000)
    assert worst_case_bias(0, 5000) == pytest.approx(hoeffding), "no look before: Hoeffding's inequality"
    assert worst_case_bias(1000, 1) == 1


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 0.5), st.integers(1, 10_000_000))
def test_the_budget_is_the_last_look_within_the_bound(bias: float, size: int) -> None:
    looks = looks_within(bias, size)
    assert worst_case_bias(looks + 1, size) > bias
    assert looks == 0 or worst_case_bias(looks, size) <= bias


def boosted_gain(looks: int, size: int, seed: int) -> float:
    """Return what the attack of Blum and Hardt gains: a vote of those random models that scored above chance.

    The labels are coin flips, so the true score of each model is 1/2.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    labels = random.choice([-1, 1], size)
    votes = random.choice([-1, 1], (looks, size))
    better = np.sign(votes @ labels + 0.5)
    vote = np.sign(better @ votes + 0.5)
    return float((vote == labels).mean() - 0.5)


def test_chasing_the_scores_gains_less_than_the_bound_within_the_budget_and_much_beyond_it() -> None:
    size = 4000
    within = looks_within(0.1, size)
    assert within >= 15
    gains = [boosted_gain(within, size, seed) for seed in range(20)]
    assert max(gains) <= 0.1
    assert np.mean(gains) > 0.01, "the attack works, the budget holds it down"
    assert np.mean([boosted_gain(500, size, seed) for seed in range(5)]) > 0.1


def test_limits_grow_with_the_holdout_and_small_ones_have_least_ones() -> None:
    none = HoldoutBudget()
    assert budget_of(none, 57) == Budget(20, 50)
    assert budget_of(none, 16_281) == Budget(20, 77)
    assert budget_of(none, 100_000) == Budget(119, 480)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"warn_looks": 3, "max_looks": 5}, Budget(3, 5)),
        ({"max_looks": 5}, Budget(5, 5)),
        ({"warn_looks": 60}, Budget(60, 60)),
        ({"warn_looks": 9, "max_looks": 5}, Budget(5, 5)),
        ({"warn_looks": 3}, Budget(3, 50)),
    ],
)
def test_the_problem_sets_limits(given: dict[str, int], expected: Budget) -> None:
    assert budget_of(HoldoutBudget(**given), 100) == expected


@pytest.mark.parametrize(
    ("own", "inherited", "status"),
    [(1, 0, "pass"), (20, 0, "pass"), (21, 0, "warn"), (50, 0, "warn"), (51, 0, "fail"), (1, 49.5, "fail")],
)
def test_the_gate_warns_and_then_refuses(own: int, inherited: float, status: str) -> None:
    gate = ledger_gate(use(own, inherited))
    assert (gate.name, gate.status, gate.measured, gate.limit) == (
        "holdout_budget",
        status,
        own + inherited,
        50,
    )
    assert Gate.from_dict(json.loads(json.dumps(gate.to_dict()))) == gate


def test_the_gate_says_what_was_counted_and_what_to_do() -> None:
    gate = ledger_gate(use(2, 50.4))
    assert "the holdout cccccccccccc was looked at 52.4 times (50.4 of them" in gate.reason
    assert "from 20 it warns, 50 are allowed" in gate.reason
    assert "then `cd4ml data holdout refresh`" in gate.reason


def test_the_use_of_a_holdout_survives_json_and_damage_is_refused() -> None:
    assert HoldoutUse.from_dict(json.loads(json.dumps(use(3, 0.5).to_dict()))) == use(3, 0.5)
    with pytest.raises(DataError, match="says nothing of a holdout"):
        HoldoutUse.from_dict({"holdout": "x"})


@pytest.mark.parametrize("call", [lambda: worst_case_bias(-1, 5), lambda: worst_case_bias(1, 0)])
def test_impossible_looks_are_refused(call: object) -> None:
    with pytest.raises(UsageError, match="looks of at least 0"):
        call()  # type: ignore[operator]


def test_impossible_biases_are_refused() -> None:
    with pytest.raises(UsageError, match="a bias in"):
        looks_within(0, 5)


def hashes(first: int, last: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(1)).integers(0, 2**63, 100_000).astype(np.uint64)[first:last]


def test_the_shared_part_of_small_sets_is_exact() -> None:
    old, new = sketch(hashes(0, 100)), sketch(hashes(30, 130))
    assert shared_fraction(new, old) == 0.7
    assert shared_fraction(sketch(hashes(90, 100)), old) == 1
    assert shared_fraction(sketch(hashes(200, 300)), old) == 0
    assert sketch(np.repeat(hashes(0, 5), 3)).rows == 5


@pytest.mark.parametrize(
    ("first", "last", "share"), [(0, 40_000, 1), (20_000, 60_000, 0.5), (40_000, 80_000, 0)]
)
def test_the_shared_part_of_large_sets_is_estimated(first: int, last: int, share: float) -> None:
    assert shared_fraction(sketch(hashes(first, last)), sketch(hashes(0, 40_000))) == pytest.approx(
        share, abs=0.06
    )


def test_a_small_part_of_a_large_set_is_wholly_shared() -> None:
    small, large = sketch(hashes(0, 5_000)), sketch(hashes(0, 50_000))
    assert shared_fraction(small, large) == pytest.approx(1, abs=0.25)
    assert shared_fraction(large, small) == pytest.approx(0.1, abs=0.03)


def test_no_rows_share_nothing() -> None:
    with pytest.raises(UsageError, match="expected rows to compare"):
        shared_fraction(RowSketch(0, np.array([], dtype=np.uint64)), sketch(hashes(0, 3)))
