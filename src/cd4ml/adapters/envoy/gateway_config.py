"""What Envoy is started with: one listener, and where its routes and clusters are read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ACCESS_LOG", "LISTENER", "ROUTES", "UNIT", "UNIT_FILTER", "GatewaySettings", "bootstrap"]

LISTENER = "gateway"
UNIT = ("cd4ml", "unit")
"""Where a sticky route puts the value that decides, for the access log: namespace and key."""
UNIT_FILTER = "envoy.filters.http.header_to_metadata"
ROUTES = "services"
_TYPE = "type.googleapis.com/envoy.extensions"
_LOOPBACK = [
    {"address_prefix": "127.0.0.0", "prefix_len": 8},
    {"address_prefix": "::1", "prefix_len": 128},
]
ACCESS_LOG = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%",
    "id": "%REQ(ce-id)%",
    "request_id": "%REQ(x-request-id)%",
    "method": "%REQ(:method)%",
    "path": "%REQ(x-envoy-original-path?:path)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "route": "%ROUTE_NAME%",
    "unit": f"%DYNAMIC_METADATA({':'.join(UNIT)})%",
    "variant": "%RESP(x-cd4ml-variant)%",
    "version": "%RESP(x-cd4ml-version)%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "milliseconds": "%DURATION%",
    "upstream_milliseconds": "%RESPONSE_DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "caller": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
}


@dataclass(frozen=True)
class GatewaySettings:
    """What callers meet.

    Attributes
    ----------
    port : int
        0 takes a free one.
    body_bytes : int
        A larger body gets 413. Bodies are kept until they are answered, so that each request can be repeated.
    timeout_seconds : float
        For one request, all its repetitions together; then 504.
    body_seconds : float
        How long a caller may take to send a request; then 408.
    """

    host: str = "127.0.0.1"
    port: int = 0
    body_bytes: int = 64 * 1024 * 1024
    timeout_seconds: float = 60.0
    body_seconds: float = 60.0


def bootstrap(settings: GatewaySettings, dynamic: Path, access_log: Path) -> dict[str, Any]:
    """Return the configuration that Envoy starts with.

    Parameters
    ----------
    dynamic : Path
        The folder of `routes.json` and `clusters.json`; Envoy reads them again when one is renamed over.
    access_log : Path
        JSON Lines, one a request.
    """
    return {
        "node": {"id": "cd4ml", "cluster": "cd4ml"},
        "admin": {"address": _address("127.0.0.1", 0)},
        "dynamic_resources": {"cds_config": _file(dynamic, "clusters.json")},
        "static_resources": {
            "listeners": [
                {
                    "name": LISTENER,
                    "address": _address(settings.host, settings.port),
                    # Two gateways on one port would share its callers by chance; the second one shall fail.
                    "enable_reuse_port": False,
                    "per_connection_buffer_limit_bytes": 1 << 20,
                    "filter_chains": [{"filters": [_http(settings, dynamic, access_log)]}],
                }
            ]
        },
    }


def _http(settings: GatewaySettings, dynamic: Path, access_log: Path) -> dict[str, Any]:
    seconds = f"{settings.body_seconds:g}s"
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": LISTENER,
            "rds": {"route_config_name": ROUTES, "config_source": _file(dynamic, "routes.json")},
            "http_filters": _filters(settings),
            "access_log": [_access_log(access_log)],
            "local_reply_config": _JSON_REPLIES,
            "request_timeout": seconds,
            "request_headers_timeout": seconds,
            "stream_idle_timeout": f"{settings.timeout_seconds + settings.body_seconds:g}s",
            "common_http_protocol_options": {"idle_timeout": "3600s"},
            "server_header_transformation": "PASS_THROUGH",
            # A caller from this machine is "internal": it alone may ask for a variant.
            "use_remote_address": True,
            "skip_xff_append": True,
            "internal_address_config": {"unix_sockets": True, "cidr_ranges": _LOOPBACK},
            # The caller's own id is kept; without one the gateway makes it. The id is a name, so no bit of it
            # tells anything about tracing, which would change it on the way.
            "generate_request_id": True,
            "preserve_external_request_id": True,
            "always_set_request_id_in_response": True,
            "request_id_extension": {
                "typed_config": {
                    "@type": f"{_TYPE}.request_id.uuid.v3.UuidRequestIdConfig",
                    "pack_trace_reason": False,
                }
            },
            "normalize_path": True,
            "merge_slashes": True,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
        },
    }


def _filters(settings: GatewaySettings) -> list[dict[str, Any]]:
    buffer = {"@type": f"{_TYPE}.filters.http.buffer.v3.Buffer", "max_request_bytes": settings.body_bytes}
    unit = {"@type": f"{_TYPE}.filters.http.header_to_metadata.v3.Config"}
    router = {"@type": f"{_TYPE}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    return [
        {"name": UNIT_FILTER, "typed_config": unit},  # each route says of what
        # The whole body before anything of it goes on: a slow caller holds no server, and every request can
        # be sent again when a server dies.
        {"name": "envoy.filters.http.buffer", "typed_config": buffer},
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]


# What the gateway itself has to say of an error is a text; it becomes JSON as the servers' errors are.
_JSON_REPLIES: dict[str, Any] = {
    "mappers": [
        {
            "filter": {
                "status_code_filter": {
                    "comparison": {
                        "op": "GE",
                        "value": {"default_value": 400, "runtime_key": "cd4ml.replies.least_status"},
                    }
                }
            },
            "body_format_override": {
                "json_format": {"error": "%LOCAL_REPLY_BODY%"},
                "content_type": "application/json",
            },
        }
    ]
}


def _access_log(path: Path) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_TYPE}.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": ACCESS_LOG},
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _file(folder: Path, name: str) -> dict[str, Any]:
    return {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": str(folder / name),
            "watched_directory": {"path": str(folder)},
        },
    }
