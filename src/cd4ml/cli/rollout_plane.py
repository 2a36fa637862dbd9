"""Which plane a controller of rollouts acts on, and its options there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cd4ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cd4ml.delivery.controller import Controller
    from cd4ml.delivery.kserve.settings import KServeSettings

__all__ = [
    "Adopt",
    "Gateway",
    "Heartbeat",
    "Hosts",
    "IstioGateways",
    "LoggerUrl",
    "Mode",
    "Namespace",
    "Plane",
    "PrometheusLabels",
    "PrometheusUrl",
    "Runtime",
    "Through",
    "WhichPlane",
    "cluster_controller",
    "on_this_machine",
]


class Plane(StrEnum):
    """Where traffic flows."""

    LOCAL = "local"
    KSERVE = "kserve"


WhichPlane = Annotated[
    Plane, typer.Option("--plane", envvar="CD4ML_PLANE", help="This machine, or KServe on a cluster.")
]
Namespace = Annotated[
    str, typer.Option(envvar="CD4ML_NAMESPACE", help="KServe: where the services are. Needed there.")
]
Gateway = Annotated[
    str, typer.Option(envvar="CD4ML_GATEWAY", help="KServe: NAMESPACE/NAME of the Gateway of our HTTPRoutes.")
]
IstioGateways = Annotated[
    list[str] | None,
    typer.Option(
        "--istio-gateway", envvar="CD4ML_ISTIO_GATEWAYS", help="KServe: a gateway of our VirtualServices."
    ),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", envvar="CD4ML_HOSTS", help="KServe: a name under which callers reach services."),
]
Mode = Annotated[
    str, typer.Option(envvar="CD4ML_MODE", help="KServe: Knative or Standard, of services without a mode.")
]
Runtime = Annotated[
    str, typer.Option(envvar="CD4ML_RUNTIME", help="KServe: the ServingRuntime of services that are made.")
]
LoggerUrl = Annotated[
    str, typer.Option(envvar="CD4ML_LOGGER_URL", help="KServe: where services that are made send events.")
]
Adopt = Annotated[
    bool,
    typer.Option("--adopt", envvar="CD4ML_ADOPT", help="KServe: also services that somebody else applied."),
]
PrometheusUrl = Annotated[
    str,
    typer.Option(envvar="CD4ML_PROMETHEUS_URL", help="KServe: where evidence is; http://HOST:9090."),
]
PrometheusLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--prometheus-label",
        envvar="CD4ML_PROMETHEUS_LABELS",
        help="KServe: NAME=VALUE that the series of these services have, such as namespace=models.",
    ),
]
Through = Annotated[
    str,
    typer.Option(
        "--verify-through",
        envvar="CD4ML_VERIFY_THROUGH",
        help="KServe: http://HOST:PORT by which candidates are asked from outside of the cluster.",
    ),
]
Heartbeat = Annotated[
    Path | None, typer.Option(help="A file that is touched whenever all rollouts were looked at.")
]


def cluster_controller(
    settings: KServeSettings,
    prometheus_url: str,
    prometheus_labels: Sequence[str],
    state: Path,
    through: str = "",
) -> Controller:
    """Return the controller of the services in one namespace of a cluster.

    Parameters
    ----------
    state : Path
        Bundles are kept in its folder `bundles`.
    """
    from cd4ml.adapters.kubernetes.client import connect
    from cd4ml.delivery.kserve.plane import KServePlane
    from cd4ml.steps.rollout_cluster import kserve_controller, prometheus_evidence

    if not settings.namespace:
        raise UsageError("on a cluster say --namespace, or set CD4ML_NAMESPACE")
    evidence = prometheus_evidence(prometheus_url, _labels(prometheus_labels))
    plane = KServePlane(connect(), settings)
    return kserve_controller(plane, evidence, state.absolute() / "bundles", through=through)


def _labels(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--prometheus-label must be NAME=VALUE; got '{text}'")
        found[name] = value
    return found


def on_this_machine(*, run_here: bool, detach: bool, force: bool) -> None:
    """Refuse what `start` can do on this machine alone."""
    if run_here or detach:
        raise UsageError(
            "on a cluster the controller is the Deployment in manifests/; leave --run and --detach out, or"
            " start one with `cd4ml rollout run --plane kserve`"
        )
    if force:
        raise UsageError(
            "on a cluster --force is refused; let somebody approve the version: `cd4ml models approve`"
        )
