"""The stand-in for KServe's controller writes status as KServe was seen to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.kserve_controller import KServeController

Json = dict[str, Any]


class Service:
    """One InferenceService, changed by hand and looked at until it is as expected."""

    def __init__(self, cluster: Cluster, mode: str, **spec: Any) -> None:
        self.cluster = cluster
        self.base = f"/apis/serving.kserve.io/v1beta1/namespaces/{cluster.namespace}/inferenceservices"
        metadata = {"name": "m", "annotations": {"serving.kserve.io/deploymentMode": mode}}
        body = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata}
        cluster.call("POST", self.base, body | {"spec": spec}, fieldValidation="Strict")

    def patch(self, **spec: Any) -> Json:
        content_type = "application/merge-patch+json"
        return self.cluster.call("PATCH", f"{self.base}/m", {"spec": spec}, content_type)

    def read(self) -> Json:
        return self.cluster.call("GET", f"{self.base}/m")

    @property
    def status(self) -> Json:
        return self.read().get("status") or {}

    @property
    def predictor(self) -> Json:
        return self.status.get("components", {}).get("predictor", {})

    @property
    def shares(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for item in self.predictor.get("traffic", []):
            number = item["revisionName"][-1]
            found[number] = found.get(number, 0) + item["percent"]
        return found

    @property
    def conditions(self) -> dict[str, str]:
        return {item["type"]: item["status"] for item in self.status.get("conditions", [])}

    def weights(self) -> dict[str, int]:
        route = self.cluster.call("GET", self.child("gateway.networking.k8s.io/v1", "httproutes", "m"))
        return {item["name"]: item["weight"] for item in route["spec"]["rules"][0]["backendRefs"]}

    def child(self, version: str, plural: str, name: str) -> str:
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        return f"{prefix}/namespaces/{self.cluster.namespace}/{plural}/{name}"

    def has_service(self, name: str) -> bool:
        try:
            self.cluster.call("GET", self.child("v1", "services", name))
        except ApiException as error:
            assert error.status == 404
            return False
        return True


def becomes(look: Callable[[], Any], wanted: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while (found := look()) != wanted:
        assert time.monotonic() < end, f"{found} did not become {wanted}"
        time.sleep(0.02)


def stays(look: Callable[[], Any], wanted: Any, seconds: float = 0.35) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert look() == wanted
        time.sleep(0.05)


def model(location: str) -> Json:
    return {"modelFormat": {"name": "onnx"}, "storageUri": location}


def canary(name: str, location: str, percent: int) -> Json:
    return {
        "trafficPercent": percent,
        "predictor": {"name": name, "model": model(location) | {"name": ""}},
    }


@pytest.fixture
def controller(cluster: Cluster) -> Iterator[KServeController]:
    with cluster.controller() as found:
        yield found
        assert found.errors == []


@pytest.fixture
def knative(cluster: Cluster, controller: KServeController) -> Service:
    service = Service(cluster, "Knative", predictor={"model": model("s3://b/1"), "canaryTrafficPercent": 10})
    becomes(lambda: service.conditions.get("Ready"), "True")
    return service


@pytest.fixture
def standard(cluster: Cluster, controller: KServeController) -> Service:
    service = Service(cluster, "Standard", predictor={"model": model("s3://b/1")})
    becomes(lambda: service.conditions.get("Ready"), "True")
    return service


def test_a_percentage_is_ignored_on_the_very_first_revision(knative: Service) -> None:
    assert knative.shares == {"1": 100}
    assert knative.predictor["latestRolledoutRevision"] == "m-predictor-00001"
    assert knative.status["url"].startswith("http://m.")


def test_a_canary_shares_with_the_revision_rolled_out_before_under_the_tag_prev(knative: Service) -> None:
    knative.patch(predictor={"canaryTrafficPercent": 10, "model": {"storageUri": "s3://b/2"}})
    becomes(lambda: knative.shares, {"2": 10, "1": 90})
    latest, prev = knative.predictor["traffic"]
    assert latest["latestRevision"] is True and "tag" not in latest
    assert prev["tag"] == "prev" and prev["latestRevision"] is False
    assert knative.predictor["latestRolledoutRevision"] == "m-predictor-00001"
    assert knative.predictor["latestReadyRevision"] == "m-predictor-00002"


def test_without_a_percentage_the_canary_is_promoted_and_zero_afterwards_goes_one_back(
    knative: Service,
) -> None:
    knative.patch(predictor={"canaryTrafficPercent": 10, "model": {"storageUri": "s3://b/2"}})
    becomes(lambda: knative.shares, {"2": 10, "1": 90})
    knative.patch(predictor={"canaryTrafficPercent": None})
    becomes(lambda: knative.shares, {"2": 100})
    becomes(lambda: knative.predictor["previousRolledoutRevision"], "m-predictor-00001")
    knative.patch(predictor={"canaryTrafficPercent": 0})
    becomes(lambda: knative.shares, {"2": 0, "1": 100})
    assert knative.predictor["latestRolledoutRevision"] == "m-predictor-00001"


def test_zero_pins_the_old_revision_while_the_spec_names_the_new_model(knative: Service) -> None:
    knative.patch(predictor={"canaryTrafficPercent": 0, "model": {"storageUri": "s3://b/2"}})
    becomes(lambda: knative.shares, {"2": 0, "1": 100})
    assert knative.read()["spec"]["predictor"]["model"]["storageUri"] == "s3://b/2"


def test_a_revision_that_does_not_come_up_leaves_all_with_the_old_one(
    knative: Service, controller: KServeController
) -> None:
    controller.fail("s3://b/2")
    knative.patch(predictor={"canaryTrafficPercent": 10, "model": {"storageUri": "s3://b/2"}})
    becomes(lambda: knative.conditions["Ready"], "False")
    assert set(knative.shares) == {"1"}
    assert knative.predictor["latestCreatedRevision"] == "m-predictor-00002"
    assert knative.predictor["latestReadyRevision"] == "m-predictor-00001"
    controller.heal("s3://b/2")
    becomes(lambda: knative.shares, {"2": 10, "1": 90})


def test_until_the_controller_looks_ready_says_what_it_said_before(
    knative: Service, controller: KServeController
) -> None:
    controller.lag(4)
    knative.patch(predictor={"canaryTrafficPercent": 10, "model": {"storageUri": "s3://b/2"}})
    stays(
        lambda: (knative.conditions["Ready"], knative.predictor["latestCreatedRevision"][-1]), ("True", "1")
    )
    becomes(lambda: knative.shares, {"2": 10, "1": 90})
    assert knative.predictor["latestCreatedRevision"][-1] == "2"


def test_a_slow_revision_is_unknown_until_it_is_ready(knative: Service, controller: KServeController) -> None:
    controller.slow(0.5)
    knative.patch(predictor={"canaryTrafficPercent": 20, "model": {"storageUri": "s3://b/2"}})
    becomes(lambda: knative.conditions["Ready"], "Unknown")
    becomes(lambda: knative.shares, {"2": 20, "1": 80})
    assert knative.conditions["Ready"] == "True"


def test_the_observed_generation_is_not_that_of_the_inference_service(knative: Service) -> None:
    for _ in range(3):
        knative.patch(canary=[canary("v2", "s3://b/2", 10)])
        knative.patch(canary=None)
    knative.patch(predictor={"model": {"storageUri": "s3://b/2"}})
    becomes(lambda: knative.predictor["latestReadyRevision"], "m-predictor-00002")
    assert knative.status["observedGeneration"] < knative.read()["metadata"]["generation"]
    assert "canaryStatuses" not in knative.status


def test_each_revision_says_what_it_was_made_from(knative: Service) -> None:
    knative.patch(
        predictor={"model": {"storageUri": "s3://b/2"}, "annotations": {"a": "2"}, "labels": {"l": "2"}}
    )
    becomes(lambda: knative.predictor["latestReadyRevision"], "m-predictor-00002")
    path = knative.child("serving.knative.dev/v1", "revisions", "m-predictor-00002")
    metadata = knative.cluster.call("GET", path)["metadata"]
    source = "internal.serving.kserve.io/storage-initializer-sourceuri"
    assert (metadata["annotations"][source], metadata["annotations"]["a"]) == ("s3://b/2", "2")
    assert metadata["labels"]["l"] == "2"


def test_standard_mode_ignores_the_percentage_of_the_other_mode(
    standard: Service, controller: KServeController
) -> None:
    standard.patch(predictor={"canaryTrafficPercent": 10, "model": {"storageUri": "s3://b/2"}})
    becomes(lambda: controller.pods_started("m"), 2)
    assert standard.weights() == {"m-predictor": 100}
    assert "traffic" not in standard.predictor


def test_a_standard_canary_has_a_status_a_condition_a_service_and_weights(standard: Service) -> None:
    standard.patch(canary=[canary("v2", "s3://b/2", 10)])
    told = [{"name": "v2", "ready": True, "trafficPercent": 10}]
    becomes(lambda: standard.status.get("canaryStatuses"), told)
    becomes(standard.weights, {"m-predictor": 90, "m-v2-predictor": 10})
    assert standard.conditions["CanaryPredictorReady"] == "True"
    assert standard.has_service("m-v2-predictor")
    standard.patch(canary=[])
    becomes(standard.weights, {"m-predictor": 100})
    becomes(lambda: standard.has_service("m-v2-predictor"), False)
    becomes(lambda: "CanaryPredictorReady" in standard.conditions, False)


def test_a_standard_canary_that_does_not_come_up_gets_nothing(
    standard: Service, controller: KServeController
) -> None:
    controller.fail("s3://b/2")
    standard.patch(canary=[canary("v2", "s3://b/2", 10)])
    told = [{"name": "v2", "ready": False, "trafficPercent": 10}]
    becomes(lambda: standard.status.get("canaryStatuses"), told)
    becomes(standard.weights, {"m-predictor": 100, "m-v2-predictor": 0})
    assert (standard.conditions["CanaryPredictorReady"], standard.conditions["Ready"]) == ("False", "True")


def test_a_promotion_by_name_starts_no_pods_and_deletes_the_first_service(
    standard: Service, controller: KServeController
) -> None:
    standard.patch(canary=[canary("v2", "s3://b/2", 10)])
    becomes(standard.weights, {"m-predictor": 90, "m-v2-predictor": 10})
    standard.patch(predictor={"name": "v2", "model": model("s3://b/2") | {"name": ""}}, canary=[])
    becomes(standard.weights, {"m-v2-predictor": 100})
    becomes(lambda: standard.has_service("m-predictor"), False)
    assert controller.pods_started("m") == 2


def test_in_standard_mode_ready_stays_true_while_the_new_model_fails(
    standard: Service, controller: KServeController
) -> None:
    controller.fail("s3://b/2")
    standard.patch(predictor={"model": {"storageUri": "s3://b/2"}})
    becomes(lambda: standard.status["modelStatus"]["transitionStatus"], "BlockedByFailedLoad")
    assert standard.conditions["Ready"] == "True"


def test_the_controllers_own_route_is_written_back(standard: Service) -> None:
    path = standard.child("gateway.networking.k8s.io/v1", "httproutes", "m")
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 7}]
    changed = standard.cluster.call("PATCH", path, patch, "application/json-patch+json")
    assert changed["spec"]["rules"][0]["backendRefs"][0]["weight"] == 7
    becomes(standard.weights, {"m-predictor": 100})


def test_version_0_20_makes_the_canary_and_sends_it_nothing(cluster: Cluster) -> None:
    with cluster.controller(splits=False):
        service = Service(cluster, "Standard", predictor={"model": model("s3://b/1")})
        service.patch(canary=[canary("v2", "s3://b/2", 10)])
        told = [{"name": "v2", "ready": True, "trafficPercent": 10}]
        becomes(lambda: service.status.get("canaryStatuses"), told)
        stays(service.weights, {"m-predictor": 100, "m-v2-predictor": 0})
        assert service.has_service("m-v2-predictor")


def test_what_belongs_to_a_deleted_service_goes_with_it(standard: Service) -> None:
    assert standard.has_service("m-predictor")
    standard.cluster.call("DELETE", f"{standard.base}/m")
    becomes(lambda: standard.has_service("m-predictor"), False)
