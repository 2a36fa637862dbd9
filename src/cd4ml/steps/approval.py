"""A person's say on a bundle: ask for it, wait for it, record it, hold others to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import GateRejected, UsageError
from cd4ml.steps.documents import problem_of, read

if TYPE_CHECKING:
    from cd4ml.adapters.approvals import Approvals
    from cd4ml.adapters.audit_line import AuditLine
    from cd4ml.domain.approval import Choice, Decided, Standing
    from cd4ml.problem import Approval

__all__ = ["approval_policy", "await_approval", "bundle_standing", "decide_on_bundle", "require_approval"]

_LOOK_AGAIN_SECONDS = 5.0


def _now() -> datetime:
    return datetime.now(UTC)


def await_approval(
    problem: Path,
    bundle: Path,
    verdict: Path,
    store: str,
    wait_seconds: float,
    *,
    clock: Callable[[], datetime] = _now,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ask for a decision on a bundle that needs one, and wait for it.

    Request and reminders are lines of the audit log; `cd4ml models approve` without a model lists them.

    Parameters
    ----------
    problem, bundle, verdict : Path
        What the steps before wrote.
    store : str
        Where the audit log is; "" for the default store.
    wait_seconds : float
        How long; 0 looks once.

    Returns
    -------
    str
        "not_needed", "approved", "rejected", "expired" or, when nobody decided in time, "pending".

    Raises
    ------
    IntegrityError
        If the bundle or the log was changed, before or while it waited.
    GateRejected
        If the verdict is on another bundle.
    """
    from cd4ml.adapters.approvals import Approvals
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.storage import open_store

    found, policy, judged = read(verdict), problem_of(problem).approval, _whole(bundle)
    about = str(found["subject"].get("bundle"))
    if about != judged:
        raise GateRejected(
            f"the verdict is about bundle {about[:12]}; found {judged[:12]}. Judge this bundle"
        )
    storage, end = open_store(store or None), clock() + timedelta(seconds=wait_seconds)
    approvals, log, seen, state = Approvals(storage), AuditLog(storage), None, "pending"
    while True:
        now, head = clock(), log.head()
        if head != seen:
            seen, state = head, approvals.standing(judged, now, policy).state
        answer = _answer(found["decision"], state)
        if answer:
            _same(bundle, judged)
            return answer
        _ask(approvals, judged, found, now, policy)
        if now >= end:
            return state
        sleep(min(_LOOK_AGAIN_SECONDS, (end - now).total_seconds()))


def _answer(decision: str, state: str) -> str:
    """Return what to tell at once, or "" when somebody must be asked."""
    if decision == "reject" or state == "rejected":
        return "rejected"
    if decision == "accept":
        return "not_needed"
    return state if state == "approved" else ""


def _ask(approvals: Approvals, bundle: str, verdict: dict[str, Any], now: datetime, policy: Approval) -> None:
    from cd4ml.adapters.actor import current_actor

    approvals.ask(
        bundle,
        model=verdict["model"],
        now=now,
        policy=policy,
        warnings=_warnings(verdict),
        by=current_actor(),
    )


def decide_on_bundle(
    bundle: Path,
    choice: Choice,
    *,
    model: str,
    verdict: dict[str, Any],
    store: str,
    by: str,
    reason: str,
    now: datetime | None = None,
) -> tuple[Decided, AuditLine]:
    """Record what a person decided on a bundle, after looking at each of its bytes.

    Parameters
    ----------
    verdict : dict
        What the judge said: `decision`, and `gates` where they are known.

    Raises
    ------
    GateRejected
        If somebody would approve what the judge rejected, or did not judge.
    IntegrityError
        If the bundle is not what its manifest says.
    """
    from cd4ml.adapters.approvals import Approvals
    from cd4ml.adapters.storage import open_store
    from cd4ml.domain.approval import Decided

    identity, policy, decision = _whole(bundle), approval_policy(bundle), str(verdict.get("decision", ""))
    if choice == "approve" and decision not in ("accept", "needs_approval"):
        raise GateRejected(
            f"{model} has the verdict '{decision or 'none'}': a person approves what the judge left"
            " open, nothing else. Mend what failed and run the gates again"
        )
    moment = (now or _now()).replace(microsecond=0)
    until = moment + timedelta(days=policy.valid_days)
    warned = _warnings(verdict)
    decided = Decided(identity, model, choice, by, reason, moment, until, decision, warned)
    return decided, Approvals(open_store(store or None)).decide(decided)


def bundle_standing(bundle: Path, store: str, now: datetime | None = None) -> Standing:
    """Return what people decided on a bundle, after looking at each of its bytes."""
    from cd4ml.adapters.approvals import Approvals
    from cd4ml.adapters.storage import open_store

    identity = _whole(bundle)
    return Approvals(open_store(store or None)).standing(identity, now or _now(), approval_policy(bundle))


def require_approval(bundle: Path, decision: str, store: str, now: datetime | None = None) -> None:
    """Refuse a bundle that may not be used: what the judge or a person rejected, or nobody approved yet.

    Raises
    ------
    GateRejected
        With what is lacking.
    IntegrityError
        If a byte of the bundle, or the log of decisions, was changed.
    """
    found = bundle_standing(bundle, store, now)
    if found.state == "rejected":
        raise GateRejected(f"{found.reason}. Ask for a new approval")
    if decision == "accept":
        return
    if decision != "needs_approval":
        raise GateRejected(f"the verdict is '{decision or 'none'}', not 'accept'. Run the gates again")
    if found.state != "approved":
        raise GateRejected(
            f"the verdict is 'needs_approval' and {found.reason}. Ask for `cd4ml models approve`"
        )


def approval_policy(bundle: Path) -> Approval:
    """Return the policy in the bundle's own problem.json, where nobody can change it unseen."""
    from cd4ml.problem import Approval

    path = bundle / "problem.json"
    document = read(path) if path.is_file() else {}
    try:
        return Approval.model_validate(document.get("approval") or {})
    except (ValueError, AttributeError) as error:
        raise UsageError(f"'{path}' has no sound `approval`: {' '.join(str(error).split())}") from error


def _whole(bundle: Path) -> str:
    from cd4ml.adapters.manifest import bundle_id, verify_manifest
    from cd4ml.adapters.signing import require_signature

    verify_manifest(bundle)
    require_signature(bundle)
    return bundle_id(bundle)


def _same(bundle: Path, judged: str) -> None:
    """Refuse a bundle that became another one while somebody was asked about it."""
    from cd4ml.errors import IntegrityError

    if (found := _whole(bundle)) != judged:
        raise IntegrityError(
            f"the bundle was {judged[:12]} when somebody was asked about it and is {found[:12]} now; judge it"
            " anew"
        )


def _warnings(verdict: dict[str, Any]) -> tuple[str, ...]:
    gates = verdict.get("gates") or []
    return tuple(f"{gate['name']}: {gate['reason']}" for gate in gates if gate["status"] == "warn")
