"""What Envoy reads again while it runs: clusters (the model servers) and routes (who gets what)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cd4ml.adapters.envoy.gateway_config import ROUTES, UNIT, UNIT_FILTER

__all__ = ["ASKED", "Backend", "Route", "cluster_name", "clusters", "routes"]

ASKED = "asked"
"""What the access log calls the route of requests that name their variant: chance did not place them."""

_API = "type.googleapis.com/envoy.config"
_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_HUNDREDTHS = 10_000
_VARIANT = "x-cd4ml-variant"
_REQUEST_ID = "x-request-id"
_COOKIE_SECONDS = 30 * 24 * 3600
_IDLE_SECONDS = 3
"""The model servers close idle connections after 5 s: closed here earlier, none is used as it closes."""
# Predictions change nothing, so each may be asked again: when the server did not answer at all. The waits are
# by chance between 0 and 25 ms, 75 ms, ... 500 ms: 60 of them last 15 s in the mean, as a server's start may.
_RETRY: dict[str, Any] = {
    "retry_on": "connect-failure,refused-stream,reset,reset-before-request",
    "num_retries": 60,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.5s"},
}
_LIMITS = {
    "stable": {
        "max_connections": 512,
        "max_pending_requests": 8192,
        "max_requests": 8192,
        "max_retries": 8192,
    },
    # Copies are worth less than requests: when the shadow is too slow for them, some are left out.
    "shadow": {"max_connections": 64, "max_pending_requests": 256, "max_requests": 256, "max_retries": 0},
}


@dataclass(frozen=True)
class Backend:
    """A model server."""

    service: str
    variant: str
    port: int
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Route:
    """Who gets the requests for a service.

    Attributes
    ----------
    members : sequence of str
        The variants that have a cluster; without "stable" the service answers 503.
    canary_percent, mirror_percent : float
        In steps of 0.01.
    sticky, salt : str
        As in `cd4ml.delivery.plane.DesiredService`.
    ready : bool
        Whether the gateway says that the service is ready.
    """

    service: str
    members: Sequence[str] = ("stable",)
    canary_percent: float = 0.0
    mirror_percent: float = 0.0
    sticky: str = ""
    salt: str = ""
    ready: bool = True


def cluster_name(service: str, variant: str) -> str:
    """Return what Envoy calls the servers of a variant."""
    return f"{service}|{variant}"


def clusters(backends: Sequence[Backend], version: str) -> dict[str, Any]:
    """Return the file of clusters."""
    found = [{"@type": f"{_API}.cluster.v3.Cluster", **_cluster(backend)} for backend in backends]
    return {"version_info": version, "resources": found}


def routes(found: Sequence[Route], version: str, timeout_seconds: float = 60.0) -> dict[str, Any]:
    """Return the file of routes: first what belongs to one service, then what belongs to the gateway."""
    own = [entry for route in found for entry in _service(route, timeout_seconds)]
    table = {
        "@type": f"{_API}.route.v3.RouteConfiguration",
        "name": ROUTES,
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [*own, *_gateway(found, timeout_seconds)],
                "request_headers_to_add": [
                    _header("ce-id", f"%REQ({_REQUEST_ID})%", "ADD_IF_ABSENT"),
                ],
            }
        ],
    }
    return {"version_info": version, "resources": [table]}


def _cluster(backend: Backend) -> dict[str, Any]:
    address = {"socket_address": {"address": backend.host, "port_value": backend.port}}
    protocol = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": cluster_name(backend.service, backend.variant),
        "type": "STATIC",
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": 1 << 20,
        "ignore_health_on_host_removal": True,
        "load_assignment": {
            "cluster_name": cluster_name(backend.service, backend.variant),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {
            "thresholds": [_LIMITS["shadow" if backend.variant == "shadow" else "stable"]],
        },
        # A cluster has one server, and a bad one is better asked than nobody: below the threshold of panic
        # (50 % healthy) Envoy asks it all the same, and a request is repeated until it answers. So health is
        # for people to see, and there is no outlier detection, which could only throw out the last server.
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": f"/v2/models/{backend.service}/ready"},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": protocol,
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": f"{_IDLE_SECONDS}s"},
            }
        },
    }


def _service(route: Route, timeout_seconds: float) -> list[dict[str, Any]]:
    """Return the routes of a service: its models' paths, and all it has under /services/NAME/."""
    name = re.escape(route.service)
    models = {"safe_regex": {"regex": f"/v[12]/models/{name}(?:[:/].*)?"}}
    rest = {"prefix": f"/services/{route.service}/"}
    return [
        _closed(f"/services/{route.service}/v2/repository"),
        *_split(route, models, {}, timeout_seconds),
        *_split(route, rest, {"prefix_rewrite": "/"}, timeout_seconds),
    ]


def _split(
    route: Route, match: dict[str, Any], more: dict[str, Any], timeout_seconds: float
) -> list[dict[str, Any]]:
    """Return the routes of one path: those who ask for a variant first, then by weight."""
    if "stable" not in route.members:
        return [{"match": match, **_answer(503, f"'{route.service}' is not ready yet; try again soon")}]
    common = {"timeout": f"{timeout_seconds:g}s", "retry_policy": _RETRY, **more}
    found = [
        {
            "name": ASKED,
            "match": {**match, "headers": [*_from_here(), _equals(_VARIANT, variant)]},
            "route": {"cluster": cluster_name(route.service, variant), **common},
        }
        for variant in route.members
    ]
    absent = f"'{route.service}' has {', '.join(route.members)} and no variant of that name"
    asked = {**match, "headers": [*_from_here(), {"name": _VARIANT, "present_match": True}]}
    found.append({"match": asked, **_answer(404, absent)})
    weighted = {**_weights(route), **_mirror(route), **common}
    kind, _, name = route.sticky.partition(":")
    salt = route.salt.replace("\\", "\\\\")  # it stands where "\\1" stands for a group
    if not kind:
        return [*found, {"match": match, "route": weighted}]
    if kind == "header":
        policy = [_hash_of(name.lower(), "^.*$", f"{salt}\\0")]
        by_header = {"match": match, "route": {**weighted, "hash_policy": policy}}
        return [*found, {**by_header, **_unit("header", name.lower())}]
    return [*found, *_by_cookie(name, salt, match, weighted)]


