"""A cluster: its API server, our namespace there, what the caller may do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cd4ml.domain.checkup import Answer, Use, fail, ok, skipped, warn
from cd4ml.errors import UsageError
from cd4ml.steps.doctor.access import Cluster, readable
from cd4ml.steps.doctor.check import Check, Settings

__all__ = ["cluster_checks"]

_NEEDED: frozenset[Use] = frozenset(("cluster",))
_SECURITY = "pod-security.kubernetes.io/enforce"
_SAFE = ("baseline", "restricted")
_ACCOUNTS = ("cd4ml-predictor", "cd4ml-controller", "cd4ml-task")


def cluster_checks(settings: Settings) -> list[Check]:
    """Return the checks of all areas that need a cluster."""
    from cd4ml.delivery.kserve.permissions import ROLES
    from cd4ml.steps.doctor.kserve import kserve_checks

    cluster = Cluster(settings)

    def check(
        area: str, name: str, ask: Callable[[Cluster, Settings], Answer], needed: bool = False
    ) -> Check:
        look = partial(cluster.look, partial(ask, cluster, settings))
        return Check(area, name, look, _NEEDED if needed else frozenset())

    return [
        Check("cluster", "API server", partial(_server, cluster), uses=_NEEDED),
        check("cluster", "namespace", _namespace, needed=True),
        check("cluster", "pod security", _pod_security),
        check("cluster", "image pull", _pull_secrets),
        *(
            check("permissions", role.partition("/")[2], partial(_granted, role), needed=True)
            for role in ROLES
        ),
        *kserve_checks(check),
    ]


def _server(cluster: Cluster) -> Answer:
    try:
        found = cluster.version()
    except UsageError as error:
        fix = "kubectl config use-context NAME, or --kubeconfig FILE; pip install 'cd4ml[cluster]'"
        return skipped(" ".join(str(error).split()), fix)
    return ok(found)


def _namespace(cluster: Cluster, settings: Settings) -> Answer:
    name = settings.namespace
    found, denied = readable(partial(_labels, cluster, name), None)
    if denied:
        return warn(f"'{name}' may not be read", fix=f"kubectl auth can-i get namespace/{name}")
    if found is None:
        return fail(f"there is no '{name}'", fix=f"kubectl create namespace {name}")
    return ok(f"'{name}'")


def _labels(cluster: Cluster, name: str) -> dict[str, str] | None:
    from cd4ml.adapters.kubernetes.kinds import NAMESPACE

    found = cluster.client().find(NAMESPACE, name)
    return None if found is None else dict(found["metadata"].get("labels") or {})


def _pod_security(cluster: Cluster, settings: Settings) -> Answer:
    name = settings.namespace
    labels, denied = readable(partial(_labels, cluster, name), None)
    if denied or labels is None:
        return skipped(denied or f"there is no '{name}'", "see cluster/namespace")
    found = labels.get(_SECURITY, "")
    if found in _SAFE:
        return ok(f"{found} is enforced")
    fix = f"kubectl label namespace {name} {_SECURITY}=baseline"
    return warn(f"{found or 'nothing'} is enforced", "baseline or restricted", fix)


def _pull_secrets(cluster: Cluster, settings: Settings) -> Answer:
    """Do the secrets that our accounts name for pulling images exist? Nothing of them is shown."""
    from cd4ml.adapters.kubernetes.kinds import SECRET, SERVICE_ACCOUNT

    client, where = cluster.client(), settings.namespace
    named: set[str] = set()
    for account in _ACCOUNTS:
        found, denied = readable(partial(client.find, SERVICE_ACCOUNT, account, where), None)
        if denied:
            return skipped("service accounts may not be read", f"kubectl auth can-i get sa -n {where}")
        if found is None:
            fix = "kubectl apply --server-side -k manifests/overlays/minimal, or the overlay of your cluster"
            return fail(f"there is no service account '{account}'", ", ".join(_ACCOUNTS), fix)
        named |= {str(one["name"]) for one in found.get("imagePullSecrets") or ()}
    missing = []
    for name in sorted(named):
        found, denied = readable(partial(client.find, SECRET, name, where), None)
        if denied:
            return ok(f"{', '.join(sorted(named))}; nobody but their owner may look")
        if found is None:
            missing.append(name)
    if missing:
        fix = f"kubectl create secret docker-registry {missing[0]} -n {where} --docker-server=..."
        return fail(f"no secret {', '.join(missing)}", "what the service accounts name", fix)
    return ok(", ".join(sorted(named)) or "no secret is named: images must be public")


def _granted(role: str, cluster: Cluster, settings: Settings) -> Answer:
    """May the caller do what a role of manifests/ is there for?"""
    from cd4ml.delivery.kserve.permissions import ROLES

    client, denied = cluster.client(), []
    for one in ROLES[role]:
        where = settings.system_namespace if one.in_system else settings.namespace
        if not client.may(one.verb, one.kind, where, one.name):
            denied.append(one.said)
    if not denied:
        return ok(f"all of {len(ROLES[role])} are granted")
    account = role.partition("/")[2].replace("detect", "controller")
    fix = (
        "apply manifests/base/roles.yaml, and ask as its account:"
        f" kubectl auth can-i {denied[0].split(chr(39))[0].strip()} -n {settings.namespace}"
        f" --as system:serviceaccount:{settings.namespace}:{account}"
    )
    return fail(f"not allowed to {', '.join(denied)}", f"{role} of manifests/base/roles.yaml", fix)
