"""What a cluster can do: which KServe, which mode, which routes; and what it is refused, with the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cd4ml.adapters.kubernetes.client import KubernetesClient
from cd4ml.adapters.kubernetes.kinds import (
    CONFIG_MAP,
    DEFINITION,
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    REVISION,
    VIRTUAL_SERVICE,
    Kind,
)
from cd4ml.delivery.kserve.settings import KServeSettings
from cd4ml.delivery.plane import DesiredService
from cd4ml.errors import NotFoundError, UsageError

__all__ = ["NEEDED", "Capabilities", "Facts", "capabilities", "detect", "mode_of", "refusals", "served"]

KNATIVE, STANDARD = "Knative", "Standard"
_ALIASES = {"serverless": KNATIVE, "rawdeployment": STANDARD, "knative": KNATIVE, "standard": STANDARD}
_SPLITS_SINCE = (0, 21)
_CONFIG, _CONTROLLER = "inferenceservice-config", "kserve-controller-manager"

NEEDED: tuple[tuple[str, Kind, str], ...] = (
    *((verb, INFERENCE_SERVICE, "") for verb in ("get", "create", "patch", "delete")),
    *((verb, CONFIG_MAP, "") for verb in ("get", "create", "update")),
    ("get", REVISION, KNATIVE),
    ("list", HTTP_ROUTE, STANDARD),
    *((verb, HTTP_ROUTE, "HTTPRoute") for verb in ("get", "create", "patch")),
    *((verb, VIRTUAL_SERVICE, "VirtualService") for verb in ("get", "create", "patch")),
)
"""(verb, kind, when): what the plane does in its namespace; "" is always. Roles grant exactly this."""


@dataclass(frozen=True)
class Facts:
    """What was found; None where it could not be read.

    Attributes
    ----------
    version : tuple of int or None
        Of KServe, e.g. (0, 21, 0).
    canary_list : bool or None
        InferenceServices have `spec.canary`.
    default_mode : str
        "Knative", "Standard", or "" where it could not be read.
    gateway_api : bool or None
        KServe makes HTTPRoutes (`enableGatewayApi`).
    http_routes, virtual_services, revisions : bool
        The cluster has these kinds.
    denied : tuple of str
        What the caller may not do, e.g. "patch httproutes.gateway.networking.k8s.io".
    """

    version: tuple[int, ...] | None = None
    canary_list: bool | None = None
    default_mode: str = ""
    gateway_api: bool | None = None
    http_routes: bool = False
    virtual_services: bool = False
    revisions: bool = False
    denied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Capabilities:
    """What one service can have; each reason is "" where it can.

    Attributes
    ----------
    mode : str
        "Knative" or "Standard".
    route : str
        Which route of our own copies requests: "HTTPRoute", "VirtualService" or "".
    no_canary, no_weights, no_mirror, no_sticky : str
        Why it cannot have a canary, a share for it, a shadow's copies, equal callers with equal variants.
    denied : tuple of str
        What it needs and the caller may not do.
    """

    mode: str
    route: str = ""
    no_canary: str = ""
    no_weights: str = ""
    no_mirror: str = ""
    no_sticky: str = ""
    denied: tuple[str, ...] = ()


def detect(client: KubernetesClient, settings: KServeSettings) -> Facts:
    """Look at a cluster. What may not be read stays unknown; it is no error until something needs it."""
    definition = _readable(client, DEFINITION, "inferenceservices.serving.kserve.io", "")
    config = _readable(client, CONFIG_MAP, _CONFIG, settings.system_namespace)
    controller = _readable(client, DEPLOYMENT, _CONTROLLER, settings.system_namespace)
    data = (config or {}).get("data") or {}
    deploy, ingress = _section(data, "deploy"), _section(data, "ingress")
    return Facts(
        version=_version(controller),
        canary_list=_has_canary_list(definition),
        default_mode=_ALIASES.get(str(deploy.get("defaultDeploymentMode", "")).lower(), ""),
        gateway_api=bool(ingress.get("enableGatewayApi", False)) if config else None,
        http_routes=served(client, HTTP_ROUTE, settings.namespace),
        virtual_services=served(client, VIRTUAL_SERVICE, settings.namespace),
        revisions=served(client, REVISION, settings.namespace),
        denied=_denied(client, settings.namespace),
    )


def mode_of(service: Mapping[str, Any] | None, facts: Facts, settings: KServeSettings) -> str:
    """Return the mode of a service: its annotation's, its status', the settings', the cluster's default.

    Raises
    ------
    UsageError
        If nothing says it, or it is one that cd4ml does not know (ModelMesh).
    """
    annotations = ((service or {}).get("metadata") or {}).get("annotations") or {}
    said = annotations.get("serving.kserve.io/deploymentMode") or ((service or {}).get("status") or {}).get(
        "deploymentMode"
    )
    if service is None:
        said = settings.mode
    if not said:
        said = facts.default_mode
    mode = _ALIASES.get(str(said).lower(), "")
    if not mode:
        found = f"its mode '{said}' is not one of Knative and Standard" if said else "nothing says its mode"
        raise UsageError(f"{found}; annotate it with serving.kserve.io/deploymentMode, or set the mode")
    return mode


def capabilities(facts: Facts, settings: KServeSettings, mode: str) -> Capabilities:
    """Return what a service of that mode can have on that cluster."""
    route, no_mirror = _route(facts, settings)
    no_canary = no_weights = ""
    if mode == KNATIVE and not facts.revisions:
        no_canary = "the cluster does not serve Knative's revisions"
    if mode == STANDARD:
        no_canary, no_weights = _standard_limits(facts)
    denied = tuple(
        f"{verb} {kind.qualified}"
        for verb, kind, when in NEEDED
        if when in ("", mode, route) and f"{verb} {kind.qualified}" in facts.denied
    )
    if mode == STANDARD and no_weights:
        denied = tuple(one for one in denied if one != f"list {HTTP_ROUTE.qualified}")
    return Capabilities(
        mode=mode,
        route=route,
        no_canary=no_canary,
        no_weights=no_weights,
        no_mirror=no_mirror,
        no_sticky="KServe's routes decide each request by chance (knative/serving #8160)",
        denied=denied,
    )


def refusals(can: Capabilities, desired: DesiredService) -> tuple[str, ...]:
    """Return why this cluster cannot have this service, one line a reason; empty if it can."""
    found = []
    if can.denied:
        found.append(
            f"not allowed to {', '.join(can.denied)}; see the table of permissions in docs/kserve.md"
        )
    if desired.canary is not None and can.no_canary:
        found.append(f"no canary: {can.no_canary}")
    elif desired.canary_percent and can.no_weights:
        found.append(f"no share for a canary: {can.no_weights}")
    if desired.canary_percent != round(desired.canary_percent):
        found.append(f"KServe's shares are whole percents; got {desired.canary_percent:g}")
    if desired.mirror_percent and can.no_mirror:
        found.append(f"no copies for a shadow: {can.no_mirror}")
    if desired.sticky and can.no_sticky:
        found.append(f"not sticky: {can.no_sticky}")
    return tuple(found)


def _standard_limits(facts: Facts) -> tuple[str, str]:
    if facts.canary_list is False:
        return "this KServe has no spec.canary, and ignores canaryTrafficPercent in Standard mode", ""
    if facts.version and facts.version[:2] < _SPLITS_SINCE:
        version = ".".join(map(str, facts.version))
        return (
            "",
            f"KServe {version} starts a canary's pods and splits no traffic in Standard mode; 0.21 does",
        )
    if facts.gateway_api is False or not facts.http_routes:
        return (
            "",
            "weights in Standard mode need the Gateway API (KServe's enableGatewayApi), which is off here",
        )
    return "", ""


def _route(facts: Facts, settings: KServeSettings) -> tuple[str, str]:
    """Return which route of ours copies requests, or why none can."""
    if settings.gateway and facts.http_routes:
        return "HTTPRoute", ""
    if settings.hosts and facts.virtual_services:
        return "VirtualService", ""
    if settings.gateway:
        return "", "the cluster has no HTTPRoutes (Gateway API)"
    if facts.virtual_services:
        return "", "our VirtualService needs the hosts under which callers reach the service; set them"
    if facts.http_routes:
        return "", "our HTTPRoute needs the Gateway to be attached to; set it"
    return "", "the cluster has neither HTTPRoutes (Gateway API) nor VirtualServices (Istio)"


def _readable(client: KubernetesClient, kind: Kind, name: str, namespace: str) -> dict[str, Any] | None:
    try:
        return client.get(kind, name, namespace)
    except UsageError:
        return None


def served(client: KubernetesClient, kind: Kind, namespace: str) -> bool:
    """Tell whether a cluster knows a kind; who may not look learns that it does."""
    try:
        client.get(kind, "cd4ml-is-this-kind-served", namespace)
    except NotFoundError as error:
        return "could not find the requested resource" not in str(error) and "page not found" not in str(
            error
        )
    except UsageError:
        return True
    return True


def _denied(client: KubernetesClient, namespace: str) -> tuple[str, ...]:
    return tuple(
        f"{verb} {kind.qualified}" for verb, kind, _ in NEEDED if not client.may(verb, kind, namespace)
    )


def _section(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    try:
        found = json.loads(data.get(key) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _version(controller: Mapping[str, Any] | None) -> tuple[int, ...] | None:
    """Return KServe's version: of its controller's label, else of its image's tag."""
    if controller is None:
        return None
    labels = (controller.get("metadata") or {}).get("labels") or {}
    pod = (((controller.get("spec") or {}).get("template") or {}).get("spec")) or {}
    images = [str(one.get("image") or "") for one in pod.get("containers") or ()]
    for text in (str(labels.get("app.kubernetes.io/version") or ""), *images):
        found = re.search(r"(?:^|:)v?(\d+)\.(\d+)(?:\.(\d+))?", text)
        if found:
            return tuple(int(part) for part in found.groups() if part is not None)
    return None


def _has_canary_list(definition: Mapping[str, Any] | None) -> bool | None:
    if definition is None:
        return None
    for version in definition["spec"]["versions"]:
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        spec = (schema.get("properties") or {}).get("spec") or {}
        if version.get("name") == INFERENCE_SERVICE.version:
            return "canary" in (spec.get("properties") or {})
    return None
