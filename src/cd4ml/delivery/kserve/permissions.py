"""What each part of cd4ml asks of the Kubernetes API, and why: the Roles of manifests/ grant exactly this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cd4ml.adapters.kubernetes.kinds import CONFIG_MAP, DEFINITION, DEPLOYMENT, INFERENCE_SERVICE, Kind
from cd4ml.delivery.kserve.detect import NEEDED

__all__ = ["ROLES", "Permission"]


@dataclass(frozen=True)
class Permission:
    """One verb on one kind of objects.

    Attributes
    ----------
    why : str
        What uses it.
    name : str
        Only on the object of this name; "" for any.
    in_system : bool
        In KServe's own namespace, and not in that of the models.
    """

    verb: str
    kind: Kind
    why: str
    name: str = ""
    in_system: bool = False

    @property
    def said(self) -> str:
        """As messages write it."""
        return f"{self.verb} {self.kind.qualified}" + (f" '{self.name}'" if self.name else "")


ROLES: Mapping[str, Sequence[Permission]] = {
    "Role/cd4ml-controller": tuple(
        Permission(verb, kind, "delivery.kserve: what a plane reads and writes") for verb, kind, _ in NEEDED
    ),
    "ClusterRole/cd4ml-detect": (
        Permission(
            "get",
            DEFINITION,
            "delivery.kserve.detect: does spec.canary exist?",
            "inferenceservices.serving.kserve.io",
        ),
        Permission(
            "get",
            CONFIG_MAP,
            "delivery.kserve.detect: the default mode, and whether KServe uses the Gateway API",
            "inferenceservice-config",
            in_system=True,
        ),
        Permission(
            "get",
            DEPLOYMENT,
            "delivery.kserve.detect: KServe's version",
            "kserve-controller-manager",
            in_system=True,
        ),
    ),
    "Role/cd4ml-task": (
        Permission(
            "get",
            INFERENCE_SERVICE,
            "tasks of pipelines: where a service is reached; all else they do in the store",
        ),
    ),
}
"""By role. The predictor has none: it never calls the API."""
