"""The plane on KServe: each `apply` brings a service one step on towards what was asked for last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cd4ml.adapters.kubernetes.client import FIELD_MANAGER, KubernetesClient
from cd4ml.adapters.kubernetes.failures import ChangedMeanwhile, FieldConflict
from cd4ml.adapters.kubernetes.kinds import (
    CONFIG_MAP,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    REVISION,
    VIRTUAL_SERVICE,
    Kind,
)
from cd4ml.delivery.kserve.detect import Capabilities, Facts, capabilities, detect, mode_of, refusals
from cd4ml.delivery.kserve.objects import (
    child_name,
    inference_service,
    new_predictor,
    own_fields,
    served_by,
    serves,
    shadow_name,
    with_variant,
)
from cd4ml.delivery.kserve.primary import KnativePlane, ModePlane, StandardPlane, World
from cd4ml.delivery.kserve.record import Record, record_document, record_name, record_of
from cd4ml.delivery.kserve.routes import http_route, route_name, virtual_service
from cd4ml.delivery.kserve.settings import KServeSettings
from cd4ml.delivery.kserve.shadow import ShadowLook, ShadowStep, shadow_look, shadow_step
from cd4ml.delivery.kserve.step import Step
from cd4ml.delivery.plane import DesiredService, ObservedService, ObservedVariant, Variant
from cd4ml.errors import ConflictError, NotFoundError, UsageError

__all__ = ["KServePlane"]

_MODES: dict[str, ModePlane] = {one.mode: one for one in (KnativePlane(), StandardPlane())}
_LOOKS = 4
"""How often `apply` looks again when somebody was quicker."""


class KServePlane:
    """Services of one namespace on KServe, each in the mode that it has.

    `apply` records what is wanted in a ConfigMap and takes the next step; call it again until `observe` says
    that the service converged, as the rollout controller does. `observe` changes nothing.

    Parameters
    ----------
    facts : Facts, optional
        What the cluster is; looked at once when first needed.
    """

    def __init__(
        self, client: KubernetesClient, settings: KServeSettings, facts: Facts | None = None
    ) -> None:
        self._client = client
        self._settings = settings
        self._facts = facts

    @property
    def facts(self) -> Facts:
        """What the cluster is."""
        if self._facts is None:
            self._facts = detect(self._client, self._settings)
        return self._facts

    def apply(self, service: str, desired: DesiredService) -> None:
        """Make `desired` what the service shall be, and take the next step.

        Raises
        ------
        UsageError
            If the cluster cannot do that, or the caller may not.
        ConflictError
            If somebody else owns or changed what would be written, or has a higher fence.
        """
        if desired.service != service:
            raise UsageError(f"'{service}' cannot become '{desired.service}'")
        for _ in range(_LOOKS - 1):
            try:
                self._apply(service, desired)
                return
            except ChangedMeanwhile:
                # KServe writes the status of the same object: mostly nothing that matters changed.
                continue
        self._apply(service, desired)

    def _apply(self, service: str, desired: DesiredService) -> None:
        world, plane, can = self._world(service)
        reasons = refusals(can, desired)
        if reasons:
            raise UsageError(f"'{service}' cannot have this on this cluster: {'; '.join(reasons)}")
        record = self._recorded(world, plane, desired)
        if world.service is None:
            self._create(record, plane)
            return
        step = plane.step(world.service, world, record)
        shadow = self._shadow_step(world, plane, can, record, step)
        self._act_on_shadow(shadow, world)
        if step.spec is not None and (shadow.route_settled or not step.drops_a_service):
            self._write(world.service, step.spec, record, plane)
        if step.done and desired.canary is None:
            self._advance(plane.base(world.service, world, record), record)

    def observe(self, service: str) -> ObservedService:
        """Return what a service is now; raises NotFoundError for one that is not there."""
        world, plane, can = self._world(service)
        document = world.service
        if document is None:
            raise NotFoundError(f"namespace '{self._settings.namespace}' has no InferenceService '{service}'")
        url = str((document.get("status") or {}).get("url") or "")
        if world.record is None:
            return ObservedService(service, url=url, problems=("cd4ml was not asked to manage it yet",))
        record = record_of(world.record)
        desired = record.desired
        problems = [*plane.problems(document, world), *refusals(can, desired)]
        done, mirrored = False, 0.0
        try:
            step = plane.step(document, world, record)
            shadow = self._shadow_step(world, plane, can, record, step)
            done = step.done and shadow.done
            copying = world.own_route is not None and shadow.done
            mirrored = desired.mirror_percent if copying else 0.0
        except ConflictError as error:
            problems.append(str(error))
        return ObservedService(
            service,
            generation=record.generation,
            converged=done and not problems,
            url=url,
            canary_percent=plane.canary_percent(document, world, desired),
            mirror_percent=mirrored,
            variants=tuple(self._variants(world, plane, desired)),
            problems=tuple(problems),
        )

    def _world(self, service: str) -> tuple[World, ModePlane, Capabilities]:
        """Read all that belongs to a service, the InferenceService first: a later change of it is noticed."""
        client, namespace = self._client, self._settings.namespace
        document = client.find(INFERENCE_SERVICE, service, namespace)
        mode = mode_of(document, self.facts, self._settings)
        can = capabilities(self.facts, self._settings, mode)
        revisions: dict[str, Mapping[str, Any]] = {}
        routes: tuple[Mapping[str, Any], ...] = ()
        if document is not None and mode == "Knative":
            revisions = self._revisions(document)
        elif document is not None and not can.no_weights and not can.no_canary:
            routes = tuple(client.list(HTTP_ROUTE, namespace))
        world = World(
            service=document,
            record=client.find(CONFIG_MAP, record_name(service), namespace),
            shadow=client.find(INFERENCE_SERVICE, shadow_name(service), namespace),
            own_route=client.find(_route_kind(can), route_name(service), namespace) if can.route else None,
            routes=routes,
            revisions=revisions,
        )
        return world, _MODES[mode], can

    def _revisions(self, document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        status = ((document.get("status") or {}).get("components") or {}).get("predictor") or {}
        keys = (
            "latestCreatedRevision",
            "latestReadyRevision",
            "latestRolledoutRevision",
            "previousRolledoutRevision",
        )
        names = {str(status.get(key) or "") for key in keys}
        names |= {str(one.get("revisionName") or "") for one in status.get("traffic") or ()}
        found = {
            name: self._client.find(REVISION, name, self._settings.namespace) for name in sorted(names - {""})
        }
        return {name: one for name, one in found.items() if one is not None}

    def _recorded(self, world: World, plane: ModePlane, desired: DesiredService) -> Record:
        """Write down what is wanted, and what going back will restore, before anything is changed."""
        namespace = self._settings.namespace
        if world.record is None:
            record = self._first_record(world.service, plane, desired)
            self._client.create(record_document(record, namespace))
            return record
        known = record_of(world.record)
        record = known.asked(desired)
        if record != known:
            version = world.record["metadata"]["resourceVersion"]
            self._client.replace(record_document(record, namespace, version))
        return record

    def _first_record(
        self, document: Mapping[str, Any] | None, plane: ModePlane, desired: DesiredService
    ) -> Record:
        if document is None:
            return Record(
                desired, {"predictor": self._fresh(desired.stable, desired.service, plane)}, created=True
            )
        managers = _managers(document)
        if managers == {FIELD_MANAGER}:
            raise ConflictError(
                f"'{desired.service}' is cd4ml's, and its record '{record_name(desired.service)}' is gone:"
                " restore that ConfigMap, or hand the service over with the setting adopt"
            )
        if not self._settings.adopt:
            raise ConflictError(
                f"'{desired.service}' is managed by {', '.join(sorted(managers)) or 'somebody else'}; with"
                " the setting adopt, cd4ml takes its model's location over (and nothing else)"
            )
        base = own_fields(document["spec"])
        _check_quiet(desired, document["spec"])
        return Record(desired, base, taken_from=tuple(sorted(managers - {FIELD_MANAGER})))

    def _fresh(self, variant: Variant, service: str, plane: ModePlane) -> dict[str, Any]:
        name = child_name(service, variant) if plane.mode == "Standard" else ""
        return new_predictor(service, variant, self._settings, name)

    def _create(self, record: Record, plane: ModePlane) -> None:
        desired = record.desired
        if not record.created:
            raise ConflictError(
                f"the InferenceService '{desired.service}' is gone, and cd4ml did not make it: make it again,"
                f" or delete the ConfigMap '{record_name(desired.service)}' too"
            )
        spec: Mapping[str, Any] = record.base
        if not serves(served_by(record.base["predictor"]), desired.stable):
            predictor = with_variant(record.base["predictor"], desired.stable, "stable")
            if plane.mode == "Standard":
                predictor["name"] = child_name(desired.service, desired.stable)
            spec = {"predictor": predictor}
        self._client.apply(inference_service(desired.service, self._settings.namespace, spec, plane.mode))

    def _write(
        self, live: Mapping[str, Any], spec: Mapping[str, Any], record: Record, plane: ModePlane
    ) -> None:
        service, mode = record.desired.service, plane.mode if record.created else ""
        version = live["metadata"]["resourceVersion"]
        document = inference_service(service, self._settings.namespace, spec, mode, version)
        try:
            written = self._client.apply(document)
        except FieldConflict as error:
            if not (error.owners and set(error.owners) <= set(record.taken_from)):
                raise
            # Whoever gave the service to cd4ml still stands in its fields.
            written = self._client.apply(document, force=True)
        percent = written["spec"]["predictor"].get("canaryTrafficPercent")
        if percent is not None and "canaryTrafficPercent" not in spec["predictor"]:
            raise ConflictError(
                f"somebody else set canaryTrafficPercent of '{service}' to {percent}; remove it there"
            )

    def _advance(self, base: Mapping[str, Any], record: Record) -> None:
        """What serves alone now is what a later rollout goes back to."""
        if base == record.base or serves(served_by(record.base["predictor"]), record.desired.stable):
            return
        namespace = self._settings.namespace
        found = self._client.get(CONFIG_MAP, record_name(record.desired.service), namespace)
        now = record_of(found)
        if now.desired != record.desired:
            return
        advanced = Record(now.desired, base, now.created, now.generation, now.taken_from)
        self._client.replace(record_document(advanced, namespace, found["metadata"]["resourceVersion"]))

    def _shadow_step(
        self, world: World, plane: ModePlane, can: Capabilities, record: Record, step: Step
    ) -> ShadowStep:
        document, desired = world.service, record.desired
        if document is None:
            return ShadowStep()
        routes = None
        if can.route:
            render = http_route if can.route == "HTTPRoute" else virtual_service
            backends = plane.backends(document, step, desired)
            plain, copying = (
                render(desired.service, self._settings, backends, percent)
                for percent in (0.0, desired.mirror_percent)
            )
            routes = (plain, copying)
        look = self._shadow_look(world)
        return shadow_step(look, desired, document["spec"]["predictor"], self._settings.namespace, routes)

    @staticmethod
    def _shadow_look(world: World) -> ShadowLook:
        return shadow_look(world.shadow, world.own_route)

    def _act_on_shadow(self, step: ShadowStep, world: World) -> None:
        namespace = self._settings.namespace
        if step.delete_service and world.shadow is not None:
            metadata = world.shadow["metadata"]
            self._client.delete(INFERENCE_SERVICE, metadata["name"], namespace, uid=metadata["uid"])
        elif step.write_service is not None:
            self._client.apply(step.write_service)
        elif step.write_route is not None:
            self._client.apply(step.write_route)

    def _variants(self, world: World, plane: ModePlane, desired: DesiredService) -> list[ObservedVariant]:
        if world.service is None:
            return []
        found = [
            plane.variant(name, world.service, world, variant)
            for name, variant in desired.variants.items()
            if name != "shadow"
        ]
        if desired.shadow is not None:
            found.append(self._observed_shadow(world, desired.shadow, desired.service))
        return found

    def _observed_shadow(self, world: World, shadow: Variant, service: str) -> ObservedVariant:
        try:
            look = self._shadow_look(world)
        except ConflictError as error:
            return ObservedVariant("shadow", shadow.reference, error=str(error))
        there = look.served is not None and serves(look.served, shadow)
        ready = there and look.ready
        return ObservedVariant(
            name="shadow",
            reference=shadow.reference,
            version=shadow.version if there else "",
            bundle=shadow.bundle if there else "",
            phase="ready" if ready else "starting",
            ready=ready,
            url=f"http://{shadow_name(service)}-predictor.{self._settings.namespace}.svc.cluster.local",
            error="" if ready else look.failure,
        )


def _route_kind(can: Capabilities) -> Kind:
    return HTTP_ROUTE if can.route == "HTTPRoute" else VIRTUAL_SERVICE


def _managers(document: Mapping[str, Any]) -> set[str]:
    """Return who owns fields of the spec."""
    entries = document["metadata"].get("managedFields") or ()
    return {
        str(one.get("manager"))
        for one in entries
        if "f:spec" in (one.get("fieldsV1") or {}) and not one.get("subresource")
    }


def _check_quiet(desired: DesiredService, spec: Mapping[str, Any]) -> None:
    """Refuse to take over in the middle of somebody else's rollout, or what serves another model."""
    predictor = spec["predictor"]
    percent = predictor.get("canaryTrafficPercent")
    if spec.get("canary") or percent not in (None, 100):
        raise ConflictError(
            f"'{desired.service}' has a canary that cd4ml did not start; end that rollout first"
        )
    found = served_by(predictor)
    if not serves(found, desired.stable):
        raise ConflictError(
            f"'{desired.service}' serves '{found.location}', and its stable model is said to be"
            f" '{desired.stable.location}'; deploy that one first, or say which model is stable"
        )
