"""The kinds of objects that cd4ml reads or writes on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.errors import UsageError

__all__ = [
    "CLUSTER_RUNTIME",
    "CONFIG_MAP",
    "DEFINITION",
    "DEPLOYMENT",
    "GATEWAY",
    "GATEWAY_CLASS",
    "HTTP_ROUTE",
    "INFERENCE_SERVICE",
    "KINDS",
    "NAMESPACE",
    "REFERENCE_GRANT",
    "REVISION",
    "RULE",
    "RUNTIME",
    "SECRET",
    "SERVICE_ACCOUNT",
    "SERVICE_MONITOR",
    "VIRTUAL_SERVICE",
    "Kind",
    "kind_of",
]


@dataclass(frozen=True)
class Kind:
    """One kind in one version; `group` is "" for the core kinds."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects write it: `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages and roles write it: `plural.group`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
INFERENCE_SERVICE = Kind("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices")
REFERENCE_GRANT = Kind("gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants")
REVISION = Kind("serving.knative.dev", "v1", "Revision", "revisions")
VIRTUAL_SERVICE = Kind("networking.istio.io", "v1", "VirtualService", "virtualservices")

# What `cd4ml doctor` looks at, and nothing writes.
CLUSTER_RUNTIME = Kind(
    "serving.kserve.io", "v1alpha1", "ClusterServingRuntime", "clusterservingruntimes", namespaced=False
)
GATEWAY = Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
GATEWAY_CLASS = Kind("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", namespaced=False)
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
RULE = Kind("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules")
RUNTIME = Kind("serving.kserve.io", "v1alpha1", "ServingRuntime", "servingruntimes")
SECRET = Kind("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
SERVICE_MONITOR = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")

KINDS = (
    CONFIG_MAP,
    DEFINITION,
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    REFERENCE_GRANT,
    REVISION,
    VIRTUAL_SERVICE,
)


def kind_of(document: Mapping[str, Any]) -> Kind:
    """Return the kind of an object; raises UsageError for one that cd4ml does not know."""
    said = (document.get("apiVersion"), document.get("kind"))
    for kind in KINDS:
        if (kind.api_version, kind.kind) == said:
            return kind
    raise UsageError(f"cd4ml writes no objects of kind {said[1]} ({said[0]})")
