"""What can be told of a rollout from outside: which phases are behind it, and how it ended."""

from __future__ import annotations

import hashlib

from cd4ml.domain.rollout.state import Phase, Rollout
from cd4ml.errors import UsageError, nearest

__all__ = ["MILESTONES", "PASSED", "decided_reasons", "reached", "rollout_id", "serving"]

MILESTONES = (Phase.VERIFY, Phase.SHADOW, Phase.CANARY, Phase.APPROVAL, Phase.WATCH)
"""The phases that one can wait for, in their order; a policy may leave some of them out."""

PASSED = "passed"
_ORDER = (*MILESTONES, Phase.PROMOTED)


def reached(rollout: Rollout, phase: str) -> str:
    """Return "passed" when a phase is behind a rollout, how it ended when it was not promoted, "" before.

    Parameters
    ----------
    phase : str
        One of `MILESTONES`. A phase that the policy leaves out is passed when a later one has begun.

    Raises
    ------
    UsageError
        If there is no such phase to wait for.
    """
    if phase not in MILESTONES:
        known = [str(one) for one in MILESTONES]
        raise UsageError(f"expected a phase of {', '.join(known)}; found '{phase}'{nearest(phase, known)}")
    if rollout.phase not in _ORDER:
        return str(rollout.phase)
    return PASSED if _ORDER.index(rollout.phase) > _ORDER.index(Phase(phase)) else ""


def serving(rollout: Rollout) -> str:
    """Return the version that answers, or answers most: the candidate's once it has all requests."""
    taken = rollout.phase in (Phase.WATCH, Phase.PROMOTED)
    return (rollout.candidate if taken else rollout.stable).version


def decided_reasons(rollout: Rollout) -> tuple[str, ...]:
    """Return why it is where it is; () when nothing was decided yet."""
    return rollout.history[-1].reasons if rollout.history else ()


def rollout_id(service: str, candidate_bundle: str, stable_bundle: str, attempt: int) -> str:
    """Return the id of a rollout: the same candidate in place of the same stable version is the same rollout.

    So a task that is run again, or a run that is started again, takes up the rollout that it has started.

    Parameters
    ----------
    attempt : int
        From 1; another number is another rollout of the same two.
    """
    text = "\0".join((service, candidate_bundle, stable_bundle, str(attempt)))
    return f"r-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
