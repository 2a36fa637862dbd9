"""What each part of cd4ml asks of the Kubernetes API, and why: Roles grant exactly this."""

from __future__ import annotations

from cd4ml.adapters.kubernetes.kinds import CONFIG_MAP, DEFINITION, DEPLOYMENT, INFERENCE_SERVICE
from cd4ml.delivery.kserve.detect import NEEDED

__all__ = ["USED", "Grant"]

Grant = tuple[str, str, str, str]
"""Group, resource, name ("" for any), verb."""

USED: dict[str, dict[Grant, str]] = {
    "Role/cd4ml-controller": {
        (kind.group, kind.plural, "", verb): "delivery.kserve: what a plane reads and writes"
        for verb, kind, _ in NEEDED
    },
    "ClusterRole/cd4ml-detect": {
        (DEFINITION.group, DEFINITION.plural, "inferenceservices.serving.kserve.io", "get"): (
            "delivery.kserve.detect: does spec.canary exist?"
        ),
        (CONFIG_MAP.group, CONFIG_MAP.plural, "inferenceservice-config", "get"): (
            "delivery.kserve.detect: the default mode, and whether KServe uses the Gateway API"
        ),
        (DEPLOYMENT.group, DEPLOYMENT.plural, "kserve-controller-manager", "get"): (
            "delivery.kserve.detect: KServe's version"
        ),
    },
    "Role/cd4ml-task": {
        (INFERENCE_SERVICE.group, INFERENCE_SERVICE.plural, "", "get"): (
            "tasks of pipelines: where a service is reached; all else they do in the store"
        ),
    },
}
"""By role. The predictor has none: it never calls the API."""
