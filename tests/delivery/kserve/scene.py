"""A plane on a cluster, with stand-ins for KServe's controller and for a gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from cd4ml.adapters.kubernetes.client import KubernetesClient, connect
from cd4ml.adapters.kubernetes.kinds import HTTP_ROUTE, INFERENCE_SERVICE
from cd4ml.delivery.kserve.detect import Facts
from cd4ml.delivery.kserve.plane import KServePlane
from cd4ml.delivery.kserve.routes import route_name
from cd4ml.delivery.kserve.settings import KServeSettings
from cd4ml.delivery.plane import DesiredService, ObservedService, Variant
from cd4ml.errors import ConflictError, ServiceError
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.kserve_controller import KServeController

__all__ = ["BAD", "NEW", "NEWER", "OLD", "SERVICE", "Scene", "everything", "scene", "variant"]

SERVICE = "m"


def variant(number: int) -> Variant:
    return Variant(f"m@{number}", str(number), f"{number}" * 64, f"s3://models/bundles/{number}")


OLD, NEW, NEWER, BAD = variant(1), variant(2), variant(3), variant(4)


def everything(**changes: Any) -> Facts:
    """A cluster that can do all."""
    found: dict[str, Any] = {
        "version": (0, 21, 0),
        "canary_list": True,
        "default_mode": "Knative",
        "gateway_api": True,
        "http_routes": True,
        "virtual_services": True,
        "revisions": True,
    }
    return Facts(**(found | changes))


@dataclass
class Scene:
    """One service under test."""

    cluster: Cluster
    client: KubernetesClient
    settings: KServeSettings
    controller: KServeController
    mode: str
    plane: KServePlane
    shares: list[tuple[str, int]] = field(default_factory=list)

    def settle(
        self, desired: DesiredService, seconds: float = 60.0, *, in_turn: bool = False
    ) -> ObservedService:
        """Ask until it is true, as a controller does; conflicts and faults are for the next tick.

        With `in_turn` KServe's stand-in acts only between two ticks, so that the writes repeat exactly.
        """
        until = time.monotonic() + seconds
        seen = None
        while time.monotonic() < until:
            try:
                with self.controller.in_turn() if in_turn else nullcontext():
                    self.plane.apply(SERVICE, desired)
                    self.accept_route()
                seen = self.plane.observe(SERVICE)
            except (ConflictError, ServiceError) as error:
                seen = error
            if isinstance(seen, ObservedService) and seen.converged:
                return seen
            time.sleep(0.01)
        raise AssertionError(f"not converged in {seconds} s: {seen}; {self.service().get('status')}")

    def service(self, name: str = SERVICE) -> dict[str, Any]:
        return self.client.find(INFERENCE_SERVICE, name, self.settings.namespace) or {}

    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = self.service()["spec"]
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.service().get("status") or {}
        return found

    def traffic(self) -> dict[str, int]:
        """Revision -> percentage, as Knative says."""
        found: dict[str, int] = {}
        for one in self.status()["components"]["predictor"].get("traffic", ()):
            found[one["revisionName"]] = found.get(one["revisionName"], 0) + one["percent"]
        return found

    def accept_route(self) -> None:
        """Be the gateway that takes our HTTPRoute."""
        namespace = self.settings.namespace
        found = self.client.find(HTTP_ROUTE, route_name(SERVICE), namespace)
        if found is None or found.get("status", {}).get("parents"):
            generation = (found or {}).get("metadata", {}).get("generation")
            parents = (found or {}).get("status", {}).get("parents") or [{"conditions": []}]
            if all(one.get("observedGeneration") == generation for one in parents[0]["conditions"]):
                return
        assert found is not None
        generation = found["metadata"]["generation"]
        conditions = [
            {
                "type": kind,
                "status": "True",
                "reason": kind,
                "message": "",
                "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind in ("Accepted", "ResolvedRefs")
        ]
        parent = {
            "parentRef": found["spec"]["parentRefs"][0],
            "controllerName": "example.com/gateway",
            "conditions": conditions,
        }
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{route_name(SERVICE)}"
        self.cluster.call("PUT", path + "/status", {**found, "status": {"parents": [parent]}})

    def written(self) -> list[dict[str, Any]]:
        """Return what the plane wrote, in order; its own record is left out."""
        assert self.cluster.server is not None
        found = []
        for call in self.cluster.server.calls:
            ours = call.params.get("fieldManager") == "cd4ml" or call.method == "DELETE"
            if not ours or call.code >= 400 or "/configmaps" in call.path or "/services" in call.path:
                continue
            name = "/".join(call.path.split("/")[-2:])
            if call.method == "DELETE":
                if name == f"inferenceservices/{SERVICE}-shadow":
                    found.append({"delete": name})
                continue
            document = dict(call.body)
            metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
            metadata["namespace"] = "models"
            found.append({"apply": document | {"metadata": metadata}})
        return found


@contextmanager
def scene(
    cluster: Cluster, mode: str, route: str = "HTTPRoute", facts: Facts | None = None, **changes: Any
) -> Iterator[Scene]:
    """Run a plane with KServe's stand-in."""
    where = (
        {"gateway": "gateways/public"}
        if route == "HTTPRoute"
        else {"istio_gateways": ("istio-system/public",)}
    )
    settings = KServeSettings(
        namespace=cluster.namespace,
        mode=mode,
        runtime="cd4ml",
        hosts=("m.example.com",),
        **({**where, **changes}),
    )
    client = connect(cluster.kubeconfig)
    with cluster.controller() as controller:
        try:
            plane = KServePlane(client, settings, facts or everything())
            yield Scene(cluster, client, settings, controller, mode, plane)
        finally:
            client.close()
        assert not controller.errors
