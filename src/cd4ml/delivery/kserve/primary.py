"""A service's InferenceService in either mode: what comes next, and what its traffic is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.delivery.kserve.knative import KnativeLook, knative_base, knative_look, knative_step
from cd4ml.delivery.kserve.objects import predictor_service, serves
from cd4ml.delivery.kserve.record import Record
from cd4ml.delivery.kserve.routes import owned_weights
from cd4ml.delivery.kserve.standard import StandardLook, standard_base, standard_look, standard_step
from cd4ml.delivery.kserve.step import Step
from cd4ml.delivery.plane import DesiredService, ObservedVariant, Variant

__all__ = ["KnativePlane", "ModePlane", "StandardPlane", "World"]

_ALL = 100


@dataclass(frozen=True)
class World:
    """What the cluster holds of a service; each document as the API gave it.

    Attributes
    ----------
    routes : tuple of mapping
        All HTTPRoutes of the namespace, in Standard mode.
    revisions : mapping
        Name -> Knative revision, in Knative mode: those that the status names.
    """

    service: Mapping[str, Any] | None
    record: Mapping[str, Any] | None
    shadow: Mapping[str, Any] | None = None
    own_route: Mapping[str, Any] | None = None
    routes: tuple[Mapping[str, Any], ...] = ()
    revisions: Mapping[str, Mapping[str, Any]] | None = None


class ModePlane:
    """The half of a plane that depends on the mode; values in, values out."""

    mode = ""

    def step(self, document: Mapping[str, Any], world: World, record: Record) -> Step:
        """Return what comes next for the InferenceService."""
        raise NotImplementedError

    def base(self, document: Mapping[str, Any], world: World, record: Record) -> Mapping[str, Any]:
        """Return our fields once one model alone serves."""
        raise NotImplementedError

    def backends(
        self, document: Mapping[str, Any], step: Step, desired: DesiredService
    ) -> list[tuple[str, int]]:
        """Return the weights of our own route; empty where Knative splits behind it."""
        raise NotImplementedError

    def canary_percent(self, document: Mapping[str, Any], world: World, desired: DesiredService) -> float:
        """Return the share that the canary has by the traffic, not by the spec."""
        raise NotImplementedError

    def problems(self, document: Mapping[str, Any], world: World) -> tuple[str, ...]:
        """Return what contradicts itself."""
        raise NotImplementedError

    def variant(
        self, name: str, document: Mapping[str, Any], world: World, variant: Variant
    ) -> ObservedVariant:
        """Return stable or canary as it is."""
        raise NotImplementedError


class KnativePlane(ModePlane):
    """Knative mode."""

    mode = "Knative"

    def step(self, document: Mapping[str, Any], world: World, record: Record) -> Step:
        """Return what comes next for the InferenceService."""
        return knative_step(self._look(document, world), record.desired, record.base)

    def base(self, document: Mapping[str, Any], world: World, record: Record) -> Mapping[str, Any]:
        """Return our fields once one model alone serves."""
        return knative_base(record.base, record.desired.stable)

    def backends(
        self, document: Mapping[str, Any], step: Step, desired: DesiredService
    ) -> list[tuple[str, int]]:
        """Return nothing: behind our route, Knative's gateway splits by the spec."""
        return []

    def canary_percent(self, document: Mapping[str, Any], world: World, desired: DesiredService) -> float:
        """Return the share that the canary has by the traffic, not by the spec."""
        if desired.canary is None:
            return 0.0
        look = self._look(document, world)
        return float(
            sum(
                share
                for revision, share in (look.traffic or {}).items()
                if serves(look.served(revision), desired.canary)
            )
        )

    def problems(self, document: Mapping[str, Any], world: World) -> tuple[str, ...]:
        """Return what contradicts itself."""
        look = self._look(document, world)
        total = sum((look.traffic or {}).values())
        if look.traffic and total != _ALL:
            return (f"the traffic of its revisions adds up to {total} %",)
        return ()

    def variant(
        self, name: str, document: Mapping[str, Any], world: World, variant: Variant
    ) -> ObservedVariant:
        """Return stable or canary as it is."""
        look = self._look(document, world)
        known = [one for one, found in (look.revisions or {}).items() if serves(found, variant)]
        newest = serves(look.newest, variant)
        ready = look.newest_ready if newest and look.taken_up else bool(known)
        status = document.get("status") or {}
        return ObservedVariant(
            name=name,
            reference=variant.reference,
            version=variant.version if known else "",
            bundle=variant.bundle if known else "",
            phase="ready" if ready else "starting",
            ready=ready,
            url=_tagged(document, look.created)
            if newest and name == "canary"
            else str(status.get("url") or ""),
            error=_failure(status) if newest and not ready else "",
        )

    def _look(self, document: Mapping[str, Any], world: World) -> KnativeLook:
        return knative_look(document, world.revisions or {})


