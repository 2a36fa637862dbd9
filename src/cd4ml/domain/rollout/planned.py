"""How long each step of a policy takes at a given traffic, and whether it can ever decide."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isinf

from cd4ml.domain.rollout.state import Phase
from cd4ml.domain.sequential.power import requests_for_rare, requests_for_rates
from cd4ml.errors import UsageError
from cd4ml.problem import Rollout as Policy

__all__ = ["Load", "StepPlan", "plan_steps", "refusal"]

_METRICS = 3
"""Among so many the probability of a false rollback is shared."""


@dataclass(frozen=True)
class Load:
    """The traffic of a service.

    Attributes
    ----------
    requests_per_second : float
        0 or more.
    error_fraction, slow_fraction : float
        Of the requests, from 0 to 1. Slow is what is above the 99th percentile, unless the policy says else.
    """

    requests_per_second: float
    error_fraction: float = 0.0
    slow_fraction: float = 0.01

    def __post_init__(self) -> None:
        shares = (self.error_fraction, self.slow_fraction)
        if not 0 <= self.requests_per_second < inf or not all(0 <= one <= 1 for one in shares):
            raise UsageError(
                "expected no negative requests per second, and fractions from 0 to 1; found"
                f" {self.requests_per_second}, {shares[0]} and {shares[1]}"
            )


@dataclass(frozen=True)
class StepPlan:
    """What one step needs.

    Attributes
    ----------
    percent : float
        Share of the requests that the candidate answers, or gets copies of.
    requests : float
        Of the service, to promote what is as good as the stable version, in 80 % of the cases; inf for never.
    harm_requests : float
        To find that it errs as often as the policy's margin says; inf where its errors are no measure.
    seconds, harm_seconds : float
        The same in time, at today's traffic.
    metric : str
        What takes longest to prove.
    """

    phase: Phase
    percent: float
    requests: float
    harm_requests: float
    seconds: float
    harm_seconds: float
    metric: str


def plan_steps(policy: Policy, load: Load) -> tuple[StepPlan, ...]:
    """Return the steps of a policy in their order, with what each needs."""
    found = []
    if policy.shadow_requests:
        found.append(_shadow(policy, load))
    found += [_canary(policy, load, percent) for percent in policy.canary_steps]
    return tuple(found)


def _shadow(policy: Policy, load: Load) -> StepPlan:
    """The shadow gets copies: pairs in which the two differ are coins, and errors are the one measure."""
    # Two arms get each request: a pair is two observations, and the margin shows in those that differ.
    pairs = {"errors": _safe(policy, load.error_fraction, policy.max_error_ratio, 0.5, each=True)}
    harm = requests_for_rates(load.error_fraction, policy.max_error_ratio, 0.5, policy.alpha / _METRICS)
    least, percent = policy.shadow_requests, policy.mirror_percent
    return _step(Phase.SHADOW, percent, pairs, least, harm.harm / 2, percent / 100, load)


def _canary(policy: Policy, load: Load, percent: float) -> StepPlan:
    share = percent / 100
    needs = {
        "errors": _safe(policy, load.error_fraction, policy.max_error_ratio, share),
        "slow answers": _safe(policy, load.slow_fraction, policy.max_slow_ratio, share),
    }
    harm = requests_for_rates(load.error_fraction, policy.max_error_ratio, share, policy.alpha / _METRICS)
    return _step(Phase.CANARY, percent, needs, policy.min_requests, harm.harm, 1.0, load)


def _safe(policy: Policy, rate: float, margin: float, share: float, each: bool = False) -> float:
    """Return requests after which a metric is proven safe: by its ratio, or because it is rare anyway.

    Each of the two tests has half of the wealth.
    """
    alpha = policy.alpha / 2
    ratio = requests_for_rates(rate, margin, share, alpha).safe if 0 < share < 1 else inf
    rare = requests_for_rare(rate, policy.negligible_fraction, alpha)
    return min(ratio / 2, rare) if each else min(ratio, rare / share)


def _step(
    phase: Phase,
    percent: float,
    needs: dict[str, float],
    least: int,
    harm: float,
    seen: float,
    load: Load,
) -> StepPlan:
    slowest = max(needs, key=lambda name: needs[name])
    requests, metric = needs[slowest], slowest
    if requests < least:
        requests, metric = float(least), "the least number of requests"
    requests, harm = (one if isinf(one) else float(ceil(one / seen)) for one in (requests, harm))
    speed = load.requests_per_second
    seconds, harm_seconds = (one / speed if speed > 0 else inf for one in (requests, harm))
    return StepPlan(phase, percent, requests, harm, seconds, harm_seconds, metric)


def refusal(policy: Policy, load: Load) -> str:
    """Return why a policy can never decide at this traffic, the field and a value that would do; or ""."""
    if load.requests_per_second == 0:
        return "there are no requests: nothing can be proven. Wait for traffic, or say --requests-per-second"
    for one in plan_steps(policy, load):
        where = f"{one.phase} at {one.percent:g} %"
        if isinf(one.requests):
            rate = load.error_fraction if one.metric == "errors" else load.slow_fraction
            return (
                f"{where} can never be proven safe: {one.metric} are {rate:.3g} of the requests, which no"
                f" share of {one.percent:g} % compares; give canary_percent a share below 100 (such as 50),"
                f" or negligible_fraction a value above {rate:.3g}, such as {min(2 * rate or 0.01, 0.9):.2g}"
            )
        if 0 < policy.step_seconds < one.seconds:
            return (
                f"{where} needs {one.requests:,.0f} requests for {one.metric}, which is"
                f" {one.seconds / 3600:,.1f} h at {load.requests_per_second:.3g} a second, and step_seconds"
                f" ends it after {policy.step_seconds / 3600:,.1f} h; set step_seconds to"
                f" {_round_up(1.5 * one.seconds)}, or a wider margin ({_margin(one.metric)})"
            )
    return ""


def _margin(metric: str) -> str:
    return "max_slow_ratio" if metric == "slow answers" else "max_error_ratio"


def _round_up(seconds: float) -> int:
    """Return whole hours, or minutes where that is less than one."""
    unit = 3600 if seconds > 3600 else 60
    return ceil(seconds / unit) * unit
