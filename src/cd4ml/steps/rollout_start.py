"""Start the rollout of a registered version, once; whoever asks again gets the same rollout."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import GateRejected, NotFoundError, UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.registry import ModelVersion, Registry
    from cd4ml.adapters.rollouts import RolloutStore, Stored
    from cd4ml.domain.rollout.state import Rollout, Target

__all__ = ["OWNER", "numbered", "start_from_training", "start_rollout"]

OWNER = "owner"
"""The document beside a rollout that names the run which answers for it."""

_LOG = logging.getLogger(__name__)


def start_rollout(
    model: str,
    version: str,
    service: str,
    store: str,
    *,
    policy: Mapping[str, Any] | None = None,
    stable: str = "champion",
    attempt: int = 1,
    run: str = "",
    by: str = "",
) -> str:
    """Start the rollout of a registered version, or find the one that was started before; return its id.

    Parameters
    ----------
    version : str
        A number: aliases move, and a task that is run again must mean the same version.
    policy : mapping, optional
        What differs from the policy in the bundle's own problem.json.
    stable : str
        The version, by number or alias, that the candidate is to replace.
    attempt : int
        Another number rolls a version out again that was taken back.
    run : str
        Names the run of a pipeline that from now on is the rollout's owner; see `leave_stable`.

    Raises
    ------
    GateRejected
        If the verdict does not accept the version and no approval stands, or a person rejected it.
    ConflictError
        If the service has another rollout that has not ended.
    UsageError
        If there is nothing to replace, nothing new, or the rollout that is there has another policy.
    IntegrityError
        If a byte of the bundle was changed.
    """
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store
    from cd4ml.domain.rollout.milestones import rollout_id

    storage = open_store(store or None)
    registry, rollouts = Registry(storage), RolloutStore(storage)
    candidate = numbered(registry, model, version)
    agreed = _allowed(registry, candidate, store, policy or {})
    replaced = _replaced(registry, model, stable)
    if replaced.bundle == candidate.bundle:
        return _owned(rollouts, _same_again(rollouts, service, candidate), run)
    targets = _target(registry, candidate), _target(registry, replaced)
    identity = rollout_id(service, candidate.bundle, replaced.bundle, attempt)
    found = _known(rollouts, service, identity)
    if found is None or not found.rollout.ended:
        new = _new(identity, service, targets, by)
        found = rollouts.start(replace(new, model=model), agreed)
    return _owned(rollouts, _taken_up(found, agreed), run)


def _owned(rollouts: RolloutStore, rollout: Rollout, run: str) -> str:
    """Write down which run answers for a rollout, the last one that took it up; return the rollout's id."""
    if run:
        rollouts.keep(rollout, OWNER, {"run": run})
    return rollout.id


def _new(identity: str, service: str, targets: tuple[Target, Target], by: str) -> Rollout:
    from cd4ml.adapters.actor import current_actor
    from cd4ml.domain.rollout.state import Entry, Phase, Rollout

    why = f"{targets[0].reference} is to replace {targets[1].reference}"
    first = Entry(time.time(), Phase.VERIFY, 0.0, current_actor(by) or "pipeline", (why,))
    return Rollout(identity, service, *targets, history=(first,))


def numbered(registry: Registry, model: str, version: str) -> ModelVersion:
    """Return a version by its number; UsageError for an alias."""
    if not version.isdecimal():
        raise UsageError(
            f"expected the number of a version of '{model}'; found '{version}'. An alias moves while a"
            " pipeline runs; `cd4ml models list` shows the numbers"
        )
    return registry.get(model, version)


