"""Our own route beside KServe's: callers' way to a service, with its weights and the copies for its shadow.

KServe writes its own routes anew again and again; ours has a name and hosts of its own, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cd4ml.delivery.kserve.objects import MANAGED, predictor_service, shadow_name
from cd4ml.delivery.kserve.settings import KServeSettings

__all__ = ["accepted", "http_route", "owned_weights", "route_name", "virtual_service"]

_KNATIVE_GATEWAY = "knative-local-gateway"
_ISTIO = "istio-system"
_OF = "serving.kserve.io/inferenceservice"
_PORT = 80
_HUNDREDTHS = 10_000


def route_name(service: str) -> str:
    """Return the name of our route; KServe writes those named after the service anew again and again."""
    return f"{service}-cd4ml"


def http_route(
    service: str,
    settings: KServeSettings,
    backends: Sequence[tuple[str, int]],
    mirror_percent: float,
) -> dict[str, Any]:
    """Return our HTTPRoute.

    Parameters
    ----------
    backends : sequence of (str, int)
        Kubernetes Services and their weights; none of them in Knative mode, where its gateway splits.
    mirror_percent : float
        Share of the requests that are copied to the shadow; 0 for no copies.
    """
    rewrite, refs = _http_backends(service, settings, backends)
    paths = [f"/v1/models/{service}:predict", f"/v2/models/{service}/infer"]
    rule: dict[str, Any] = {
        "matches": [{"method": "POST", "path": {"type": "Exact", "value": path}} for path in paths],
        "backendRefs": refs,
    }
    if filters := [*_http_mirror(service, mirror_percent), *rewrite]:
        rule["filters"] = filters
    namespace, _, name = settings.gateway.partition("/")
    spec: dict[str, Any] = {
        "parentRefs": [
            {
                "group": "gateway.networking.k8s.io",
                "kind": "Gateway",
                "name": name,
                "namespace": namespace,
            }
        ],
        "rules": [rule],
    }
    if settings.hosts:
        spec["hostnames"] = list(settings.hosts)
    return _document("gateway.networking.k8s.io/v1", "HTTPRoute", service, settings.namespace, spec)


def virtual_service(
    service: str,
    settings: KServeSettings,
    backends: Sequence[tuple[str, int]],
    mirror_percent: float,
) -> dict[str, Any]:
    """Return our VirtualService, with the same meaning as `http_route`."""
    namespace = settings.namespace
    rule: dict[str, Any] = {}
    if mirror_percent:
        shadow = _destination(predictor_service(shadow_name(service)), namespace)
        rule["mirrors"] = [{"destination": shadow, "percentage": {"value": mirror_percent}}]
    if backends:
        rule["route"] = [
            {"destination": _destination(name, namespace)} | ({"weight": weight} if len(backends) > 1 else {})
            for name, weight in backends
        ]
    else:
        rule["headers"] = {"request": {"set": {"Host": _host(predictor_service(service), namespace)}}}
        rule["route"] = [{"destination": _destination(_KNATIVE_GATEWAY, _ISTIO)}]
    paths = [f"/v1/models/{service}:predict", f"/v2/models/{service}/infer"]
    rule["match"] = [{"method": {"exact": "POST"}, "uri": {"exact": path}} for path in paths]
    spec: dict[str, Any] = {"hosts": list(settings.hosts), "http": [rule]}
    if settings.istio_gateways:
        spec["gateways"] = list(settings.istio_gateways)
    return _document("networking.istio.io/v1", "VirtualService", service, namespace, spec)


def owned_weights(
    routes: Iterable[Mapping[str, Any]], service: str, members: frozenset[str]
) -> tuple[dict[str, float] | None, tuple[str, ...]]:
    """Return what the routes that KServe owns do.

    Parameters
    ----------
    service : str
        The InferenceService that owns them.
    members : frozenset of str
        Kubernetes Services of its predictors.

    Returns
    -------
    tuple of (dict or None, tuple of str)
        Service -> percentage, None where no rule names one of `members`; and contradictions.
    """
    found: list[dict[str, float]] = []
    for route in routes:
        if not _is_owned(route, service):
            continue
        for rule in (route.get("spec") or {}).get("rules") or ():
            refs = [(one["name"], one.get("weight", 1)) for one in rule.get("backendRefs") or ()]
            total = sum(weight for _, weight in refs)
            if total and members & {name for name, _ in refs}:
                found.append({name: 100.0 * weight / total for name, weight in refs})
    if not found:
        return None, ()
    problems = () if all(one == found[0] for one in found) else ("KServe's routes contradict each other",)
    return found[-1], problems


def accepted(route: Mapping[str, Any]) -> bool:
    """Tell whether a gateway took an HTTPRoute, as it is now, with all its backends."""
    generation = (route.get("metadata") or {}).get("generation")
    parents = (route.get("status") or {}).get("parents") or ()
    return bool(parents) and all(_parent_took(parent, generation) for parent in parents)


def _parent_took(parent: Mapping[str, Any], generation: Any) -> bool:
    told = {one.get("type"): one for one in parent.get("conditions") or ()}
    return all(
        told.get(kind, {}).get("status") == "True"
        and told[kind].get("observedGeneration", generation) == generation
        for kind in ("Accepted", "ResolvedRefs")
    )


def _is_owned(route: Mapping[str, Any], service: str) -> bool:
    metadata = route.get("metadata") or {}
    if metadata.get("name") == route_name(service):
        return False
    if (metadata.get("labels") or {}).get(_OF) == service:
        return True
    owners = metadata.get("ownerReferences") or ()
    return any(one.get("kind") == "InferenceService" and one.get("name") == service for one in owners)


def _http_backends(
    service: str, settings: KServeSettings, backends: Sequence[tuple[str, int]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if backends:
        return [], [_service_ref(name) | {"weight": weight} for name, weight in backends]
    host = _host(predictor_service(service), settings.namespace)
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": host}}
    return [rewrite], [_service_ref(_KNATIVE_GATEWAY) | {"namespace": _ISTIO, "weight": 1}]


def _http_mirror(service: str, percent: float) -> list[dict[str, Any]]:
    if not percent:
        return []
    mirror: dict[str, Any] = {"backendRef": _service_ref(predictor_service(shadow_name(service)))}
    if percent == round(percent):
        mirror["percent"] = round(percent)
    else:
        numerator = round(percent * _HUNDREDTHS / 100)
        mirror["fraction"] = {"numerator": numerator, "denominator": _HUNDREDTHS}
    return [{"type": "RequestMirror", "requestMirror": mirror}]


def _service_ref(name: str) -> dict[str, Any]:
    # Written out, because the server fills them in: what we said stays what is there.
    return {"group": "", "kind": "Service", "name": name, "port": _PORT}


def _destination(name: str, namespace: str) -> dict[str, Any]:
    return {"host": _host(name, namespace), "port": {"number": _PORT}}


def _host(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.cluster.local"


def _document(api: str, kind: str, service: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": route_name(service), "namespace": namespace, "labels": dict(MANAGED)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": dict(spec)}
