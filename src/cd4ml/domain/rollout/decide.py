"""The next state of a rollout, from what was seen or from what a person asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from cd4ml.domain.rollout.state import Entry, Phase, Rollout
from cd4ml.domain.rollout.traffic import wanted_traffic
from cd4ml.domain.sequential.verdict import Action, Judgement
from cd4ml.errors import UsageError
from cd4ml.problem import Rollout as Policy

__all__ = ["NO_EVIDENCE", "Command", "Seen", "Verification", "command", "decide"]

NO_EVIDENCE = Judgement(Action.CONTINUE, ("there is no evidence yet",))
_CONTROLLER = "controller"
_LONGEST_LOOK_SECONDS = 60.0
"""Time between two looks counts up to this; more is a clock that jumped or a controller that was away."""


class Verification(StrEnum):
    """What the replay of the holdout at the endpoint said."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True)
class Seen:
    """What a look at the world found.

    Attributes
    ----------
    at_seconds : float
        Since 1970.
    converged : bool
        The plane is as the rollout's phase wants it. Until then nothing that is measured belongs to it.
    judgement : Judgement
        Of the evidence of this step alone.
    verification : Verification
        Of the candidate's endpoint.
    holds : tuple of str
        Why nothing may be concluded: the plane contradicts itself, a source is silent.
    """

    at_seconds: float
    converged: bool
    judgement: Judgement = NO_EVIDENCE
    verification: Verification = Verification.PENDING
    holds: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cause:
    """Who or what moves a rollout, and when."""

    by: str
    why: tuple[str, ...]
    at_seconds: float


class Command(StrEnum):
    """What a person can ask."""

    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    APPROVE = "approve"
    PROMOTE = "promote"
    ROLL_BACK = "rollback"
    ABORT = "abort"


def decide(rollout: Rollout, seen: Seen, policy: Policy) -> Rollout:
    """Return the rollout after a look; it is the same again when nothing follows from it.

    Whatever is missing, unclear or paused holds it where it is; the only ways on are a passed verification
    and a judgement to promote, of a plane that is as it should be.
    """
    if rollout.ended:
        return rollout
    rollout = _with_time(rollout, seen)
    if rollout.paused:
        return replace(rollout, waiting=(f"paused: {rollout.paused}",))
    if seen.holds:
        return replace(rollout, waiting=seen.holds)
    if not seen.converged:
        return _not_converged(rollout, seen, policy)
    return _AFTER[rollout.phase](rollout, seen, policy)


def command(
    rollout: Rollout, asked: Command, by: str, reason: str, at_seconds: float, policy: Policy
) -> Rollout:
    """Return the rollout after a person's command.

    Raises
    ------
    UsageError
        If it has ended, or the command means nothing in its phase, or a reason is missing.
    """
    if rollout.ended:
        raise UsageError(f"the rollout {rollout.id} has ended ({rollout.phase}); start another one")
    if asked is not Command.RESUME and not reason.strip():
        raise UsageError(f"'{asked}' needs a reason: it stands in the history")
    cause = _Cause(by, (reason.strip() or "resumed",), at_seconds)
    match asked:
        case Command.PAUSE:
            found = _noted(replace(rollout, paused=cause.why[0]), cause, policy)
        case Command.RESUME if rollout.paused:
            found = _noted(replace(rollout, paused=""), cause, policy)
        case Command.SKIP if rollout.phase in (Phase.SHADOW, Phase.CANARY):
            found = _next_step(rollout, cause, policy)
        case Command.APPROVE if rollout.phase is Phase.APPROVAL:
            found = _noted(replace(rollout, approved_by=by), cause, policy)
        case Command.PROMOTE if rollout.phase is not Phase.VERIFY:
            following = Phase.PROMOTED if rollout.phase is Phase.WATCH else Phase.WATCH
            found = _enter(rollout, following, cause, policy)
        case Command.ROLL_BACK:
            found = _enter(rollout, Phase.ROLLED_BACK, cause, policy)
        case Command.ABORT:
            found = _enter(rollout, Phase.ABORTED, cause, policy)
        case _:
            phase = f"{rollout.phase}{' (paused)' if rollout.paused else ''}"
            raise UsageError(f"'{asked}' means nothing while the rollout is in phase '{phase}'")
    return found


def _by_itself(seen: Seen, *why: str) -> _Cause:
    return _Cause(_CONTROLLER, why, seen.at_seconds)


def _taken_back(rollout: Rollout, seen: Seen, policy: Policy) -> Rollout:
    return _enter(rollout, Phase.ROLLED_BACK, _by_itself(seen, *seen.judgement.reasons), policy)


