"""KServe and what routes its traffic: what a rollout could do on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from cd4ml.domain.checkup import Answer, fail, ok, skipped, warn
from cd4ml.errors import UsageError
from cd4ml.steps.doctor.access import Cluster, readable
from cd4ml.steps.doctor.check import Check, Settings

__all__ = ["kserve_checks"]

_INSTALL = "https://kserve.github.io/website/docs/admin-guide/overview"
_APPLY = "kubectl apply --server-side -k manifests/overlays/minimal, or the overlay of your cluster"
_OLDEST = (0, 15)
_RUNTIME = "cd4ml"


class _Maker(Protocol):
    """Makes a check of a cluster."""

    def __call__(
        self, area: str, name: str, ask: Callable[[Cluster, Settings], Answer], needed: bool = False
    ) -> Check: ...


def kserve_checks(check: _Maker) -> list[Check]:
    """Return the checks of the areas "kserve", "routes" and "monitoring" on a cluster."""
    return [
        check("kserve", "installed", _installed, needed=True),
        check("kserve", "version", _version, needed=True),
        check("kserve", "mode", _mode, needed=True),
        check("kserve", "canary", _canary),
        check("kserve", "shadow", _shadow),
        check("kserve", "serving runtime", _runtime, needed=True),
        check("kserve", "controller", _controller, needed=True),
        check("routes", "Knative", _knative),
        check("routes", "Gateway API", _gateway_api),
        check("routes", "gateway", _gateway),
        check("routes", "Istio", _istio),
        check("monitoring", "Prometheus operator", _operator),
    ]


def _has(cluster: Cluster, settings: Settings) -> bool:
    from cd4ml.adapters.kubernetes.kinds import INFERENCE_SERVICE
    from cd4ml.delivery.kserve.detect import served

    return served(cluster.client(), INFERENCE_SERVICE, settings.namespace)


def _installed(cluster: Cluster, settings: Settings) -> Answer:
    if _has(cluster, settings):
        return ok("InferenceServices are served")
    return fail("the cluster has no InferenceServices", "KServe 0.21", f"install KServe: {_INSTALL}")


def _version(cluster: Cluster, settings: Settings) -> Answer:
    if not _has(cluster, settings):
        return skipped("KServe is not installed", "see kserve/installed")
    found = cluster.facts().version
    if found is None:
        fix = "apply the ClusterRole cd4ml-detect of manifests/base/roles.yaml, or name --kserve-namespace"
        return warn("nobody tells it", "0.21", fix)
    said = ".".join(map(str, found))
    if found[:2] < _OLDEST:
        return fail(said, "0.15 or newer; 0.21 for canaries in Standard mode", f"upgrade KServe: {_INSTALL}")
    return ok(said)


def _mode(cluster: Cluster, settings: Settings) -> Answer:
    from cd4ml.delivery.kserve.detect import mode_of

    if not _has(cluster, settings):
        return skipped("KServe is not installed", "see kserve/installed")
    try:
        return ok(f"{mode_of(None, cluster.facts(), cluster.kserve())} by default")
    except UsageError as error:
        fix = "set --kserve-mode of `cd4ml rollout run`, or annotate each service"
        return warn(str(error), "Knative or Standard", fix)


def _can(cluster: Cluster, settings: Settings, words: str, fix: str) -> Answer:
    """Tell whether a service of the default mode can have something; `words` are attributes, by ","."""
    from cd4ml.delivery.kserve.detect import capabilities, mode_of

    if not _has(cluster, settings):
        return skipped("KServe is not installed", "see kserve/installed")
    try:
        mode = mode_of(None, cluster.facts(), cluster.kserve())
    except UsageError:
        return skipped("the mode is not known", "see kserve/mode")
    can = capabilities(cluster.facts(), cluster.kserve(), mode)
    why = [reason for word in words.split(",") if (reason := getattr(can, word))]
    return warn("; ".join(why), fix=fix) if why else ok(f"yes, in {mode} mode")


def _canary(cluster: Cluster, settings: Settings) -> Answer:
    return _can(cluster, settings, "no_canary,no_weights", "see the table of modes in docs/kserve.md")


def _shadow(cluster: Cluster, settings: Settings) -> Answer:
    fix = "name the Gateway: --gateway NAMESPACE/NAME; on Istio --istio-gateway and --host of `rollout run`"
    return _can(cluster, settings, "no_mirror", fix)


def _runtime(cluster: Cluster, settings: Settings) -> Answer:
    from cd4ml.adapters.kubernetes.kinds import CLUSTER_RUNTIME, RUNTIME

    client = cluster.client()
    own, denied = readable(partial(client.find, RUNTIME, _RUNTIME, settings.namespace), None)
    if own is not None:
        return ok(f"'{_RUNTIME}' in '{settings.namespace}'")
    of_all, denied_too = readable(partial(client.find, CLUSTER_RUNTIME, _RUNTIME), None)
    if of_all is not None:
        return ok(f"'{_RUNTIME}' for all namespaces")
    if denied and denied_too:
        return skipped(
            "serving runtimes may not be read", f"kubectl get servingruntimes -n {settings.namespace}"
        )
    return fail(f"there is no runtime '{_RUNTIME}'", "manifests/base/serving-runtime.yaml", _APPLY)


def _controller(cluster: Cluster, settings: Settings) -> Answer:
    from cd4ml.adapters.kubernetes.kinds import DEPLOYMENT

    name = "cd4ml-controller"
    found, denied = readable(partial(cluster.client().find, DEPLOYMENT, name, settings.namespace), None)
    if denied:
        return skipped(
            "deployments may not be read", f"kubectl get deployment {name} -n {settings.namespace}"
        )
    if found is None:
        return fail(f"there is no deployment '{name}'", "manifests/base/controller.yaml", _APPLY)
    if (found.get("status") or {}).get("availableReplicas", 0) < 1:
        fix = f"kubectl describe deployment {name} -n {settings.namespace}"
        return fail(f"'{name}' has no pod that is ready", "1", fix)
    return ok(f"'{name}' is there")


def _knative(cluster: Cluster, settings: Settings) -> Answer:
    if cluster.facts().revisions:
        return ok("revisions are served")
    return warn(
        "not installed: no canary in Knative mode", fix="https://knative.dev/docs/install/, or Standard mode"
    )


def _istio(cluster: Cluster, settings: Settings) -> Answer:
    if cluster.facts().virtual_services:
        return ok("virtual services are served")
    return warn("not installed", fix="https://istio.io/latest/docs/setup/, or the Gateway API")


def _gateway_api(cluster: Cluster, settings: Settings) -> Answer:
    from cd4ml.adapters.kubernetes.kinds import GATEWAY_CLASS

    if not cluster.facts().http_routes:
        return warn(
            "not installed: no shares in Standard mode", fix="https://gateway-api.sigs.k8s.io/guides/"
        )
    nothing: list[dict[str, Any]] = []
    classes, denied = readable(partial(cluster.client().list, GATEWAY_CLASS), nothing)
    if denied:
        return ok("HTTPRoutes are served; gateway classes may not be listed")
    accepted = [one["metadata"]["name"] for one in classes if _condition(one, "Accepted")]
    if not accepted:
        said = f"none of {len(classes)} gateway classes is accepted"
        return warn(
            said, "a class that a controller accepted", "install an implementation of the Gateway API"
        )
    return ok(f"HTTPRoutes are served; class {', '.join(accepted)}")


def _gateway(cluster: Cluster, settings: Settings) -> Answer:
    from cd4ml.adapters.kubernetes.kinds import GATEWAY

    if not settings.gateway:
        return skipped("no Gateway was named", "--gateway NAMESPACE/NAME, or CD4ML_GATEWAY")
    where, _, name = settings.gateway.partition("/")
    found, denied = readable(partial(cluster.client().find, GATEWAY, name, where), None)
    if denied:
        return skipped("gateways may not be read", f"kubectl get gateway {name} -n {where}")
    if found is None:
        return fail(f"there is no Gateway '{settings.gateway}'", fix=f"kubectl get gateways -n {where}")
    missing = [one for one in ("Accepted", "Programmed") if not _condition(found, one)]
    if missing:
        fix = f"kubectl describe gateway {name} -n {where}"
        return fail(f"'{settings.gateway}' is not {' and not '.join(missing)}", "Accepted, Programmed", fix)
    return ok(f"'{settings.gateway}' is programmed")


def _condition(document: Mapping[str, Any], kind: str) -> bool:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == kind and one.get("status") == "True" for one in conditions)


def _operator(cluster: Cluster, settings: Settings) -> Answer:
    from cd4ml.adapters.kubernetes.kinds import RULE, SERVICE_MONITOR
    from cd4ml.delivery.kserve.detect import served

    client, where = cluster.client(), settings.namespace
    missing = [kind.qualified for kind in (SERVICE_MONITOR, RULE) if not served(client, kind, where)]
    if missing:
        fix = "install it, or leave out manifests/components/monitoring"
        return warn(f"not installed: no {', '.join(missing)}", fix=fix)
    return ok("service monitors and rules are served")