class StandardPlane(ModePlane):
    """Standard mode."""

    mode = "Standard"

    def step(self, document: Mapping[str, Any], world: World, record: Record) -> Step:
        """Return what comes next for the InferenceService."""
        return standard_step(self._look(document, world), record.desired, record.base)

    def base(self, document: Mapping[str, Any], world: World, record: Record) -> Mapping[str, Any]:
        """Return our fields once one model alone serves."""
        return standard_base(self._look(document, world), record.desired.stable, record.base)

    def backends(
        self, document: Mapping[str, Any], step: Step, desired: DesiredService
    ) -> list[tuple[str, int]]:
        """Return the weights of our own route: those of the spec, or of the next one where it has less."""
        service, spec = document["metadata"]["name"], document["spec"]
        primary = predictor_service(service, spec["predictor"].get("name", ""))
        busy = next((one for one in spec.get("canary") or () if one.get("trafficPercent")), None)
        if busy is None:
            return [(primary, _ALL)]
        name, percent = busy["predictor"]["name"], int(busy["trafficPercent"])
        planned = step.spec or spec
        if planned["predictor"].get("name") != name:
            after = {one["predictor"]["name"]: one["trafficPercent"] for one in planned.get("canary") or ()}
            percent = min(percent, int(after.get(name, 0)))
        both = [(primary, _ALL - percent), (predictor_service(service, name), percent)]
        return [(one, weight) for one, weight in both if weight]

    def canary_percent(self, document: Mapping[str, Any], world: World, desired: DesiredService) -> float:
        """Return the share that the canary has by the route, not by spec or status."""
        canary = desired.canary
        if canary is None:
            return 0.0
        look = self._look(document, world)
        return max(0.0, sum(one.routed_percent for one in look.canaries if serves(one.served, canary)))

    def problems(self, document: Mapping[str, Any], world: World) -> tuple[str, ...]:
        """Return what contradicts itself."""
        return self._weights(document, world)[1]

    def variant(
        self, name: str, document: Mapping[str, Any], world: World, variant: Variant
    ) -> ObservedVariant:
        """Return stable or canary as it is."""
        look = self._look(document, world)
        status = document.get("status") or {}
        found = next((one for one in look.canaries if serves(one.served, variant)), None)
        primary = serves(look.primary, variant)
        ready = look.ready if primary else bool(found and found.ready)
        host = predictor_service(look.service, found.name if found and not primary else look.name)
        inside = f"http://{host}.{document['metadata'].get('namespace', '')}.svc.cluster.local"
        return ObservedVariant(
            name=name,
            reference=variant.reference,
            version=variant.version if primary or found else "",
            bundle=variant.bundle if primary or found else "",
            phase="ready" if ready else "starting",
            ready=ready,
            url=inside if name == "canary" else str(status.get("url") or inside),
            error=_failure(status) if primary and not ready else "",
        )

    def _look(self, document: Mapping[str, Any], world: World) -> StandardLook:
        return standard_look(document, self._weights(document, world)[0])

    @staticmethod
    def _weights(
        document: Mapping[str, Any], world: World
    ) -> tuple[dict[str, float] | None, tuple[str, ...]]:
        service, spec = document["metadata"]["name"], document["spec"]
        predictors = [spec["predictor"], *(one["predictor"] for one in spec.get("canary") or ())]
        members = frozenset(predictor_service(service, one.get("name", "")) for one in predictors)
        return owned_weights(world.routes, service, members)


def _failure(status: Mapping[str, Any]) -> str:
    failure = (status.get("modelStatus") or {}).get("lastFailureInfo") or {}
    told = {one.get("type"): one for one in status.get("conditions") or ()}
    broken = told.get("PredictorReady") or {}
    said = failure.get("message") or (broken.get("message") if broken.get("status") == "False" else "")
    return " ".join(str(said or "").split())


def _tagged(document: Mapping[str, Any], revision: str) -> str:
    """Return the address of one revision within the cluster: Knative makes a Service of each tag."""
    metadata, status = document["metadata"], document.get("status") or {}
    component = (status.get("components") or {}).get("predictor") or {}
    for target in component.get("traffic") or ():
        if target.get("revisionName") == revision and target.get("tag"):
            host = f"{target['tag']}-{predictor_service(metadata['name'])}"
            return f"http://{host}.{metadata.get('namespace', '')}.svc.cluster.local"
    return ""
