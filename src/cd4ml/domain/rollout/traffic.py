"""Which traffic a rollout wants, in each of its phases."""

from __future__ import annotations

from dataclasses import dataclass

from cd4ml.domain.rollout.state import Phase, Rollout, Target
from cd4ml.problem import Rollout as Policy

__all__ = ["Traffic", "wanted_traffic"]


@dataclass(frozen=True)
class Traffic:
    """Who answers.

    Attributes
    ----------
    stable : Target
        Answers all that the canary does not.
    canary, shadow : Target or None
        None where there is none.
    canary_percent, mirror_percent : float
        From 0 to 100.
    """

    stable: Target
    canary: Target | None = None
    shadow: Target | None = None
    canary_percent: float = 0.0
    mirror_percent: float = 0.0


def wanted_traffic(rollout: Rollout, policy: Policy) -> Traffic:
    """Return the traffic of the rollout's phase; asking twice gives the same."""
    old, new = rollout.stable, rollout.candidate
    match rollout.phase:
        case Phase.VERIFY:
            found = Traffic(old, canary=new)
        case Phase.SHADOW:
            found = Traffic(old, shadow=new, mirror_percent=policy.mirror_percent)
        case Phase.CANARY:
            found = Traffic(old, canary=new, canary_percent=policy.canary_steps[rollout.step])
        case Phase.APPROVAL:
            percent = policy.canary_steps[-1] if policy.canary_steps else 0.0
            found = Traffic(old, canary=new, canary_percent=percent)
        case Phase.WATCH:
            # What it replaced stays warm, so that going back takes a route and no start.
            found = Traffic(new, canary=old)
        case Phase.PROMOTED:
            found = Traffic(new)
        case _:
            found = Traffic(old)
    return found
