"""What a cluster can do, and what it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cd4ml.adapters.kubernetes.client import connect
from cd4ml.delivery.kserve.detect import Facts, capabilities, detect, mode_of, refusals
from cd4ml.delivery.kserve.settings import KServeSettings
from cd4ml.delivery.plane import DesiredService
from cd4ml.errors import UsageError
from tests.delivery.kserve.scene import NEW, OLD, SERVICE, everything
from tests.kubernetes.cluster import Cluster

SETTINGS = KServeSettings("models", gateway="gateways/public")
CANARY = DesiredService(SERVICE, OLD, NEW, canary_percent=10)
SHADOW = DesiredService(SERVICE, OLD, shadow=NEW, mirror_percent=100)


def _why(facts: Facts, mode: str, desired: DesiredService, settings: KServeSettings = SETTINGS) -> str:
    return "; ".join(refusals(capabilities(facts, settings, mode), desired))


@pytest.mark.parametrize(
    ("facts", "mode", "desired", "why"),
    [
        (everything(), "Knative", CANARY, ""),
        (everything(), "Standard", CANARY, ""),
        (everything(), "Standard", SHADOW, ""),
        (everything(gateway_api=False), "Standard", CANARY, "need the Gateway API"),
        (everything(gateway_api=False), "Knative", CANARY, ""),
        (everything(http_routes=False), "Standard", CANARY, "need the Gateway API"),
        (everything(version=(0, 20, 0)), "Standard", CANARY, "splits no traffic in Standard mode"),
        (everything(canary_list=False), "Standard", CANARY, "ignores canaryTrafficPercent in Standard mode"),
        (everything(revisions=False), "Knative", CANARY, "does not serve Knative's revisions"),
        (everything(virtual_services=False, http_routes=False), "Knative", SHADOW, "has no HTTPRoutes"),
        (everything(http_routes=False), "Knative", SHADOW, "HTTPRoutes (Gateway API)"),
        (everything(denied=("get configmaps",)), "Knative", CANARY, "not allowed to get configmaps"),
        (everything(denied=("get virtualservices.networking.istio.io",)), "Knative", CANARY, ""),
    ],
)  # fmt: skip
def test_each_refusal_has_its_reason(facts: Facts, mode: str, desired: DesiredService, why: str) -> None:
    found = _why(facts, mode, desired)
    assert why in found and bool(found) == bool(why)


def test_copies_need_a_route_of_our_own() -> None:
    bare = KServeSettings("models")
    assert "set it" in _why(everything(virtual_services=False), "Standard", SHADOW, bare)
    assert "set them" in _why(everything(), "Standard", SHADOW, bare)
    nothing = everything(virtual_services=False, http_routes=False)
    assert "neither HTTPRoutes" in _why(nothing, "Standard", SHADOW, bare)


def test_a_verified_canary_without_a_share_needs_no_weights() -> None:
    facts = everything(version=(0, 20, 0))
    assert not _why(facts, "Standard", DesiredService(SERVICE, OLD, canary=NEW))


def test_shares_are_whole_percents_and_nobody_is_sticky() -> None:
    half = DesiredService(SERVICE, OLD, NEW, canary_percent=0.5)
    assert "whole percents; got 0.5" in _why(everything(), "Knative", half)
    sticky = DesiredService(SERVICE, OLD, NEW, canary_percent=5, sticky="header:X-User")
    assert "not sticky" in _why(everything(), "Standard", sticky)


@pytest.mark.parametrize(
    ("annotation", "status", "default", "mode"),
    [
        ("Serverless", "", "", "Knative"),
        ("RawDeployment", "", "Knative", "Standard"),
        ("", "Standard", "Knative", "Standard"),
        ("", "", "Standard", "Standard"),
    ],
)
def test_the_mode_is_the_services_own_before_the_clusters(
    annotation: str, status: str, default: str, mode: str
) -> None:
    marks = {"serving.kserve.io/deploymentMode": annotation} if annotation else {}
    service: dict[str, Any] = {"metadata": {"annotations": marks}, "status": {"deploymentMode": status}}
    assert mode_of(service, Facts(default_mode=default), SETTINGS) == mode


def test_a_mode_that_nobody_names_or_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing says its mode"):
        mode_of(None, Facts(), SETTINGS)
    marks = {"serving.kserve.io/deploymentMode": "ModelMesh"}
    with pytest.raises(UsageError, match="'ModelMesh' is not one of Knative and Standard"):
        mode_of({"metadata": {"annotations": marks}}, Facts(), SETTINGS)


def test_a_cluster_is_looked_at(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("writes where KServe itself is")
    settings = KServeSettings(cluster.namespace, system_namespace="default")
    config = {
        "deploy": json.dumps({"defaultDeploymentMode": "RawDeployment"}),
        "ingress": json.dumps({"enableGatewayApi": True}),
    }
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inferenceservice-config"}}
    cluster.call("POST", "/api/v1/namespaces/default/configmaps", document | {"data": config})
    labels = {"app": "kserve"}
    container = {"name": "manager", "image": "registry.example.com:5000/kserve/controller:v0.21.0"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment"}
    deployment |= {"metadata": {"name": "kserve-controller-manager"}, "spec": spec}
    cluster.call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    cluster.server.deny(verb="patch", resource="httproutes")
    client = connect(cluster.kubeconfig)
    found = detect(client, settings)
    client.close()
    assert found.version == (0, 21, 0) and found.default_mode == "Standard" and found.gateway_api is True
    assert found.http_routes and found.virtual_services and found.revisions
    assert found.denied == ("patch httproutes.gateway.networking.k8s.io",)


def test_what_may_not_be_read_is_unknown_and_no_error(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("denies calls")
    cluster.server.deny(verb="get", resource="configmaps")
    client = connect(cluster.kubeconfig)
    found = detect(client, KServeSettings(cluster.namespace))
    client.close()
    assert found.version is None and found.default_mode == "" and found.gateway_api is None
    assert "get configmaps" in found.denied
