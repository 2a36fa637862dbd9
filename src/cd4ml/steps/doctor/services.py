"""Servers of others: Kubeflow Pipelines, and a Prometheus where one is named."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from cd4ml.domain.checkup import Answer, Use, fail, ok, skipped, warn
from cd4ml.errors import Cd4mlError
from cd4ml.steps.doctor.check import Check, Settings

if TYPE_CHECKING:
    from cd4ml.adapters.kubeflow.remote_client import Server

__all__ = ["service_checks"]

_FORWARD = "kubectl -n kubeflow port-forward svc/ml-pipeline 8888"
_REMOTE: frozenset[Use] = frozenset(("cluster", "ci"))


def service_checks(settings: Settings) -> list[Check]:
    """Return the checks of the areas "pipelines" and "monitoring" that need no cluster."""
    return [
        Check("pipelines", "server", partial(_pipelines, settings), uses=_REMOTE),
        Check("monitoring", "prometheus", partial(_prometheus, settings)),
    ]


def _pipelines(settings: Settings) -> Answer:
    if not settings.kfp_host:
        return skipped("no server of Kubeflow Pipelines was named", f"--kfp-host URL or KFP_HOST; {_FORWARD}")
    from cd4ml.adapters.kubeflow.remote_client import connect

    server = connect(settings.kfp_host, timeout_seconds=settings.limit_seconds / 4)
    try:
        health = json.loads(server.text("/apis/v2beta1/healthz"))
    except ValueError:
        return fail("something else than Kubeflow Pipelines answers", "its API, version 2", _FORWARD)
    users = "for several users" if health.get("multi_user") else "for one user"
    version = _version(server)
    if version and not version.startswith("2."):
        return fail(f"version {version}, {users}", "version 2", "upgrade Kubeflow Pipelines")
    return ok(f"{f'version {version}' if version else 'it does not tell its version'}, {users}")


def _version(server: Server) -> str:
    """Return the server's version; the newer API does not tell it."""
    try:
        told: Any = json.loads(server.text("/apis/v1beta1/healthz"))
        return str(told.get("tag_name") or "")
    except (Cd4mlError, ValueError, AttributeError):
        return ""


def _prometheus(settings: Settings) -> Answer:
    if not settings.prometheus:
        return skipped("no Prometheus was named", "--prometheus URL or CD4ML_PROMETHEUS_URL")
    from cd4ml.adapters.prometheus import Prometheus

    found = Prometheus(settings.prometheus, settings.limit_seconds / 4).query("count(up)", time.time())
    if not found:
        return warn(
            "it answers, and watches nothing", "targets", "see docs/manifests.md, components/monitoring"
        )
    return ok(f"it watches {found[0].samples[-1][1]:g} targets")
