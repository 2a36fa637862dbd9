"""What a policy needs at a traffic, and which policies can never decide."""

from math import inf

import pytest

from cd4ml.domain.rollout.planned import Load, plan_steps, refusal
from cd4ml.domain.rollout.state import Phase
from cd4ml.domain.sequential.power import requests_for_rare
from cd4ml.errors import UsageError
from cd4ml.problem import Rollout as Policy


def test_each_step_is_planned_in_its_order() -> None:
    policy = Policy(canary_percent=[5, 50])
    steps = plan_steps(policy, Load(10, 0.02))
    assert [(one.phase, one.percent) for one in steps] == [
        (Phase.SHADOW, 100),
        (Phase.CANARY, 5),
        (Phase.CANARY, 50),
    ]
    assert steps[1].requests > 2 * steps[2].requests  # a small share learns slowly
    assert all(one.seconds == one.requests / 10 for one in steps)
    assert plan_steps(Policy(shadow_requests=0, strategy="blue_green"), Load(1)) == ()


def test_the_least_number_of_requests_counts() -> None:
    step = plan_steps(Policy(shadow_requests=0, canary_percent=[50], min_requests=10**6), Load(10, 0.02))[0]
    assert (step.requests, step.metric) == (1e6, "the least number of requests")


def test_two_versions_that_never_fail_can_be_told_to_be_equal() -> None:
    policy = Policy(shadow_requests=0, canary_percent=[50], slow_seconds=1, min_requests=1)
    step = plan_steps(policy, Load(10, 0.0, slow_fraction=0.0))[0]
    assert 400 < step.requests < 2000
    assert step.harm_requests == inf
    assert requests_for_rare(0.02, 0.01) == inf
    with pytest.raises(UsageError):
        requests_for_rare(0.5, 0.0)


def test_a_policy_that_can_never_decide_is_refused_with_what_would() -> None:
    policy = Policy(canary_percent=[5])
    assert refusal(policy, Load(100, 0.01)) == ""
    assert "--requests-per-second" in refusal(policy, Load(0.0))
    slow = refusal(policy, Load(0.01, 0.01))
    assert "set step_seconds to" in slow
    enough = float(slow.partition("set step_seconds to ")[2].partition(",")[0])
    again = refusal(policy.model_copy(update={"step_seconds": enough}), Load(0.01, 0.01))
    assert "shadow" not in again  # that step can decide now
    assert refusal(policy.model_copy(update={"step_seconds": 0.0}), Load(0.01, 0.01)) == ""
    whole = Policy(shadow_requests=0, canary_percent=[100])
    assert "can never be proven safe" in refusal(whole, Load(100, 0.02))


@pytest.mark.parametrize("wrong", [(-1.0, 0.0), (inf, 0.0), (1.0, 1.5)])
def test_a_traffic_that_cannot_be_is_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="fractions from 0 to 1"):
        Load(*wrong)
