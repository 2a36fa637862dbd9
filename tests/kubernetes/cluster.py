"""Clusters to test against: the stand-in, and with the marker `cluster` the one that KUBECONFIG names."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from tests.kubernetes.api_server import ApiServer, api_server
from tests.kubernetes.kinds_served import install
from tests.kubernetes.kserve_controller import KServeController, kserve_controller
from tests.kubernetes.small_crds import SMALL_CRDS

__all__ = ["CLUSTERS", "Cluster", "given_crds", "opened"]

CLUSTERS = ["stand-in", pytest.param("real", marks=pytest.mark.cluster)]
"""Parameters of a fixture: each test against both."""
_NO_CLUSTER = "KUBECONFIG is not set: there is no real API server to test against"


@dataclass
class Cluster:
    """A cluster with a namespace of its own.

    Attributes
    ----------
    server : ApiServer or None
        The stand-in, for faults and for looking behind the API; None for a real one.
    """

    kubeconfig: Path
    namespace: str
    server: ApiServer | None
    api: client.ApiClient = field(repr=False)

    @property
    def is_real(self) -> bool:
        return self.server is None

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **params: str
    ) -> dict[str, Any]:
        """Make a call with no help of a client's; raises ApiException."""
        answer = self.api.call_api(
            path,
            method,
            query_params=list(params.items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=30,
        )
        return json.loads(answer.data)

    def controller(self, **options: Any) -> AbstractContextManager[KServeController]:
        """Run the stand-in for KServe's controller here."""
        return kserve_controller(self.kubeconfig, self.namespace, **options)


def given_crds() -> Any:
    """The definitions of CD4ML_TEST_CRDS, or the small ones of the tests."""
    folder = os.environ.get("CD4ML_TEST_CRDS", "")
    return Path(folder) if folder else SMALL_CRDS


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Cluster]:
    """Open a cluster of CLUSTERS; `folder` takes the kubeconfig of the stand-in."""
    namespace = f"cd4ml-test-{uuid.uuid4().hex[:8]}"
    if kind == "stand-in":
        with api_server(given_crds(), namespaces=("default", "kube-system", namespace)) as server:
            kubeconfig = server.kubeconfig(folder / "kubeconfig")
            with config.new_client_from_config(str(kubeconfig)) as api:
                yield Cluster(kubeconfig, namespace, server, api)
        return
    if not os.environ.get("KUBECONFIG"):
        pytest.skip(_NO_CLUSTER)
    kubeconfig = Path(os.environ["KUBECONFIG"])
    with config.new_client_from_config(str(kubeconfig)) as api:
        cluster = Cluster(kubeconfig, namespace, None, api)
        install(cluster.call, given_crds())
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        cluster.call("POST", "/api/v1/namespaces", made)
        try:
            yield cluster
        finally:
            cluster.call("DELETE", f"/api/v1/namespaces/{namespace}")
