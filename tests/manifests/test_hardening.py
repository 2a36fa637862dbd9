"""No container of ours is root, may write to its root, or has no limits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.manifests.rendering import (
    BUILDS,
    crds,
    name_of,
    needs_kubectl,
    of_kind,
    rendered,
    source_documents,
)
from tests.manifests.strict_schema import validate


def _pods(value: Any) -> Iterator[dict[str, Any]]:
    """Everything that has containers, wherever it is."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for item in value.values():
            yield from _pods(item)
    elif isinstance(value, list):
        for item in value:
            yield from _pods(item)


def weaknesses(pod: dict[str, Any]) -> list[str]:
    """What a pod's containers may do that they need not, and what they lack."""
    found = []
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        context = container.get("securityContext", {})
        resources = container.get("resources", {})
        wanted = {
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
            "capabilities": context.get("capabilities") == {"drop": ["ALL"]},
            "privileged": not context.get("privileged", False),
            "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem") is True,
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser": context.get("runAsUser", 0) >= 10_000,
            "seccompProfile": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "limits": {"cpu", "memory"} <= resources.get("limits", {}).keys(),
            "requests": {"cpu", "memory"} <= resources.get("requests", {}).keys(),
            "pullPolicy": container.get("imagePullPolicy") == "IfNotPresent",
        }
        found += [f"{container['name']}: {key}" for key, holds in wanted.items() if not holds]
    kinds = {key for volume in pod.get("volumes", ()) for key in volume if key != "name"}
    found += [f"volume: {kind}" for kind in sorted(kinds - {"configMap", "emptyDir", "projected", "secret"})]
    found += [f"{key}: true" for key in ("hostIPC", "hostNetwork", "hostPID") if pod.get(key)]
    found += [
        f"volume {volume['name']}: no size limit"
        for volume in pod.get("volumes", ())
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]
    ]
    return found


@needs_kubectl
@pytest.mark.parametrize("build", [build for build in BUILDS if not build.startswith("routes/")])
def test_no_container_is_root_or_writes_to_its_root_or_has_no_limits(build: str) -> None:
    pods = [(name_of(document), pod) for document in rendered(build) for pod in _pods(document)]
    assert pods
    assert {name: found for name, pod in pods if (found := weaknesses(pod))} == {}


@needs_kubectl
@pytest.mark.parametrize(
    ("weaken", "word"),
    [
        (lambda pod: pod["containers"][0]["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
        (lambda pod: pod["containers"][0]["securityContext"].update(runAsUser=0), "runAsUser"),
        (
            lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False),
            "readOnlyRoot",
        ),
        (lambda pod: pod["containers"][0]["resources"].pop("limits"), "limits"),
        (
            lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
            "capab",
        ),
        (lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "hostPath"),
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod: pod["volumes"][0].update(emptyDir={}), "size limit"),
    ],
)
def test_each_weakness_is_found(weaken: Callable[[dict[str, Any]], Any], word: str) -> None:
    (runtime,) = of_kind(rendered("overlays/minimal"), "ServingRuntime")
    pod = copy.deepcopy(runtime["spec"])
    assert weaknesses(pod) == []
    weaken(pod)
    assert any(word in line for line in weaknesses(pod))


@needs_kubectl
@pytest.mark.parametrize("build", [build for build in BUILDS if build.startswith("overlays/")])
def test_every_writable_place_is_mounted_and_every_mount_has_a_volume(build: str) -> None:
    for document in rendered(build):
        for pod in _pods(document):
            volumes = {volume["name"] for volume in pod.get("volumes", ())}
            mounts = {one["name"] for box in pod["containers"] for one in box.get("volumeMounts", ())}
            assert mounts == volumes, name_of(document)
            for container in pod["containers"]:
                paths = {one["mountPath"] for one in container["volumeMounts"]}
                assert "/tmp" in paths, name_of(document)


@needs_kubectl
def test_only_the_controller_has_a_token_of_the_api() -> None:
    documents = rendered("overlays/standard-gateway-api")
    accounts = of_kind(documents, "ServiceAccount")
    assert accounts
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    (controller,) = of_kind(documents, "Deployment")
    assert controller["spec"]["template"]["spec"]["automountServiceAccountToken"] is True


@needs_kubectl
@pytest.mark.parametrize("build", ["overlays/knative-istio", "overlays/knative-istio-canary"])
def test_knative_knows_each_field_of_the_pods_it_is_given(build: str) -> None:
    """KServe makes a Knative Service of runtime and predictor, which refuses fields that it does not know."""
    (runtime,) = of_kind(rendered(build), "ServingRuntime")
    (service,) = of_kind(rendered(build), "InferenceService")
    predictor = service["spec"]["predictor"]
    of_kserve = {
        "annotations",
        "canaryTrafficPercent",
        "labels",
        "maxReplicas",
        "minReplicas",
        "model",
        "timeout",
    }
    container = copy.deepcopy(runtime["spec"]["containers"][0]) | {"args": predictor["model"]["args"]}
    pod = {key: value for key, value in predictor.items() if key not in of_kserve}
    pod |= {"containers": [container], "volumes": runtime["spec"]["volumes"]}
    pod["timeoutSeconds"] = predictor["timeout"]
    knative = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "bike-demand-predictor"},
        "spec": {"template": {"spec": pod}},
    }
    assert validate(knative, crds()) == []
    pod["terminationGracePeriodSeconds"] = 45
    assert validate(knative, crds())


def test_no_container_is_weak_as_it_is_written() -> None:
    pods = {name: pod for name, one in source_documents().items() for pod in _pods(one)}
    assert len(pods) >= 4
    assert {name: found for name, pod in pods.items() if (found := weaknesses(pod))} == {}
