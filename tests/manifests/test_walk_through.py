"""The walk through of docs/manifests.md, by the real kubectl against the stand-in for the Kubernetes API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.api_server import api_server
from tests.manifests.rendering import MANIFESTS, crds, needs_kubectl, rendered

pytestmark = [
    needs_kubectl,
    pytest.mark.serving,
    pytest.mark.skipif(not (os.environ.get("CD4ML_KUBECTL") or shutil.which("kubectl")), reason="no kubectl"),
]

_ASKED = {
    "rbac.authorization.k8s.io": ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    "policy": ("PodDisruptionBudget",),
    "networking.k8s.io": ("NetworkPolicy",),
}
"""Built-in kinds that the stand-in does not bring; their fields are the business of test_builds.py."""


def _definition(group: str, kind: str) -> dict[str, Any]:
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural.lower()}.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster" if kind.startswith("Cluster") else "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural.lower(),
                "singular": kind.lower(),
            },
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


class Cluster:
    """A stand-in that kubectl talks to."""

    def __init__(self, kubeconfig: Path) -> None:
        kubectl = os.environ.get("CD4ML_KUBECTL") or shutil.which("kubectl")
        self._command = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, build: str) -> None:
        """Apply a folder, and see that each of its objects was taken."""
        # The stand-in has no OpenAPI document for kubectl's own look; test_builds.py is strict instead.
        said = self.run("apply", "--server-side", "--validate=false", "-k", str(MANIFESTS / build))
        taken = [line.split()[0] for line in said.splitlines() if line.endswith("serverside-applied")]
        assert len(taken) == len(rendered(build))

    def spec(self, kind: str, name: str) -> dict[str, Any]:
        """Return the spec of an object as the server has it."""
        found: dict[str, Any] = json.loads(self.run("get", kind, name, "-n", "cd4ml", "-o", "json"))
        return dict(found["spec"])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    more = [_definition(group, kind) for group, kinds in _ASKED.items() for kind in kinds]
    with api_server([crds(), *more]) as server:
        yield Cluster(server.kubeconfig(tmp_path / "kubeconfig"))


_SERVICES = "inferenceservices.serving.kserve.io"
_ROUTES = {
    "knative-istio": "virtualservices.networking.istio.io",
    "standard-gateway-api": "httproutes.gateway.networking.k8s.io",
}


@pytest.mark.parametrize("overlay", sorted(_ROUTES))
def test_shadow_canary_and_back_leave_the_service_as_it_was(cluster: Cluster, overlay: str) -> None:
    def look() -> tuple[dict[str, Any], dict[str, Any]]:
        return cluster.spec(_SERVICES, "bike-demand"), cluster.spec(_ROUTES[overlay], "bike-demand-route")

    cluster.apply(f"overlays/{overlay}")
    service, route = look()
    cluster.apply(f"overlays/{overlay}")
    assert look() == (service, route)

    cluster.apply(f"overlays/{overlay}-shadow")
    during_shadow = look()
    assert during_shadow[0] == service
    assert "bike-demand-shadow-predictor" in str(during_shadow[1])
    assert cluster.spec(_SERVICES, "bike-demand-shadow")["predictor"]["labels"] == {"endpoint": "shadow"}

    cluster.apply(f"overlays/{overlay}-canary")
    during_canary = look()
    assert "canary" in str(during_canary[0])
    assert "bike-demand-shadow-predictor" not in str(during_canary[1])

    cluster.apply(f"overlays/{overlay}")
    assert look() == (service, route)
    cluster.run("delete", _SERVICES, "bike-demand-shadow", "-n", "cd4ml")


@pytest.mark.parametrize("build", ["kubeflow", "minimal", "standard-istio"])
def test_a_server_takes_each_object(cluster: Cluster, build: str) -> None:
    cluster.apply(f"overlays/{build}")
    cluster.apply("cluster-runtime")
    cluster.apply("seldon")
    assert "model" in cluster.spec(_SERVICES, "bike-demand")["predictor"]
