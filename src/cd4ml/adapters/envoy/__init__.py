"""Envoy: where it is, how it is configured, how it is asked."""

from __future__ import annotations

from cd4ml.adapters.envoy.admin import Admin
from cd4ml.adapters.envoy.binary import find_envoy
from cd4ml.adapters.envoy.gateway_config import GatewaySettings, bootstrap
from cd4ml.adapters.envoy.routes import Backend, Route, cluster_name, clusters, routes

__all__ = [
    "Admin",
    "Backend",
    "GatewaySettings",
    "Route",
    "bootstrap",
    "cluster_name",
    "clusters",
    "find_envoy",
    "routes",
]
