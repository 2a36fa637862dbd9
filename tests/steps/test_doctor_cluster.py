"""A cluster as the doctor sees it: bare, with all of KServe and of ours, with calls denied, and gone."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config

from cd4ml.cli.main import main
from cd4ml.delivery.kserve.permissions import ROLES
from cd4ml.domain.checkup import Finding
from cd4ml.steps.doctor import Settings, examine
from tests.adapters.s3_server import environment
from tests.kubernetes.api_server import ApiServer, api_server
from tests.kubernetes.small_crds import SMALL_CRDS, definition

AREAS = ("cluster", "kserve", "routes", "monitoring", "permissions")
FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SPEC = {"type": "object", "properties": {"spec": FREE, "status": FREE}}


def of_cluster(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "spec": {**document["spec"], "scope": "Cluster"}}


MORE = [
    definition("serving.kserve.io", "v1alpha1", "ServingRuntime", SPEC, status=False),
    of_cluster(definition("serving.kserve.io", "v1alpha1", "ClusterServingRuntime", SPEC, status=False)),
    definition("gateway.networking.k8s.io", "v1", "Gateway", SPEC, status=False),
    of_cluster(
        definition(
            "gateway.networking.k8s.io", "v1", "GatewayClass", SPEC, plural="gatewayclasses", status=False
        )
    ),
    definition("monitoring.coreos.com", "v1", "ServiceMonitor", SPEC, status=False),
    definition("monitoring.coreos.com", "v1", "PrometheusRule", SPEC, status=False),
]
PATHS = {
    "ClusterServingRuntime": "/apis/serving.kserve.io/v1alpha1/clusterservingruntimes",
    "ConfigMap": "/api/v1/namespaces/kserve/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Gateway": "/apis/gateway.networking.k8s.io/v1/namespaces/gateways/gateways",
    "GatewayClass": "/apis/gateway.networking.k8s.io/v1/gatewayclasses",
    "Secret": "/api/v1/namespaces/cd4ml/secrets",
    "ServiceAccount": "/api/v1/namespaces/cd4ml/serviceaccounts",
    "ServingRuntime": "/apis/serving.kserve.io/v1alpha1/namespaces/cd4ml/servingruntimes",
}


class Here:
    """A stand-in and what is put into it."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server, self.kubeconfig = server, server.kubeconfig(folder / "kubeconfig")

    def put(self, kind: str, name: str, namespace: str = "cd4ml", **content: Any) -> None:
        path = PATHS[kind].format(namespace)
        version = path.partition("/namespaces/")[0].rpartition("/")[0] if kind == "GatewayClass" else ""
        version = version or path.partition("/namespaces/")[0]
        if kind == "ClusterServingRuntime":
            version = path.rpartition("/")[0]
        document = {"apiVersion": version.removeprefix("/apis/").removeprefix("/api/"), "kind": kind}
        with config.new_client_from_config(str(self.kubeconfig)) as api:
            api.call_api(
                path,
                "POST",
                header_params={"Content-Type": "application/json", "Accept": "application/json"},
                body={**document, "metadata": {"name": name}, **content},
                _preload_content=False,
            )

    def found(self, *areas: str, **more: Any) -> dict[str, Finding]:
        settings = Settings("cluster", kubeconfig=self.kubeconfig, **more)
        return {f"{one.area}/{one.name}": one for one in examine(settings, areas or AREAS)}


@contextmanager
def cluster(folder: Path, crds: Any = (), namespaces: tuple[str, ...] = ("default",)) -> Iterator[Here]:
    with api_server(crds, namespaces=namespaces) as server:
        yield Here(server, folder)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Here]:
    """KServe in Standard mode with the Gateway API, and everything of ours."""
    with cluster(tmp_path, [*SMALL_CRDS, *MORE], ("default", "cd4ml", "kserve", "gateways")) as here:
        sections = {"deploy": {"defaultDeploymentMode": "Standard"}, "ingress": {"enableGatewayApi": True}}
        data = {name: json.dumps(value) for name, value in sections.items()}
        here.put("ConfigMap", "inferenceservice-config", data=data)
        here.put("Deployment", "kserve-controller-manager", "kserve", **pods("kserve/controller:v0.21.0"))
        here.put("Deployment", "cd4ml-controller", **pods("cd4ml-controller:1"))
        ready = here.server.store.get(("apps", "deployments"), "cd4ml", "cd4ml-controller")
        assert ready is not None
        here.server.store.put(("apps", "deployments"), {**ready, "status": {"availableReplicas": 1}})
        for account in ("cd4ml-predictor", "cd4ml-controller", "cd4ml-task"):
            here.put("ServiceAccount", account, imagePullSecrets=[{"name": "registry"}])
        here.put("Secret", "registry", stringData={"password": "very-secret"})
        here.put("ServingRuntime", "cd4ml", spec={})
        accepted = {"conditions": [{"type": name, "status": "True"} for name in ("Accepted", "Programmed")]}
        here.put("GatewayClass", "envoy", spec={}, status=accepted)
        here.put("Gateway", "public", spec={}, status=accepted)
        yield here


def pods(image: str) -> dict[str, Any]:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return {"spec": {"selector": {"matchLabels": labels}, "template": template}}


def not_ok(found: dict[str, Finding]) -> dict[str, str]:
    return {name: one.status for name, one in found.items() if one.status != "ok"}


