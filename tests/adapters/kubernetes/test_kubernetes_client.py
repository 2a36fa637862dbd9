"""The client against the stand-in, and with `make test-cluster` against a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from cd4ml.adapters.kubernetes.client import KubernetesClient, connect
from cd4ml.adapters.kubernetes.failures import ChangedMeanwhile, FieldConflict, failure, passes
from cd4ml.adapters.kubernetes.kinds import CONFIG_MAP, INFERENCE_SERVICE, kind_of
from cd4ml.errors import ConflictError, NotFoundError, ServiceError, UsageError
from tests.kubernetes.cluster import Cluster

MAPS = "/configmaps"


@pytest.fixture
def client(cluster: Cluster) -> Iterator[KubernetesClient]:
    found = connect(cluster.kubeconfig)
    yield found
    found.close()


def _service(cluster: Cluster, **predictor: Any) -> dict[str, Any]:
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "s3://b/1"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "s", "namespace": cluster.namespace},
        "spec": {"predictor": {"model": model} | predictor},
    }


def _map(cluster: Cluster, name: str = "c", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": cluster.namespace, "labels": {"a": name}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_an_apply_creates_keeps_and_drops_our_fields_alone(
    cluster: Cluster, client: KubernetesClient
) -> None:
    first = client.apply(_service(cluster, canaryTrafficPercent=10))
    again = client.apply(_service(cluster, canaryTrafficPercent=10))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    client.patch(INFERENCE_SERVICE, "s", cluster.namespace, {"metadata": {"labels": {"team": "blue"}}})
    dropped = client.apply(_service(cluster))
    assert "canaryTrafficPercent" not in dropped["spec"]["predictor"]
    assert dropped["metadata"]["labels"] == {"team": "blue"}


def test_a_null_in_a_merge_patch_removes_a_field(cluster: Cluster, client: KubernetesClient) -> None:
    client.create(_service(cluster, canaryTrafficPercent=10))
    change = {"spec": {"predictor": {"canaryTrafficPercent": None}}}
    found = client.patch(INFERENCE_SERVICE, "s", cluster.namespace, change)
    assert "canaryTrafficPercent" not in found["spec"]["predictor"]


def test_a_misspelt_field_is_refused_in_each_way_to_write_and_never_tried_twice(
    cluster: Cluster, client: KubernetesClient
) -> None:
    wrong = _service(cluster, canaryTraficPercent=10)
    for write in (client.apply, client.create):
        with pytest.raises(UsageError, match="canaryTraficPercent"):
            write(wrong)
    client.apply(_service(cluster))
    with pytest.raises(UsageError, match="canaryTraficPercent"):
        client.patch(
            INFERENCE_SERVICE, "s", cluster.namespace, {"spec": {"predictor": {"canaryTraficPercent": 1}}}
        )
    if cluster.server:
        tried = [
            call for call in cluster.server.calls if call.code >= 400 and "canaryTrafic" in str(call.body)
        ]
        assert len(tried) == 3


def test_a_conflict_names_the_manager_and_the_field(cluster: Cluster, client: KubernetesClient) -> None:
    client.apply(_service(cluster))
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{cluster.namespace}/inferenceservices/s"
    change = {"spec": {"predictor": {"model": {"storageUri": "s3://b/7"}}}}
    cluster.call("PATCH", path, change, "application/merge-patch+json", fieldManager="kubectl-edit")
    with pytest.raises(
        FieldConflict, match=r"'kubectl-edit' owns \.spec\.predictor\.model\.storageUri"
    ) as caught:
        client.apply(_service(cluster))
    assert caught.value.owners == ("kubectl-edit",)
    forced = client.apply(_service(cluster), force=True)
    assert forced["spec"]["predictor"]["model"]["storageUri"] == "s3://b/1"


def test_a_write_of_what_changed_meanwhile_is_refused(cluster: Cluster, client: KubernetesClient) -> None:
    old = client.create(_map(cluster, a="1"))
    client.patch(CONFIG_MAP, "c", cluster.namespace, {"data": {"a": "2"}})
    with pytest.raises(ChangedMeanwhile, match="changed it meanwhile"):
        client.replace(old)
    with pytest.raises(ChangedMeanwhile, match="there already"):
        client.create(_map(cluster))
    with pytest.raises(ConflictError):
        client.delete(CONFIG_MAP, "c", cluster.namespace, resource_version=old["metadata"]["resourceVersion"])
    assert client.delete(CONFIG_MAP, "c", cluster.namespace, uid=old["metadata"]["uid"]) is True
    assert client.delete(CONFIG_MAP, "c", cluster.namespace) is False


def test_a_json_patch_whose_test_fails_is_refused(cluster: Cluster, client: KubernetesClient) -> None:
    client.create(_map(cluster, a="1"))
    change = [{"op": "test", "path": "/data/a", "value": "9"}, {"op": "remove", "path": "/data/a"}]
    with pytest.raises(UsageError, match="refuses to patch"):
        client.patch(CONFIG_MAP, "c", cluster.namespace, change)
    assert client.get(CONFIG_MAP, "c", cluster.namespace)["data"] == {"a": "1"}


def test_what_is_not_there_is_not_found(cluster: Cluster, client: KubernetesClient) -> None:
    assert client.find(CONFIG_MAP, "nope", cluster.namespace) is None
    with pytest.raises(NotFoundError, match="configmaps 'nope' in namespace"):
        client.get(CONFIG_MAP, "nope", cluster.namespace)


def test_a_list_is_whole_and_can_be_chosen_by_label(cluster: Cluster, client: KubernetesClient) -> None:
    for name in ("x", "y"):
        client.create(_map(cluster, name))
    found = {one["metadata"]["name"] for one in client.list(CONFIG_MAP, cluster.namespace)}
    assert {"x", "y"} <= found
    chosen = client.list(CONFIG_MAP, cluster.namespace, labels="a=x")
    assert [kind_of(one) for one in chosen] == [CONFIG_MAP]


def test_a_busy_server_is_asked_again_and_given_up_at_last(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("a real server has no faults to order")
    pauses: list[float] = []
    settings = Configuration()
    config.load_kube_config(str(cluster.kubeconfig), client_configuration=settings)
    settings.retries = False
    with ApiClient(settings) as api:
        client = KubernetesClient(api, attempts=4, pause_seconds=0.1, sleep=pauses.append)
        cluster.server.faults.fail(503, part_of_path=MAPS, times=2)
        cluster.server.faults.drop(part_of_path=MAPS)
        client.list(CONFIG_MAP, cluster.namespace)
        assert pauses == [0.1, 0.2, 0.4]
        cluster.server.faults.fail(429, part_of_path=MAPS, times=4)
        with pytest.raises(ServiceError, match="HTTP 429"):
            client.list(CONFIG_MAP, cluster.namespace)
        pauses.clear()
        cluster.server.faults.fail(503, method="POST", part_of_path=MAPS)
        with pytest.raises(ServiceError):
            client.create(_map(cluster))
        assert not pauses, "a second creation could meet the first one"


def test_who_may_not_learns_which_verb_and_resource(cluster: Cluster, client: KubernetesClient) -> None:
    if cluster.server is None:
        pytest.skip("denies calls")
    assert client.may("patch", INFERENCE_SERVICE, cluster.namespace)
    cluster.server.deny(verb="patch", resource="inferenceservices")
    assert not client.may("patch", INFERENCE_SERVICE, cluster.namespace)
    with pytest.raises(UsageError, match=r"not allowed to patch inferenceservices\.serving\.kserve\.io 's'"):
        client.apply(_service(cluster))


def test_no_cluster_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cluster is configured in"):
        connect(tmp_path / "none")


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [
        (401, ServiceError, False),
        (403, UsageError, False),
        (404, NotFoundError, False),
        (422, UsageError, False),
        (502, ServiceError, True),
        (0, ServiceError, True),
    ],
)
def test_each_status_is_one_of_our_errors(status: int, kind: type[Exception], again: bool) -> None:
    found = failure(status, "<html>\nproxy\n</html>", "get", "configmaps 'c'")
    assert type(found) is kind and "configmaps 'c'" in str(found) and "\n" not in str(found)
    assert passes(status, "") is again