def _by_cookie(name: str, salt: str, match: dict[str, Any], weighted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return two routes: callers with the cookie, and callers who get it now.

    The new cookie is the request's id, and the request itself goes where that id says: so the first request
    goes where all later ones will.
    """
    literal = re.escape(name)
    there = f"(?:^|.*; *){literal}=([^;]+).*"
    known = {**match, "headers": [{"name": "cookie", "string_match": {"safe_regex": {"regex": there}}}]}
    cookie = f"{name}=%REQ({_REQUEST_ID})%; Path=/; Max-Age={_COOKIE_SECONDS}; HttpOnly; SameSite=Lax"
    return [
        {
            "match": known,
            "route": {**weighted, "hash_policy": [_hash_of("cookie", f"^{there}$", f"{salt}\\1")]},
            **_unit("cookie", name),
        },
        {
            "match": match,
            "route": {**weighted, "hash_policy": [_hash_of(_REQUEST_ID, "^.*$", f"{salt}\\0")]},
            "response_headers_to_add": [_header("set-cookie", cookie, "APPEND_IF_EXISTS_OR_ADD")],
        },
    ]


def _unit(kind: str, name: str) -> dict[str, Any]:
    """Return what has the access log tell the value that decided."""
    namespace, key = UNIT
    rule = {kind: name, "on_header_present": {"metadata_namespace": namespace, "key": key}}
    config = f"{_FILTERS}.header_to_metadata.v3.Config"
    return {"typed_per_filter_config": {UNIT_FILTER: {"@type": config, "request_rules": [rule]}}}


def _weights(route: Route) -> dict[str, Any]:
    """Return the weighted clusters; the canary stands first.

    A hash modulo 10,000 falls into the canary's part if it is below its weight: as that grows, nobody who was
    within falls out.
    """
    canary = round(route.canary_percent * _HUNDREDTHS / 100) if "canary" in route.members else 0
    shares = {"canary": canary, "stable": _HUNDREDTHS - canary}
    found = [
        {"name": cluster_name(route.service, variant), "weight": weight}
        for variant, weight in shares.items()
        if variant in route.members
    ]
    weighted: dict[str, Any] = {"clusters": found}
    if route.sticky:
        weighted["use_hash_policy"] = True
    return {"weighted_clusters": weighted}


def _mirror(route: Route) -> dict[str, Any]:
    share = round(route.mirror_percent * _HUNDREDTHS / 100)
    if not share or "shadow" not in route.members:
        return {}
    fraction = {"default_value": {"numerator": share, "denominator": "TEN_THOUSAND"}}
    policy = {
        "cluster": cluster_name(route.service, "shadow"),
        "runtime_fraction": fraction,
        "disable_shadow_host_suffix_append": True,
    }
    return {"request_mirror_policies": [policy]}


def _gateway(found: Sequence[Route], timeout_seconds: float) -> list[dict[str, Any]]:
    """Return the routes of the gateway itself; what is left over goes to the only service, if it is one."""
    names = [route.service for route in found]
    ready = bool(found) and all(route.ready for route in found)
    entries = [
        {"match": {"path": "/v2/health/live"}, **_answer(200, {"live": True})},
        {
            "match": {"path": "/v2/health/ready"},
            **(_answer(200, {"ready": True}) if ready else _answer(503, "a service is not ready yet")),
        },
        {"match": {"path": "/v1/models"}, **_answer(200, {"models": names})},
        _closed("/metrics"),
        _closed("/v2/repository"),
    ]
    known = ", ".join(names) or "none"
    nothing = f"the gateway has no such path; its services: {known}"
    for prefix in ("/v1/models/", "/v2/models/", "/services/"):
        entries.append({"match": {"prefix": prefix}, **_answer(404, nothing)})
    if len(found) == 1:
        return [*entries, *_split(found[0], {"prefix": "/"}, {}, timeout_seconds)]
    return [*entries, {"match": {"prefix": "/"}, **_answer(404, nothing)}]


def _closed(prefix: str) -> dict[str, Any]:
    """Return a route that answers 404 to what belongs to one server and not to callers."""
    return {"match": {"prefix": prefix}, **_answer(404, "this path is not for callers of the gateway")}


def _answer(status: int, body: object) -> dict[str, Any]:
    """Return what the gateway answers itself: JSON, or with an error its text, which it makes JSON of."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {
        "direct_response": {"status": status, "body": {"inline_string": text}},
        "response_headers_to_add": [
            _header("content-type", "application/json", "OVERWRITE_IF_EXISTS_OR_ADD")
        ],
    }


def _from_here() -> list[dict[str, Any]]:
    """Return the match of callers on this machine: Envoy sets the header, and takes it from all others."""
    return [_equals("x-envoy-internal", "true")]


def _equals(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"exact": value}}


def _hash_of(header: str, regex: str, substitution: str) -> dict[str, Any]:
    rewrite = {"pattern": {"regex": regex}, "substitution": substitution}
    return {"header": {"header_name": header, "regex_rewrite": rewrite}}


def _header(name: str, value: str, action: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": action}