def _allowed(
    registry: Registry, candidate: ModelVersion, store: str, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the policy of a version that may be rolled out, after looking at each byte of its bundle."""
    from cd4ml.steps.approval import require_approval

    reference = f"{candidate.name}@{candidate.version}"
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as folder:
        bundle = registry.pull(candidate.name, candidate.version, Path(folder) / "bundle")
        try:
            require_approval(bundle, candidate.verdict, store)
        except GateRejected as error:
            raise GateRejected(f"{reference} is not rolled out: {error}") from error
        return _policy(bundle, changes)


def _policy(bundle: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy in a bundle's problem.json with changes, checked, as JSON values."""
    from cd4ml.problem import Rollout as Policy
    from cd4ml.steps.rollout import policy_of

    own = policy_of(bundle).model_dump(mode="json")
    try:
        return Policy.model_validate({**own, **_whole_numbers(changes)}).model_dump(mode="json")
    except ValueError as error:
        raise UsageError(f"this is no policy of a rollout: {' '.join(str(error).split())}") from error


def _whole_numbers(value: Any) -> Any:
    """Return values with 500.0 as 500: Kubeflow turns each number within a mapping into a double."""
    if isinstance(value, Mapping):
        return {name: _whole_numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _replaced(registry: Registry, model: str, stable: str) -> ModelVersion:
    try:
        return registry.get(model, stable)
    except NotFoundError as error:
        raise UsageError(
            f"a rollout replaces a version that serves, and there is none: {error}. Serve a first version and"
            f" give it the alias '{stable}': `cd4ml models alias`"
        ) from error


def _target(registry: Registry, version: ModelVersion) -> Target:
    from cd4ml.domain.rollout.state import Target

    reference = f"{version.name}@{version.version}"
    return Target(reference, str(version.version), version.bundle, registry.storage_uri(version))


def _same_again(rollouts: RolloutStore, service: str, candidate: ModelVersion) -> Rollout:
    """Return the rollout that made a version the stable one, for a run that takes it up so late."""
    try:
        found = rollouts.current(service).rollout
    except NotFoundError:
        found = None
    fallen = found is None or (found.ended and found.phase != "promoted")
    if found is None or fallen or found.candidate.bundle != candidate.bundle:
        raise UsageError(
            f"{candidate.name}@{candidate.version} is what '{service}' has already; there is nothing to roll"
            " out. Name another version"
        )
    return found


def _known(rollouts: RolloutStore, service: str, identity: str) -> Stored | None:
    try:
        return rollouts.get(service, identity)
    except NotFoundError:
        return None


def _taken_up(found: Stored, policy: Mapping[str, Any]) -> Rollout:
    rollout = found.rollout
    if dict(found.policy) != dict(policy):
        raise UsageError(
            f"the rollout {rollout.id} of {rollout.candidate.reference} goes by another policy; a policy does"
            " not change under way. End it, and count `attempt` up"
        )
    if rollout.ended:
        _LOG.info("rollout %s has ended: %s; count `attempt` up for another", rollout.id, rollout.phase)
    return rollout


def start_from_training(
    registered: Mapping[str, str], verdict: Path, approval: str, service: str, store: str
) -> str:
    """Start the rollout of what a training run has just registered; return its id, or why there is none.

    Parameters
    ----------
    registered : mapping
        `name`, `version` and `bundle`, as the registry gave them.
    approval : str
        What came of asking a person: "not_needed", "approved", ...

    Returns
    -------
    str
        The rollout's id; "not_approved"; "already_serving" when it is the champion's own bundle.

    Raises
    ------
    GateRejected
        If the verdict is on another bundle, or does not let this one through.
    """
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.storage import open_store
    from cd4ml.steps.documents import read

    judged = read(verdict)["subject"].get("bundle")
    if judged != registered["bundle"]:
        raise GateRejected(f"the verdict is about bundle {judged}; found {registered['bundle']}")
    if approval not in ("not_needed", "approved"):
        return "not_approved"
    champion = _replaced(Registry(open_store(store or None)), registered["name"], "champion")
    if champion.bundle == registered["bundle"]:
        return "already_serving"
    return start_rollout(registered["name"], registered["version"], service, store)
