"""What follows from the evidence of all metrics."""

import math

import pytest

from cd4ml.domain.sequential.mixture import log_threshold
from cd4ml.domain.sequential.verdict import Action, AtEnd, Evidence, Rules, judge
from cd4ml.errors import UsageError

PROVEN = log_threshold(0.05)
RULES = Rules(alpha=0.05, least_units=100, budget_seconds=60)


def evidence(name: str = "errors", harm: float = 0.0, safe: float | None = PROVEN, **more) -> Evidence:
    return Evidence(name, harm, safe, more.pop("units", 1000), **more)


def test_all_proven_safe_is_promoted_and_each_is_named() -> None:
    found = judge([evidence(), evidence("latency", estimate=1.02, low=0.9, high=1.2)], RULES, 1)
    assert found.action is Action.PROMOTE
    assert found.reasons[1] == "latency: no harm found, 1.02 (0.9 to 1.2), 1000 observations"


def test_one_harm_is_enough_and_pays_for_all_metrics() -> None:
    two = [evidence(), evidence("latency", harm=log_threshold(0.05 / 2))]
    assert judge(two, RULES, 1).action is Action.ROLL_BACK
    assert "latency: worse" in judge(two, RULES, 1).reasons[0]
    almost = [evidence(), evidence("latency", harm=log_threshold(0.05 / 2) - 0.01)]
    assert judge(almost, RULES, 1).action is Action.PROMOTE


def test_too_few_or_unproven_goes_on() -> None:
    assert judge([evidence(units=99)], RULES, 1).reasons == ("errors: 99 of at least 100 observations",)
    found = judge([evidence(), evidence("loss", safe=PROVEN - 0.1)], RULES, 1)
    assert found.action is Action.CONTINUE and found.reasons[0].startswith("loss: not shown to be safe yet")
    assert judge([], RULES, 1).action is Action.CONTINUE


def test_a_guard_only_watches_for_harm() -> None:
    assert judge([evidence(), evidence("slice", safe=None)], RULES, 1).action is Action.PROMOTE


def test_a_hold_goes_before_promotion_and_rollback() -> None:
    held = evidence("errors", holds=("a third of the stable answers is missing",))
    for other in (evidence("latency"), evidence("latency", harm=50.0)):
        found = judge([held, other], RULES, 1)
        assert found.action is Action.CONTINUE
        assert found.reasons == ("errors: a third of the stable answers is missing",)


def test_a_doubt_stops_a_promotion_and_no_rollback() -> None:
    doubts = ("the canary tells too little of itself",)
    found = judge([evidence()], RULES, 1, doubts)
    assert (found.action, found.reasons) == (Action.CONTINUE, doubts)
    assert judge([evidence(harm=PROVEN)], RULES, 1, doubts).action is Action.ROLL_BACK
    assert doubts[0] in judge([evidence(harm=PROVEN, holds=("x",))], RULES, 1, doubts).reasons


def test_the_end_of_the_time_rolls_back_or_holds_as_the_policy_says() -> None:
    open_ = [evidence(safe=0.0)]
    assert judge(open_, RULES, 59.9).action is Action.CONTINUE
    found = judge(open_, RULES, 60)
    assert found.action is Action.ROLL_BACK and "60 s is over" in found.reasons[0]
    assert judge(open_, Rules(budget_seconds=60, at_end=AtEnd.HOLD), 1e9).action is Action.CONTINUE
    assert judge(open_, Rules(budget_seconds=0), 1e9).action is Action.CONTINUE
    assert judge([evidence()], RULES, 1e9).action is Action.PROMOTE
    assert judge([], RULES, 60).action is Action.ROLL_BACK


def test_an_estimate_that_is_not_there_is_not_shown() -> None:
    reason = judge([evidence(harm=99.0, estimate=math.nan)], RULES, 0).reasons[0]
    assert reason == "errors: worse than the stable version, 1000 observations"


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"least_units": -1}, {"budget_seconds": -1.0}])
def test_rules_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(UsageError, match="expected an alpha"):
        Rules(**wrong)