def _with_time(rollout: Rollout, seen: Seen) -> Rollout:
    """Count the time since the last look, which a jump of the clock does not lengthen or turn back."""
    step = seen.at_seconds - rollout.seen_at_seconds if rollout.seen_at_seconds else 0.0
    counted = min(max(step, 0.0), _LONGEST_LOOK_SECONDS)
    held = rollout.paused or seen.holds
    # The time of a step, as its evidence, begins when the plane is as it wants it.
    first = seen.converged and not rollout.converged_at_seconds
    elapsed = 0.0 if first else rollout.elapsed_seconds + (0.0 if held else counted)
    # Not before the last look, at which it was not so yet: a clock that went back would take in another step.
    since = max(seen.at_seconds, rollout.seen_at_seconds) if seen.converged else 0.0
    began = rollout.converged_at_seconds or since
    return replace(
        rollout, elapsed_seconds=elapsed, seen_at_seconds=seen.at_seconds, converged_at_seconds=began
    )


def _not_converged(rollout: Rollout, seen: Seen, policy: Policy) -> Rollout:
    began = rollout.converged_at_seconds > 0
    if began and seen.judgement.action is Action.ROLL_BACK:
        return _taken_back(rollout, seen, policy)
    # A server that is started again, in the middle of a step, does not make the candidate a late one.
    never = not began or rollout.phase is Phase.VERIFY
    if never and rollout.phase is not Phase.WATCH and rollout.elapsed_seconds >= policy.ready_seconds > 0:
        why = f"the candidate was not ready within {policy.ready_seconds:g} s"
        return _enter(rollout, Phase.ROLLED_BACK, _by_itself(seen, why), policy)
    return replace(rollout, waiting=("the plane is not yet as this phase wants it",))


def _after_verification(rollout: Rollout, seen: Seen, policy: Policy) -> Rollout:
    if seen.verification is Verification.FAILED:
        cause = _by_itself(seen, "the endpoint does not answer as the judge did", *seen.judgement.reasons)
        return _enter(rollout, Phase.ROLLED_BACK, cause, policy)
    if seen.verification is Verification.PENDING:
        return replace(rollout, waiting=("the endpoint is being verified",))
    return _next_step(rollout, _by_itself(seen, "the endpoint answers as the judge did"), policy)


def _after_evidence(rollout: Rollout, seen: Seen, policy: Policy) -> Rollout:
    found = seen.judgement
    if found.action is Action.ROLL_BACK:
        return _taken_back(rollout, seen, policy)
    if found.action is Action.CONTINUE:
        return replace(rollout, waiting=found.reasons)
    return _next_step(rollout, _by_itself(seen, *found.reasons), policy)


def _after_approval(rollout: Rollout, seen: Seen, policy: Policy) -> Rollout:
    if seen.judgement.action is Action.ROLL_BACK:
        return _taken_back(rollout, seen, policy)
    if not rollout.approved_by:
        return replace(rollout, waiting=("a person has to approve it",))
    return _enter(rollout, Phase.WATCH, _by_itself(seen, f"approved by {rollout.approved_by}"), policy)


def _after_watching(rollout: Rollout, seen: Seen, policy: Policy) -> Rollout:
    if seen.judgement.action is Action.ROLL_BACK:
        return _taken_back(rollout, seen, policy)
    left = policy.watch_seconds - rollout.elapsed_seconds
    if left > 0:
        return replace(rollout, waiting=(f"watched for {left:.0f} s more",))
    cause = _by_itself(seen, f"watched for {rollout.elapsed_seconds:.0f} s")
    return _enter(rollout, Phase.PROMOTED, cause, policy)


def _next_step(rollout: Rollout, cause: _Cause, policy: Policy) -> Rollout:
    """Go where the phase goes when all is well."""
    if rollout.phase is Phase.VERIFY and policy.shadow_requests:
        return _enter(rollout, Phase.SHADOW, cause, policy)
    following = rollout.step + 1 if rollout.phase is Phase.CANARY else 0
    if following < len(policy.canary_steps):
        return _enter(replace(rollout, step=following), Phase.CANARY, cause, policy)
    phase = Phase.WATCH if policy.automatic else Phase.APPROVAL
    return _enter(rollout, phase, cause, policy)


def _enter(rollout: Rollout, phase: Phase, cause: _Cause, policy: Policy) -> Rollout:
    moved = replace(
        rollout, phase=phase, elapsed_seconds=0.0, converged_at_seconds=0.0, paused="", waiting=()
    )
    return _noted(moved, cause, policy)


def _noted(rollout: Rollout, cause: _Cause, policy: Policy) -> Rollout:
    traffic = wanted_traffic(rollout, policy)
    answers_all = traffic.stable == rollout.candidate
    percent = 100.0 if answers_all else traffic.canary_percent
    entry = Entry(cause.at_seconds, rollout.phase, percent, cause.by, cause.why)
    return replace(rollout, history=(*rollout.history, entry))


_AFTER = {
    Phase.VERIFY: _after_verification,
    Phase.SHADOW: _after_evidence,
    Phase.CANARY: _after_evidence,
    Phase.APPROVAL: _after_approval,
    Phase.WATCH: _after_watching,
}
