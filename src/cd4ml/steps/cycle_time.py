"""When each version reached its milestones, as registry, runs, audit log and rollouts tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import NotFoundError, nearest

if TYPE_CHECKING:
    from cd4ml.adapters.registry import ModelVersion, Registry
    from cd4ml.adapters.storage import Storage
    from cd4ml.domain.cycle_time import Journey
    from cd4ml.domain.rollout.state import Rollout

__all__ = ["CHAMPION", "journeys"]

CHAMPION = "champion"
_PHASES = ("shadow", "canary")


@dataclass
class _Log:
    """What the audit log says of bundles: seconds since 1970, the first time."""

    looks: dict[tuple[str, str], float] = field(default_factory=dict)
    trained: dict[str, float] = field(default_factory=dict)
    judged: dict[str, float] = field(default_factory=dict)
    approved: dict[str, float] = field(default_factory=dict)


def journeys(storage: Storage, model: str = "", repository: Path | None = None) -> list[Journey]:
    """Return the way of each registered version, in the order in which they were registered.

    Parameters
    ----------
    model : str
        Only versions of this one; "" for all.
    repository : Path, optional
        Whose history knows when a commit was made, where the run did not write that down.

    Raises
    ------
    NotFoundError
        If there is no such model, or none at all.
    IntegrityError
        If the audit log was altered.
    """
    from cd4ml.adapters.git import commit_time
    from cd4ml.adapters.registry import Registry
    from cd4ml.domain.cycle_time import MILESTONES, journey

    registry = Registry(storage)
    log, runs, rollouts = _log(storage), _runs(storage), _rollouts(storage)
    folder = repository or Path.cwd()
    registered = MILESTONES.index("registered")
    found = []
    for name in _names(registry, model):
        promoted = _promoted(registry, name)
        for version in registry.versions(name):
            run = runs.get(version.bundle, {})
            commit, dirty = _commit(version, run)
            times = {
                "commit": _committed(commit, run, lambda one: commit_time(folder, one)),
                "started": _seconds(run.get("started")),
                "trained": log.trained.get(version.bundle),
                "judged": log.judged.get(version.bundle),
                "registered": _seconds(version.created),
                "approved": log.approved.get(version.bundle),
                **_rolled_out(rollouts.get((name, version.bundle), [])),
                "champion": promoted.get(version.version),
            }
            known = {milestone: at for milestone, at in times.items() if at is not None}
            found.append(
                journey(name, str(version.version), known, bundle=version.bundle, commit=commit, dirty=dirty)
            )
    return sorted(found, key=lambda one: one.stages[registered].at_seconds or 0.0)


def _names(registry: Registry, model: str) -> list[str]:
    names = registry.models()
    if model and model not in names:
        raise NotFoundError(f"the registry has no model '{model}'{nearest(model, names)}")
    if not names:
        raise NotFoundError("the registry has no models yet; push one, or set CD4ML_STORE to where they are")
    return [model] if model else names


def _log(storage: Storage) -> _Log:
    from cd4ml.adapters.approvals import APPROVAL
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.ledger import HOLDOUT_LOOK, VERDICT

    found = _Log()
    for line in AuditLog(storage).lines():
        at = _seconds(line.at)
        if at is None:
            continue
        if line.kind == HOLDOUT_LOOK:
            # A model is recorded just before it is scored: then its training has ended.
            found.looks.setdefault((line.subject, str(line.facts.get("model"))), at)
        elif line.kind == VERDICT:
            look = (str(line.facts.get("holdout")), str(line.facts.get("model")))
            found.judged.setdefault(line.subject, at)
            if look in found.looks:
                found.trained.setdefault(line.subject, found.looks[look])
        elif line.kind == APPROVAL and line.facts.get("choice") == "approve":
            found.approved.setdefault(line.subject, at)
    return found


def _runs(storage: Storage) -> dict[str, dict[str, Any]]:
    """Return the first run that made each bundle."""
    from cd4ml.adapters.runs import RunStore

    return {str(run["bundle"]): run for run in RunStore(storage).list() if run.get("bundle")}


def _rollouts(storage: Storage) -> dict[tuple[str, str], list[Rollout]]:
    from cd4ml.adapters.rollouts import RolloutStore

    store = RolloutStore(storage)
    found: dict[tuple[str, str], list[Rollout]] = {}
    for service in store.services():
        for identity in store.ids(service):
            rollout = store.get(service, identity).rollout
            key = (rollout.model or rollout.service, rollout.candidate.bundle)
            found.setdefault(key, []).append(rollout)
    return found


def _promoted(registry: Registry, name: str) -> dict[int, float]:
    """Return when each version first was the champion."""
    found: dict[int, float] = {}
    for change in registry.history(name):
        at = _seconds(change.at)
        if change.alias == CHAMPION and change.to_version is not None and at is not None:
            found.setdefault(change.to_version, at)
    return found


def _rolled_out(rollouts: list[Rollout]) -> dict[str, float | None]:
    """Return the milestones of the rollout that was promoted, or else of the last one."""
    told = [one for one in rollouts if one.history]
    told.sort(key=lambda one: (one.phase == "promoted", one.history[0].at_seconds))
    if not told:
        return {}
    history = told[-1].history
    first = {
        phase: next((entry.at_seconds for entry in history if entry.phase == phase), None)
        for phase in _PHASES
    }
    return {"rollout": history[0].at_seconds, **first}


def _commit(version: ModelVersion, run: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the commit that made a version, and whether files differed from it."""
    for git in (version.git, run.get("git") or {}):
        commit, plus, _ = str(git.get("commit") or "").partition("+")
        if commit:
            return commit, bool(plus or git.get("dirty"))
    return "", False


def _committed(commit: str, run: Mapping[str, Any], asked: Callable[[str], str]) -> float | None:
    """Return when a commit was made: as the run wrote it down, or as git tells."""
    git = run.get("git") or {}
    noted = git.get("committed") if str(git.get("commit") or "").partition("+")[0] == commit else None
    return _seconds(noted or (asked(commit) if commit else ""))


def _seconds(text: object) -> float | None:
    """Return a time in ISO 8601 as seconds since 1970; one without a zone is in UTC. None for no time."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
