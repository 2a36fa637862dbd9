"""Rollouts on a cluster: their controller with all its parts, and how one is started there."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cd4ml.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.prometheus import Selector
    from cd4ml.adapters.registry import ModelVersion, Registry
    from cd4ml.adapters.rollouts import RolloutStore, Stored
    from cd4ml.adapters.storage import Storage
    from cd4ml.delivery.controller import Controller
    from cd4ml.delivery.evidence.metric_names import ArmSeries
    from cd4ml.delivery.evidence.source import Collected, EvidenceSource
    from cd4ml.delivery.plane import Plane
    from cd4ml.domain.rollout.state import Rollout
    from cd4ml.problem import Rollout as Policy

__all__ = ["ClusterEvidence", "kserve_controller", "prometheus_evidence", "start_on_cluster"]


def kserve_controller(
    plane: Plane,
    evidence: EvidenceSource,
    bundles: Path,
    store: str = "",
    holder: str = "",
    through: str = "",
) -> Controller:
    """Return a controller of the rollouts in a store whose services are on a cluster.

    Parameters
    ----------
    plane : Plane
        A `KServePlane`.
    bundles : Path
        The folder for the bundles whose holdout is replayed; they are fetched from the registry.
    through : str
        Where candidates are asked, as `EndpointVerifier` has it; "" for their addresses in the cluster.
    """
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store
    from cd4ml.delivery.champion import RegistryChampion
    from cd4ml.delivery.controller import Controller
    from cd4ml.delivery.verifier import EndpointVerifier
    from cd4ml.steps.rollout_controller import BundleFolders, holder_name

    storage = open_store(store or None)
    registry, audit = Registry(storage), AuditLog(storage)
    return Controller(
        RolloutStore(storage),
        plane,
        evidence,
        EndpointVerifier(BundleFolders(registry, bundles).of_target, through=through),
        RegistryChampion(registry, audit),
        time.time,
        holder or holder_name(),
        audit=audit,
    )


def prometheus_evidence(
    url: str,
    labels: Mapping[str, str] | None = None,
    interval_seconds: float = 30.0,
    stale_seconds: float = 60.0,
) -> ClusterEvidence:
    """Return the evidence of the model servers' own numbers in a Prometheus.

    Parameters
    ----------
    url : str
        "" for none: then nothing is known, and people alone move a rollout on.
    labels : mapping, optional
        What else the series must have, e.g. {"namespace": "models"} where one Prometheus has those of many.
    """
    if not url:
        return ClusterEvidence(None)
    from cd4ml.adapters.prometheus import Prometheus
    from cd4ml.delivery.evidence.metric_names import own_series
    from cd4ml.delivery.evidence.metrics import PrometheusEvidence

    more = dict(labels or {})

    def named(rollout: Rollout, variant: str) -> ArmSeries:
        target = rollout.stable if variant == "stable" else rollout.candidate
        found = own_series(rollout.service, target.version, variant)
        return replace(
            found,
            requests=_also(found.requests, more),
            failed=_also(found.failed, more),
            refused=_also(found.refused, more),
            buckets=_also(found.buckets, more),
        )

    return ClusterEvidence(PrometheusEvidence(Prometheus(url), named, interval_seconds, stale_seconds))


def _also(selector: Selector, labels: Mapping[str, str]) -> Selector:
    return replace(selector, labels={**labels, **selector.labels})


class ClusterEvidence:
    """What numbers say, and what they cannot say: that outcomes bear a version out.

    Parameters
    ----------
    numbers : EvidenceSource or None
        Without any, a step that needs evidence is held.
    """

    def __init__(self, numbers: EvidenceSource | None) -> None:
        self._numbers = numbers

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        """Return what is known of the rollout's current step; see `EvidenceSource`."""
        from cd4ml.delivery.evidence.source import Collected
        from cd4ml.domain.rollout.state import Phase

        if self._numbers is None:
            silent = rollout.phase in (Phase.SHADOW, Phase.CANARY)
            return Collected((), ("no Prometheus is named, so that nothing is known",) if silent else ())
        found = self._numbers.collect(rollout, policy, at_seconds)
        if rollout.phase is Phase.SHADOW and policy.outcomes == "required":
            doubt = "the policy requires outcomes, and no source of a cluster has them"
            return replace(found, doubts=(*found.doubts, doubt))
        return found


def start_on_cluster(
    model: str,
    ref: str,
    service: str = "",
    *,
    changes: Path | None = None,
    store: str = "",
    by: str = "",
) -> Stored:
    """Record the rollout of a registered version in place of the champion; a controller does the rest.

    It needs the store and nothing of the cluster. The same again, while it runs, is that rollout; after its
    end it is another attempt.

    Parameters
    ----------
    ref : str
        A version's number, an alias or "latest".
    service : str
        The InferenceService; "" for the model's own name.
    changes : Path, optional
        A YAML file with what shall differ from the policy of the model's problem.

    Raises
    ------
    UsageError
        If the policy asks for what no cluster can do, or there is nothing to replace.
    GateRejected, ConflictError
        As `cd4ml.steps.rollout_start.start_rollout` raises them.
    """
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store
    from cd4ml.steps.rollout import changed_policy
    from cd4ml.steps.rollout_start import start_rollout

    service = service or model
    storage = open_store(store or None)
    registry, rollouts = Registry(storage), RolloutStore(storage)
    version = registry.get(model, ref)
    _possible(storage, version.bundle, changes)
    identity = start_rollout(
        model,
        str(version.version),
        service,
        store,
        policy=changed_policy({}, changes).model_dump(mode="json", exclude_unset=True),
        attempt=_attempt(registry, rollouts, service, version),
        by=by,
    )
    return rollouts.get(service, identity)


def _possible(storage: Storage, bundle: str, changes: Path | None) -> None:
    """Refuse a policy that no cluster can follow; its controller would try for ever."""
    from cd4ml.steps.rollout import changed_policy

    key = f"bundles/{bundle}/problem.json"
    own = json.loads(storage.get(key)) if storage.exists(key) else {}
    policy = changed_policy(own.get("rollout") or {}, changes)
    if policy.sticky:
        raise UsageError(
            f"on a cluster each request goes by chance, and the policy has sticky: '{policy.sticky}'; change"
            " it with --policy"
        )
    broken = [one for one in (*policy.canary_steps, policy.mirror_percent) if one != round(one)]
    if broken:
        raise UsageError(
            f"shares on a cluster are whole percents, and the policy has {broken[0]:g}; change it with"
            " --policy"
        )


def _attempt(registry: Registry, rollouts: RolloutStore, service: str, version: ModelVersion) -> int:
    """Return the number of the attempt that has not ended, or of the next one."""
    from cd4ml.domain.rollout.milestones import rollout_id

    champion = registry.aliases(version.name).get("champion")
    stable = registry.get(version.name, champion).bundle if champion is not None else ""
    attempt = 1
    while True:
        try:
            found = rollouts.get(service, rollout_id(service, version.bundle, stable, attempt)).rollout
        except NotFoundError:
            return attempt
        if not found.ended:
            return attempt
        attempt += 1
