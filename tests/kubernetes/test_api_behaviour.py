"""What the planes rely on, asked of the stand-in and, by `make test-cluster`, of a real API server alike."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, ResourceNotFoundError
from kubernetes.dynamic.resource import Resource

from tests.kubernetes.cluster import Cluster

Json = dict[str, Any]
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_STRICT = [("fieldValidation", "Strict")]


def service(cluster: Cluster, name: str = "m", **predictor: Any) -> Json:
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "s3://b/1"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {"predictor": {"model": model} | predictor},
    }


def path(
    cluster: Cluster, plural: str = "inferenceservices", group: str = "serving.kserve.io/v1beta1"
) -> str:
    return f"/apis/{group}/namespaces/{cluster.namespace}/{plural}"


@pytest.fixture
def services(cluster: Cluster, tmp_path: Path) -> Resource:
    dynamic = DynamicClient(cluster.api, cache_file=str(tmp_path / "discovery.json"))
    return dynamic.resources.get(api_version="serving.kserve.io/v1beta1", kind="InferenceService")


def refused(error: Any) -> Json:
    return json.loads(error.value.body)


def test_the_dynamic_client_creates_by_apply_and_reads_back(cluster: Cluster, services: Resource) -> None:
    applied = services.server_side_apply(service(cluster), field_manager="cd4ml", query_params=_STRICT.copy())
    read = services.get(name="m", namespace=cluster.namespace)
    assert read.metadata.uid == applied.metadata.uid
    assert [(item.manager, item.operation) for item in read.metadata.managedFields] == [("cd4ml", "Apply")]
    services.delete(name="m", namespace=cluster.namespace)
    with pytest.raises(NotFoundError):
        services.get(name="m", namespace=cluster.namespace)


def test_an_apply_of_what_another_writer_changed_conflicts_and_names_it(
    cluster: Cluster, services: Resource
) -> None:
    services.server_side_apply(service(cluster), field_manager="cd4ml")
    change = {"spec": {"predictor": {"model": {"storageUri": "s3://b/9"}}}}
    cluster.call("PATCH", f"{path(cluster)}/m", change, _MERGE, fieldManager="kubectl-edit")
    with pytest.raises(ConflictError) as error:
        services.server_side_apply(service(cluster), field_manager="cd4ml")
    cause = refused(error)["details"]["causes"][0]
    assert cause["field"] == ".spec.predictor.model.storageUri"
    assert cause["message"].startswith('conflict with "kubectl-edit" using serving.kserve.io/v1beta1')
    forced = services.server_side_apply(service(cluster), field_manager="cd4ml", force_conflicts=True)
    assert forced.spec.predictor.model.storageUri == "s3://b/1"


def test_an_apply_removes_what_it_said_before_and_leaves_what_others_wrote(
    cluster: Cluster, services: Resource
) -> None:
    services.server_side_apply(service(cluster, canaryTrafficPercent=10), field_manager="cd4ml")
    change = {"spec": {"predictor": {"minReplicas": 3}}, "metadata": {"labels": {"team": "a"}}}
    cluster.call("PATCH", f"{path(cluster)}/m", change, _MERGE, fieldManager="somebody")
    after = services.server_side_apply(service(cluster), field_manager="cd4ml").to_dict()
    assert "canaryTrafficPercent" not in after["spec"]["predictor"]
    assert after["spec"]["predictor"]["minReplicas"] == 3
    assert after["metadata"]["labels"] == {"team": "a"}
    assert after["metadata"]["generation"] == 3


def test_a_writer_that_updated_before_it_applies_conflicts_with_itself(
    cluster: Cluster, services: Resource
) -> None:
    cluster.call("POST", path(cluster), service(cluster), fieldManager="cd4ml")
    services.server_side_apply(service(cluster), field_manager="cd4ml")
    with pytest.raises(ConflictError) as error:
        changed = service(cluster)
        changed["spec"]["predictor"]["model"]["storageUri"] = "s3://b/2"
        services.server_side_apply(changed, field_manager="cd4ml")
    assert 'conflict with "cd4ml" using serving.kserve.io/v1beta1' in refused(error)["message"]


@pytest.mark.parametrize(
    ("method", "content_type", "code"),
    [("POST", "application/json", 400), ("PATCH", _MERGE, 422), ("PATCH", _APPLY, 500)],
)
def test_a_misspelt_field_is_refused_with_a_code_for_each_way_of_writing(
    cluster: Cluster, method: str, content_type: str, code: int
) -> None:
    target = path(cluster)
    if method == "PATCH":
        cluster.call("POST", target, service(cluster))
        target += "/m"
    manager = {"fieldManager": "cd4ml"}
    with pytest.raises(ApiException) as error:
        body = service(cluster, canaryTraficPercent=1)
        cluster.call(method, target, body, content_type, fieldValidation="Strict", **manager)
    assert error.value.status == code
    assert "canaryTraficPercent" in refused(error)["message"]


def test_without_strict_validation_an_unknown_field_is_dropped(cluster: Cluster) -> None:
    made = cluster.call("POST", path(cluster), service(cluster, nonsense=1), fieldValidation="Ignore")
    assert "nonsense" not in made["spec"]["predictor"]


def test_of_many_writers_with_one_resource_version_one_wins(cluster: Cluster) -> None:
    made = cluster.call("POST", path(cluster), service(cluster))
    outcomes: list[int] = []

    def write(number: int) -> None:
        body = service(cluster, minReplicas=number)
        body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        try:
            cluster.call("PUT", f"{path(cluster)}/m", body)
            outcomes.append(200)
        except ApiException as error:
            outcomes.append(error.status)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [200] + [409] * 5


def test_a_lease_is_taken_by_one_and_renewed_only_by_who_saw_it_last(cluster: Cluster) -> None:
    leases = path(cluster, "leases", "coordination.k8s.io/v1")
    body = {"metadata": {"name": "rollout-m"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    made = cluster.call("POST", leases, body)
    mine = made | {"spec": made["spec"] | {"holderIdentity": "b"}}
    taken = cluster.call("PUT", f"{leases}/rollout-m", mine)
    assert taken["spec"]["holderIdentity"] == "b"
    with pytest.raises(ApiException) as error:
        cluster.call("PUT", f"{leases}/rollout-m", made)
    assert refused(error)["reason"] == "Conflict"
    del made["metadata"]["resourceVersion"]
    with pytest.raises(ApiException) as unversioned:
        cluster.call("PUT", f"{leases}/rollout-m", made)
    assert unversioned.value.status == 422
    assert "must be specified for an update" in refused(unversioned)["message"]


def test_a_json_patch_with_a_test_is_a_compare_and_swap(cluster: Cluster) -> None:
    cluster.call("POST", path(cluster), service(cluster, minReplicas=1))
    where = "/spec/predictor/minReplicas"
    patch = [{"op": "test", "path": where, "value": 1}, {"op": "replace", "path": where, "value": 2}]
    kind = "application/json-patch+json"
    assert cluster.call("PATCH", f"{path(cluster)}/m", patch, kind)["spec"]["predictor"]["minReplicas"] == 2
    with pytest.raises(ApiException) as error:
        cluster.call("PATCH", f"{path(cluster)}/m", patch, kind)
    assert error.value.status == 422


def test_a_strategic_patch_of_a_custom_resource_is_refused(cluster: Cluster) -> None:
    cluster.call("POST", path(cluster), service(cluster))
    with pytest.raises(ApiException) as error:
        cluster.call("PATCH", f"{path(cluster)}/m", {"spec": {}}, "application/strategic-merge-patch+json")
    assert error.value.status == 415


def test_status_and_spec_are_written_apart_and_status_counts_no_generation(cluster: Cluster) -> None:
    cluster.call("POST", path(cluster), service(cluster) | {"status": {"url": "http://x"}})
    body = {"status": {"url": "http://y"}, "spec": {"predictor": {"minReplicas": 9}}}
    after = cluster.call("PATCH", f"{path(cluster)}/m/status", body, _MERGE)
    assert after["status"] == {"url": "http://y"}
    assert "minReplicas" not in after["spec"]["predictor"]
    assert after["metadata"]["generation"] == 1


def test_a_dry_run_answers_and_writes_nothing(cluster: Cluster) -> None:
    cluster.call("POST", path(cluster), service(cluster), dryRun="All")
    assert cluster.call("GET", path(cluster))["items"] == []


def test_a_list_comes_in_pages_and_by_label(cluster: Cluster) -> None:
    for name in "abc":
        body = service(cluster, name)
        body["metadata"]["labels"] = {"odd": str(name != "b").lower()}
        cluster.call("POST", path(cluster), body)
    first = cluster.call("GET", path(cluster), limit="2")
    rest = cluster.call("GET", path(cluster), **{"limit": "2", "continue": first["metadata"]["continue"]})
    names = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
    assert names == ["a", "b", "c"]
    odd = cluster.call("GET", path(cluster), labelSelector="odd in (true),odd!=false")
    assert [item["metadata"]["name"] for item in odd["items"]] == ["a", "c"]
    one = cluster.call("GET", path(cluster), fieldSelector="metadata.name=b")
    assert [item["metadata"]["name"] for item in one["items"]] == ["b"]


def test_a_watch_tells_each_change_after_the_version_that_was_listed(
    cluster: Cluster, services: Resource
) -> None:
    cluster.call("POST", path(cluster), service(cluster))
    version = cluster.call("GET", path(cluster))["metadata"]["resourceVersion"]

    def change() -> None:
        time.sleep(0.1)
        cluster.call("PATCH", f"{path(cluster)}/m", {"metadata": {"labels": {"a": "b"}}}, _MERGE)
        cluster.call("DELETE", f"{path(cluster)}/m")

    thread = threading.Thread(target=change)
    thread.start()
    events = list(services.watch(namespace=cluster.namespace, resource_version=version, timeout=1))
    thread.join()
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]


def test_an_object_with_a_finalizer_goes_when_the_finalizer_does(cluster: Cluster) -> None:
    body = service(cluster)
    body["metadata"]["finalizers"] = ["example.com/keep"]
    cluster.call("POST", path(cluster), body)
    assert "deletionTimestamp" in cluster.call("DELETE", f"{path(cluster)}/m")["metadata"]
    cluster.call("PATCH", f"{path(cluster)}/m", {"metadata": {"finalizers": None}}, _MERGE)
    with pytest.raises(ApiException) as error:
        cluster.call("GET", f"{path(cluster)}/m")
    assert error.value.status == 404


def test_ports_of_a_service_are_merged_by_key_when_two_managers_apply(cluster: Cluster) -> None:
    base = f"/api/v1/namespaces/{cluster.namespace}/services/s"
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    for manager, port in (("one", 80), ("two", 81)):
        ports = [{"name": manager, "port": port, "protocol": "TCP"}]
        cluster.call("PATCH", base, body | {"spec": {"ports": ports}}, _APPLY, fieldManager=manager)
    assert [item["port"] for item in cluster.call("GET", base)["spec"]["ports"]] == [80, 81]
    after = cluster.call("PATCH", base, body | {"spec": {}}, _APPLY, fieldManager="one")
    assert [item["port"] for item in after["spec"]["ports"]] == [81]


def test_nothing_is_made_in_a_namespace_that_is_not_there(cluster: Cluster) -> None:
    missing = path(cluster).replace(cluster.namespace, "nowhere")
    with pytest.raises(ApiException) as error:
        cluster.call("POST", missing, service(cluster) | {"metadata": {"name": "m"}})
    assert refused(error)["message"] == 'namespaces "nowhere" not found'


def test_a_name_that_cannot_be_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ApiException) as error:
        cluster.call("POST", path(cluster), service(cluster, "Not_A_Name"))
    assert error.value.status == 422
    assert "RFC 1123 subdomain" in refused(error)["message"]


def test_an_unknown_kind_is_not_found(cluster: Cluster) -> None:
    with pytest.raises(ApiException) as error:
        cluster.call("GET", path(cluster, "unicorns"))
    assert error.value.status == 404


def test_the_client_asks_what_it_may_do(cluster: Cluster) -> None:
    attributes = {"namespace": cluster.namespace, "verb": "patch", "resource": "inferenceservices"}
    body = {"spec": {"resourceAttributes": attributes | {"group": "serving.kserve.io"}}}
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    assert cluster.call("POST", review, kind | body)["status"]["allowed"] is True


def test_a_kind_that_is_not_served_is_not_discovered(cluster: Cluster, tmp_path: Path) -> None:
    dynamic = DynamicClient(cluster.api, cache_file=str(tmp_path / "discovery.json"))
    with pytest.raises(ResourceNotFoundError, match="No matches found"):
        dynamic.resources.get(api_version="example.com/v1", kind="Unicorn")
