"""What the commands of a rollout do: plan it, start it, ask something of it, tell of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.rollouts import Asked, RolloutStore, Stored
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.plane import Variant
    from cd4ml.domain.rollout.planned import Load
    from cd4ml.domain.rollout.state import Rollout, Target
    from cd4ml.problem import Rollout as Policy
    from cd4ml.steps.serve import Permission

__all__ = [
    "ask_rollout",
    "changed_policy",
    "measured_load",
    "must_not_run",
    "policy_of",
    "rollout_status",
    "start_rollout",
]

_MEASURED_SECONDS = 3600.0
_LEAST_REQUESTS = 20


def policy_of(bundle: Path, changes: Path | None = None) -> Policy:
    """Return the rollout policy in the problem of a bundle, with what a YAML file changes of it.

    Raises
    ------
    UsageError
        If the file is no mapping, or a value is none that the policy takes.
    """
    from cd4ml.steps.documents import read

    path = bundle / "problem.json"
    return changed_policy((read(path) if path.is_file() else {}).get("rollout") or {}, changes)


def changed_policy(own: Mapping[str, Any], changes: Path | None = None) -> Policy:
    """Return a policy with what a YAML file changes of it; see `policy_of`."""
    import yaml
    from pydantic import ValidationError

    from cd4ml.problem import Rollout as Policy

    values = dict(own)
    if changes is not None:
        try:
            more = yaml.safe_load(changes.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UsageError(f"--policy '{changes}' cannot be read as YAML: {error}") from error
        if not isinstance(more, dict):
            raise UsageError(f"--policy '{changes}' must be a mapping, such as 'min_requests: 1000'")
        values |= more.get("rollout", more)
    try:
        return Policy.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"the rollout policy's {where}: {first['msg']}") from error


def measured_load(plane: LocalPlane, service: str, policy: Policy, now: float | None = None) -> Load:
    """Return the traffic of a service in the last hour, by the gateway's log.

    Raises
    ------
    UsageError
        If there were too few requests to tell.
    """
    from cd4ml.adapters.access_log import AccessLog
    from cd4ml.domain.rollout.planned import Load

    now = time.time() if now is None else now
    lines = [one for one in AccessLog(plane.state.logs / "access.jsonl").read() if one.service == service]
    recent = [one for one in lines if one.at_seconds >= now - _MEASURED_SECONDS]
    if len(recent) < _LEAST_REQUESTS:
        raise UsageError(
            f"the gateway's log has {len(recent)} requests of '{service}' in the last hour, too few to tell"
            " its traffic; say --requests-per-second and --error-rate"
        )
    span = max(now - min(one.at_seconds for one in recent), 1.0)
    slow = policy.slow_seconds
    return Load(
        len(recent) / span,
        sum(one.failed for one in recent) / len(recent),
        sum(one.seconds > slow for one in recent) / len(recent) if slow else 0.01,
    )


def start_rollout(
    plane: LocalPlane,
    source: Path | tuple[str, str],
    service: str,
    permission: Permission,
    changes: Path | None = None,
) -> Stored:
    """Record the rollout of a model on a local plane; the controller does the rest.

    The same candidate, started again while its rollout runs, is that rollout.

    Parameters
    ----------
    service : str
        "" for the model's own name.
    changes : Path, optional
        A YAML file with what shall differ from the policy of the model's problem.

    Raises
    ------
    GateRejected
        If the candidate may not be served.
    UsageError
        If nothing serves yet, or the candidate does, or something was changed by hand.
    ConflictError
        If another rollout of the service runs.
    """
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store
    from cd4ml.steps.serve import fetch_variant

    name, candidate = fetch_variant(source, plane.state.bundles, "canary", permission)
    service = service or name
    store = RolloutStore(open_store(permission.store or None))
    running = _running(store, service)
    if running is not None and running.rollout.candidate.bundle == candidate.bundle:
        return running
    stable, fence = _replaced(plane, service, candidate, name, running is not None)
    policy = policy_of(Path(candidate.location), changes)
    store.raise_fence(service, fence)
    model = name if isinstance(source, tuple) and _is_of(stable, name) else ""
    rollout = _new(store, service, candidate, stable, model, permission)
    return store.start(rollout, policy.model_dump(mode="json"))


def _running(store: RolloutStore, service: str) -> Stored | None:
    try:
        found = store.current(service)
    except NotFoundError:
        return None
    return None if found.rollout.ended else found


def _replaced(
    plane: LocalPlane, service: str, candidate: Variant, model: str, running: bool
) -> tuple[Variant, int]:
    """Return what serves now and the plane's fence, or say why nothing can be rolled out there."""
    from cd4ml.steps.serve import same_problem

    found = plane.state.desired(service)
    if found is None:
        raise UsageError(
            f"'{service}' does not serve yet, so there is nothing to replace; serve a first version with"
            f" `cd4ml serve {model}`"
        )
    desired = found[0]
    if desired.stable.bundle == candidate.bundle:
        raise UsageError(f"'{service}' serves {candidate.reference} already; name another version")
    if not running and (desired.canary or desired.shadow):
        raise UsageError(
            f"'{service}' has a canary or a shadow that was set by hand; take it away first:"
            f" `cd4ml serve set {service} --canary none --shadow none`"
        )
    same_problem(desired.stable, candidate)
    return desired.stable, desired.fence