def test_a_cluster_with_everything_has_all_that_is_needed(whole: Here) -> None:
    before = len(whole.server.calls)
    found = whole.found(gateway="gateways/public")
    assert not_ok(found) == {"cluster/pod security": "warn", "monitoring/prometheus": "skipped"}
    assert found["cluster/API server"].found.startswith("v1.")
    assert found["kserve/version"].found == "0.21.0"
    assert found["kserve/mode"].found == "Standard by default"
    assert found["kserve/canary"].found == "yes, in Standard mode"
    assert "kubectl label namespace cd4ml" in found["cluster/pod security"].fix
    assert "very-secret" not in repr(found)
    for role, permissions in ROLES.items():
        said = found[f"permissions/{role.partition('/')[2]}"].found
        assert said == f"all of {len(permissions)} are granted"
    written = {call.path for call in whole.server.calls[before:] if call.method != "GET"}
    assert written == {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}, "looking changed something"


def test_a_bare_cluster_lacks_everything_and_says_what_brings_it(tmp_path: Path) -> None:
    with cluster(tmp_path) as here:
        found = here.found()
    assert found["cluster/API server"].status == "ok"
    assert {name for name, one in found.items() if one.blocks} == {
        *("cluster/namespace", "kserve/installed", "kserve/version", "kserve/mode"),
        *("kserve/serving runtime", "kserve/controller"),
    }
    assert found["cluster/namespace"].fix == "kubectl create namespace cd4ml"
    assert found["kserve/version"].status == "skipped"
    assert found["routes/Gateway API"].status == found["routes/Knative"].status == "warn"
    assert "servicemonitors.monitoring.coreos.com" in found["monitoring/Prometheus operator"].found
    assert all(one.fix for one in found.values() if one.status != "ok")


def test_each_verb_that_is_not_granted_is_named(whole: Here) -> None:
    whole.server.deny(verb="patch", resource="httproutes")
    whole.server.deny(verb="delete", resource="inferenceservices")
    found = whole.found("permissions")
    said = found["permissions/cd4ml-controller"]
    assert said.blocks and said.exit_code == 2
    assert "delete inferenceservices.serving.kserve.io" in said.found
    assert "patch httproutes.gateway.networking.k8s.io" in said.found
    assert "--as system:serviceaccount:cd4ml:cd4ml-controller" in said.fix
    assert found["permissions/cd4ml-task"].status == "ok"


def test_the_review_asks_for_the_name_and_the_place_that_the_role_grants(whole: Here) -> None:
    whole.found("permissions")
    asked = [
        call.body["spec"]["resourceAttributes"]
        for call in whole.server.calls
        if call.path.endswith("selfsubjectaccessreviews")
    ]
    assert {"verb": "get", "group": "", "resource": "configmaps", "name": "inferenceservice-config",
            "namespace": "kserve"} in asked  # fmt: skip
    assert {"verb": "list", "group": "gateway.networking.k8s.io", "resource": "httproutes",
            "namespace": "cd4ml"} in asked  # fmt: skip
    assert len(asked) == sum(len(permissions) for permissions in ROLES.values())


def test_what_may_not_be_read_is_skipped_and_never_a_traceback(whole: Here) -> None:
    whole.server.deny(verb="get")
    whole.server.deny(verb="list")
    found = whole.found(gateway="gateways/public")
    for name in ("cluster/image pull", "kserve/controller", "kserve/serving runtime", "routes/gateway"):
        assert (found[name].status, bool(found[name].fix)) == ("skipped", True), name
    assert found["kserve/version"].status == "warn"
    assert not [one for one in found.values() if "broke" in one.found]


def test_a_gateway_that_is_not_programmed_and_a_secret_that_is_missing_fail(whole: Here) -> None:
    whole.put("Gateway", "private", spec={}, status={"conditions": [{"type": "Accepted", "status": "True"}]})
    whole.server.store.remove(("", "secrets"), "cd4ml", "registry")
    found = whole.found("routes", "cluster", gateway="gateways/private")
    assert found["routes/gateway"].found == "'gateways/private' is not Programmed"
    assert found["cluster/image pull"].found == "no secret registry"
    assert whole.found("routes", gateway="gateways/none")["routes/gateway"].status == "fail"


def test_a_server_that_is_gone_is_out_of_reach_and_everything_else_is_skipped(tmp_path: Path) -> None:
    with cluster(tmp_path) as here:
        pass
    found = here.found(limit_seconds=20)
    server = found.pop("cluster/API server")
    assert (server.status, server.exit_code) == ("fail", 6)
    assert {one.status for one in found.values()} == {"skipped"}


def test_without_any_kubeconfig_there_is_no_cluster_to_look_at(tmp_path: Path) -> None:
    nothing = Here.__new__(Here)
    nothing.kubeconfig = tmp_path / "none"
    found = nothing.found("cluster")
    assert {one.status for one in found.values()} == {"skipped"}
    assert "--kubeconfig" in found["cluster/API server"].fix


def test_the_command_says_in_one_line_what_is_missing(tmp_path: Path, capsys: Any) -> None:
    with cluster(tmp_path) as here, environment(KFP_HOST=None):
        command = ["doctor", "--for", "cluster", "--area", "cluster", "--kubeconfig", str(here.kubeconfig)]
        assert main(command) == 2
        shown = capsys.readouterr()
        assert main([*command, "--json"]) == 2
        value = json.loads(capsys.readouterr().out)
    assert (
        re.search("FAIL! +namespace +there is no 'cd4ml'", shown.out)
        and "-> kubectl create namespace cd4ml" in shown.out
    )
    assert shown.err.count("\n") == 1 and "cluster/namespace" in shown.err
    assert value["blocking"] == ["cluster/namespace"] and value["exit_code"] == 2
    names = {"area", "name", "status", "found", "expected", "fix", "needed", "exit_code", "seconds"}
    assert all(set(one) == names for one in value["findings"])


def test_a_use_that_nobody_knows_is_refused(capsys: Any) -> None:
    assert main(["doctor", "--for", "laptob"]) == 2
    assert "did you mean 'laptop'?" in capsys.readouterr().err
