"""What a rollout wants of the plane and of the evidence, and whether the plane is so. Pure."""

from __future__ import annotations

from cd4ml.delivery.plane import DesiredService, ObservedService, Variant
from cd4ml.domain.rollout.state import FINAL, Phase, Rollout, Target
from cd4ml.domain.rollout.traffic import wanted_traffic
from cd4ml.domain.sequential.verdict import AtEnd, Rules
from cd4ml.problem import Rollout as Policy

__all__ = [
    "contradictions",
    "desired_of",
    "differences",
    "is_as_wanted",
    "is_settled",
    "rules_of",
    "wanted_champion",
]

_SHARE_TOLERANCE = 0.005
"""Shares are in steps of 0.01 %."""


def desired_of(rollout: Rollout, policy: Policy, fence: int) -> DesiredService:
    """Return what the service shall be in the rollout's phase; asking twice gives the same."""
    traffic = wanted_traffic(rollout, policy)
    return DesiredService(
        rollout.service,
        _variant(traffic.stable),
        canary=_variant(traffic.canary) if traffic.canary else None,
        shadow=_variant(traffic.shadow) if traffic.shadow else None,
        canary_percent=traffic.canary_percent,
        mirror_percent=traffic.mirror_percent,
        sticky=policy.sticky,
        # Whoever met this rollout's canary first shall not meet that of the next one first.
        salt=rollout.id,
        fence=fence,
    )


def _variant(target: Target) -> Variant:
    return Variant(target.reference, target.version, target.bundle, target.location, target.history)


def rules_of(policy: Policy, phase: Phase) -> Rules:
    """Return how the evidence of a phase is weighed.

    Where a person is waited for, and after the promotion, no time runs out and nothing has to be proven:
    there, evidence can only take the candidate back.
    """
    if phase not in (Phase.SHADOW, Phase.CANARY):
        return Rules(policy.alpha)
    least = policy.shadow_requests if phase is Phase.SHADOW else policy.min_requests
    return Rules(policy.alpha, least, policy.step_seconds, AtEnd(policy.at_end))


def wanted_champion(rollout: Rollout) -> Target:
    """Return which version the registry shall call champion: the one that answers the callers."""
    return rollout.candidate if rollout.phase in (Phase.WATCH, Phase.PROMOTED) else rollout.stable


def is_settled(rollout: Rollout) -> bool:
    """Tell whether a rollout has ended and the plane was seen as its end wants it: nothing is left to do."""
    return rollout.phase in FINAL and rollout.converged_at_seconds > 0


def differences(observed: ObservedService, desired: DesiredService) -> tuple[str, ...]:
    """Return what of a service is not as it shall be, one line each; none says that all is.

    A version or a bundle that a server does not tell of is taken from the plane's word that it converged.
    """
    found: list[str] = []
    for word, is_, shall in (
        ("the canary gets", observed.canary_percent, desired.canary_percent),
        ("the shadow gets", observed.mirror_percent, desired.mirror_percent),
    ):
        if abs(is_ - shall) > _SHARE_TOLERANCE:
            found.append(f"{word} {is_:g} % and shall get {shall:g} %")
    wanted = desired.variants
    for name, variant in wanted.items():
        one = observed.variant(name)
        if one is None:
            found.append(f"{name} is not there yet")
        elif (one.version or variant.version, one.bundle or variant.bundle) != variant.identity[1::-1]:
            found.append(f"{name} serves version {one.version or '?'} and shall serve {variant.version}")
        elif not one.ready:
            found.append(f"{name} is {one.phase}{f': {one.error}' if one.error else ''}")
    found += [f"{one.name} is still there" for one in observed.variants if one.name not in wanted]
    return tuple(found)


def is_as_wanted(observed: ObservedService, desired: DesiredService) -> bool:
    """Tell whether all of the desired state is true."""
    return observed.converged and not differences(observed, desired)


def contradictions(observed: ObservedService, rollout: Rollout, desired: DesiredService) -> tuple[str, ...]:
    """Return why what was observed says nothing about the candidate, one line each."""
    if observed.converged:
        wrong = differences(observed, desired)
        return (f"the plane says that it is done, and {wrong[0]}",) if wrong else ()
    stable = observed.variant("stable")
    if rollout.phase is Phase.WATCH or (stable is not None and stable.ready):
        return ()
    why = "; ".join(observed.problems) or (f"it is {stable.phase}" if stable else "it is not there")
    return (f"the stable version does not serve: {why}",)
