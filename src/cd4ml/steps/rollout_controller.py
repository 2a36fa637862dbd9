"""The controller of rollouts on a local plane, with all its parts."""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from cd4ml.adapters.registry import Registry
    from cd4ml.delivery.controller import Controller
    from cd4ml.delivery.evidence.losses import Quality
    from cd4ml.delivery.evidence.source import Collected
    from cd4ml.delivery.local.plane import LocalPlane
    from cd4ml.delivery.plane import DesiredService, ObservedService, Variant
    from cd4ml.domain.rollout.state import Rollout, Target
    from cd4ml.problem import Rollout as Policy

__all__ = ["BundleFolders", "FetchingPlane", "ProblemEvidence", "holder_name", "local_controller"]


def holder_name() -> str:
    """Return a name that no other controller has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


def local_controller(plane: LocalPlane, store: str = "", holder: str = "") -> Controller:
    """Return a controller of the rollouts in a store whose services are on a local plane."""
    from cd4ml.adapters.audit import AuditLog
    from cd4ml.adapters.registry import Registry
    from cd4ml.adapters.rollouts import RolloutStore
    from cd4ml.adapters.storage import open_store
    from cd4ml.delivery.champion import RegistryChampion
    from cd4ml.delivery.controller import Controller
    from cd4ml.delivery.verifier import EndpointVerifier

    storage = open_store(store or None)
    registry, audit = Registry(storage), AuditLog(storage)
    folders = BundleFolders(registry, plane.state.bundles)
    return Controller(
        RolloutStore(storage),
        FetchingPlane(plane, folders),
        ProblemEvidence(plane.state.root, folders),
        EndpointVerifier(folders.of_target),
        RegistryChampion(registry, audit),
        time.time,
        holder or holder_name(),
        audit=audit,
    )


class BundleFolders:
    """The bundles of versions as folders of this machine, fetched from the registry where they are not."""

    def __init__(self, registry: Registry, root: Path) -> None:
        self._registry, self._root = registry, root

    def of_target(self, target: Target) -> Path:
        """Return the folder of a version of a rollout."""
        return self._folder(target.reference, target.version, target.location)

    def of_variant(self, variant: Variant) -> Path:
        """Return the folder of a variant of a plane."""
        return self._folder(variant.reference, variant.version, variant.location)

    def _folder(self, reference: str, version: str, location: str) -> Path:
        if Path(location).is_dir():
            return Path(location)
        name = reference.partition("@")[0]
        if not version.isdecimal():
            raise UsageError(
                f"the bundle of {reference} is not in '{location}' any more, nor in the registry"
            )
        found = self._registry.get(name, version)
        return self._registry.pull(name, found.version, self._root / found.bundle)


class FetchingPlane:
    """A local plane that may be told of bundles in the registry."""

    def __init__(self, plane: LocalPlane, folders: BundleFolders) -> None:
        self._plane, self._folders = plane, folders

    def observe(self, service: str) -> ObservedService:
        """Return what a service is now."""
        return self._plane.observe(service)

    def apply(self, service: str, desired: DesiredService) -> None:
        """Make `desired` what the service shall be, with its bundles on this machine."""
        here: dict[str, Any] = {
            name: replace(variant, location=str(self._folders.of_variant(variant)))
            for name, variant in desired.variants.items()
        }
        self._plane.apply(service, replace(desired, **here))


class ProblemEvidence:
    """The evidence of a local plane, with predictions compared as the rollout's own problem says."""

    def __init__(self, root: Path, folders: BundleFolders) -> None:
        self._root, self._folders = root, folders
        self._sources: dict[str, tuple[str, object]] = {}

    def collect(self, rollout: Rollout, policy: Policy, at_seconds: float) -> Collected:
        """Return what is known of the rollout's current step; see `EvidenceSource`."""
        from cd4ml.delivery.evidence.local import LocalEvidence

        known = self._sources.get(rollout.service)
        if known is None or known[0] != rollout.id:
            quality = _quality(self._folders.of_target(rollout.candidate))
            known = (rollout.id, LocalEvidence(self._root, quality))
            self._sources[rollout.service] = known
        source = known[1]
        assert isinstance(source, LocalEvidence)
        return source.collect(rollout, policy, at_seconds)


def _quality(bundle: Path) -> Quality:
    """Return how the predictions of a bundle's problem are compared with outcomes."""
    from cd4ml.delivery.evidence.losses import Quality, quality_of
    from cd4ml.steps.documents import problem_of, read

    path = bundle / "problem.json"
    if not path.is_file():
        return Quality()
    inputs = tuple(read(bundle / "contract.json")["inputs"]["properties"])
    return quality_of(problem_of(path), inputs)