def _is_of(stable: Variant, model: str) -> bool:
    return stable.version.isdecimal() and stable.reference.partition("@")[0] == model


def _new(
    store: RolloutStore,
    service: str,
    candidate: Variant,
    stable: Variant,
    model: str,
    permission: Permission,
) -> Rollout:
    """Return a rollout whose id is that of an attempt which has not ended, or of the next one."""
    from cd4ml.adapters.actor import current_actor
    from cd4ml.domain.rollout.milestones import rollout_id
    from cd4ml.domain.rollout.state import Entry, Phase, Rollout

    attempt = 1
    while True:
        identity = rollout_id(service, candidate.bundle, stable.bundle, attempt)
        try:
            known = store.get(service, identity).rollout
        except NotFoundError:
            break
        if not known.ended:
            return known
        attempt += 1
    why = f"{candidate.reference} is to replace {stable.reference}"
    why += f": {permission.reason}" if permission.reason else ""
    first = Entry(time.time(), Phase.VERIFY, 0.0, current_actor(permission.by) or "somebody", (why,))
    return Rollout(identity, service, _target(candidate), _target(stable), history=(first,), model=model)


def _target(variant: Variant) -> Target:
    from cd4ml.domain.rollout.state import Target

    return Target(variant.reference, variant.version, variant.bundle, variant.location, variant.history)


def ask_rollout(service: str, asked: str, reason: str, by: str = "", store: str = "") -> Asked:
    """Leave a command for the controller of a service's rollout; it is told in the audit log first.

    Raises
    ------
    UsageError
        If it means nothing now, or lacks a reason.
    """
    from datetime import UTC, datetime

    from cd4ml.adapters.actor import current_actor
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store
    from cd4ml.domain.rollout.decide import Command, command
    from cd4ml.problem import Rollout as Policy

    storage = open_store(store or None)
    rollouts, who, now = RolloutStore(storage), current_actor(by), time.time()
    if not who:
        raise UsageError(f"who asks to {asked}? Say --by, or set CD4ML_ACTOR")
    stored = rollouts.current(service)
    # Tried here, so that whoever asks hears at once what the controller would only note.
    command(stored.rollout, Command(asked), who, reason, now, Policy.model_validate(dict(stored.policy)))
    facts = {"rollout": stored.rollout.id, "command": asked, "reason": reason}
    AuditLog(storage).append("rollout_command", service, facts, datetime.now(UTC), who)
    return rollouts.ask(stored.rollout, asked, who, reason, now)


def rollout_status(service: str, rollout_id: str = "", store: str = "") -> dict[str, Any]:
    """Return all that is known of a rollout: "rollout", "policy", "look", "trail", "lease", "commands".

    `alive` says whether a controller looks after it.
    """
    from dataclasses import asdict

    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store

    rollouts = RolloutStore(open_store(store or None))
    stored = rollouts.get(service, rollout_id) if rollout_id else rollouts.current(service)
    rollout, lease = stored.rollout, rollouts.lease(service)
    waiting = rollouts.commands(rollout, rollout.commands_taken)
    trail: list[Mapping[str, Any]] = rollouts.kept(rollout, "trail").get("points", [])
    return {
        "rollout": rollout.to_dict(),
        "ended": rollout.ended,
        "settled": rollout.ended and rollout.converged_at_seconds > 0,
        "policy": dict(stored.policy),
        "look": rollouts.kept(rollout, "look"),
        "trail": trail,
        "controller": lease.holder if lease is not None and lease.expires_at_seconds > time.time() else "",
        "commands": [asdict(one) for one in waiting],
    }


def must_not_run(service: str, what: str, store: str = "") -> None:
    """Refuse what a person would do by hand to a service while a rollout runs; say what to do instead."""
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store

    found = _running(RolloutStore(open_store(store or None)), service)
    if found is not None:
        raise UsageError(
            f"the rollout {found.rollout.id} of '{service}' is in phase '{found.rollout.phase}', and {what}"
            f" would be undone by its controller; end it with `cd4ml rollout abort {service} --reason ...`,"
            " or say --force"
        )
