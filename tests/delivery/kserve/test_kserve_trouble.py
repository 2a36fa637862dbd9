"""What goes wrong on clusters: slow and failing revisions, edits, faults of the API, controllers that lag."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cd4ml.adapters.kubernetes.client import connect
from cd4ml.adapters.kubernetes.kinds import CONFIG_MAP, HTTP_ROUTE, INFERENCE_SERVICE
from cd4ml.delivery.kserve.plane import KServePlane
from cd4ml.delivery.kserve.settings import KServeSettings
from cd4ml.delivery.plane import DesiredService
from cd4ml.errors import ConflictError, NotFoundError, ServiceError, UsageError
from tests.delivery.kserve.scene import BAD, NEW, OLD, SERVICE, Scene, everything, scene
from tests.kubernetes.cluster import Cluster

MODES = ["Knative", "Standard"]


def _tick(world: Scene, desired: DesiredService, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        world.plane.apply(SERVICE, desired)
        time.sleep(0.02)


def _bad_shares(world: Scene, location: str) -> list[float]:
    """Return all shares that KServe's stand-in ever gave to pods of a location, by its own writes."""
    assert world.cluster.server is not None
    revisions: set[str] = set()
    found: list[float] = []
    for call in world.cluster.server.calls:
        body = call.body or {}
        if call.code >= 400 or call.params.get("fieldManager") != "kserve-controller":
            continue
        if body.get("kind") == "Revision" and location in str(body["metadata"]["annotations"]):
            revisions.add(body["metadata"]["name"])
        if body.get("kind") == "InferenceService":
            status = body.get("status", {}).get("components", {}).get("predictor", {})
            found += [one["percent"] for one in status.get("traffic", ()) if one["revisionName"] in revisions]
        if body.get("kind") == "HTTPRoute":
            refs = body["spec"]["rules"][0]["backendRefs"]
            found += [one["weight"] for one in refs if "v4-" in one["name"]]
    return found


@pytest.mark.parametrize("mode", MODES)
def test_what_never_becomes_ready_never_gets_a_request_and_can_be_taken_back(
    cluster: Cluster, mode: str
) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        before = world.spec()
        world.controller.fail(BAD.location)
        _tick(world, DesiredService(SERVICE, OLD, BAD, canary_percent=10), 0.5)
        seen = world.plane.observe(SERVICE)
        canary = seen.variant("canary")
        assert not seen.converged and canary and not canary.ready and seen.canary_percent == 0
        spec = world.spec()
        shares = [one["trafficPercent"] for one in spec.get("canary", ())]
        assert [*shares, spec["predictor"].get("canaryTrafficPercent", 0)][0] == 0
        assert not seen.problems, "not ready is no contradiction: the rollout's own patience decides"
        world.settle(DesiredService(SERVICE, OLD))
        assert world.spec() == before
        if world.cluster.server:
            assert not any(_bad_shares(world, BAD.location))


@pytest.mark.parametrize("mode", MODES)
def test_a_canary_never_gets_more_than_its_share_on_the_way_in_and_out(cluster: Cluster, mode: str) -> None:
    with scene(cluster, mode) as world:
        world.controller.slow(0.15)
        world.settle(DesiredService(SERVICE, OLD))
        world.settle(DesiredService(SERVICE, OLD, BAD, canary_percent=20))
        world.settle(DesiredService(SERVICE, OLD))
        if world.cluster.server:
            shares = _bad_shares(world, BAD.location)
            assert max(shares) == 20


def _handed_over(cluster: Cluster, mode: str, model: dict[str, Any]) -> None:
    marks = {"serving.kserve.io/deploymentMode": mode}
    document = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    document |= {"metadata": {"name": SERVICE, "annotations": marks}}
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{cluster.namespace}/inferenceservices"
    cluster.call("POST", path, document | {"spec": {"predictor": {"model": model}}}, fieldManager="kubectl")


def test_an_abort_right_after_the_start_does_not_bring_an_older_model_back(cluster: Cluster) -> None:
    """KServe takes a split over one revision for a rollback to the revision before that one."""
    model = {"modelFormat": {"name": "onnx"}, "storageUri": BAD.location}
    with scene(cluster, "", adopt=True) as world:
        _handed_over(cluster, "Knative", model)
        path = f"/apis/serving.kserve.io/v1beta1/namespaces/{cluster.namespace}/inferenceservices/{SERVICE}"
        change = {"spec": {"predictor": {"model": {"storageUri": OLD.location}}}}
        time.sleep(0.4)
        cluster.call("PATCH", path, change, "application/merge-patch+json", fieldManager="kubectl")
        time.sleep(0.4)
        world.settle(DesiredService(SERVICE, OLD))
        assert world.status()["components"]["predictor"]["previousRolledoutRevision"] == "m-predictor-00001"
        world.controller.lag(0.3)
        world.plane.apply(SERVICE, DesiredService(SERVICE, OLD, canary=NEW))
        count = len(cluster.server.calls) if cluster.server else 0
        world.settle(DesiredService(SERVICE, OLD))
        for call in cluster.server.calls[count:] if cluster.server else ():
            told = ((call.body or {}).get("status") or {}).get("components", {}).get("predictor", {})
            assert not [
                one
                for one in told.get("traffic", ())
                if one["revisionName"] == "m-predictor-00001" and one["percent"]
            ]


def test_a_service_goes_only_when_the_gateway_has_taken_the_route_that_leaves_it(cluster: Cluster) -> None:
    with scene(cluster, "Standard") as world:
        world.settle(DesiredService(SERVICE, OLD))
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=10))
        _tick(world, DesiredService(SERVICE, NEW), 0.6)
        assert (
            world.spec()["predictor"]["name"] == "v1-111111"
            and world.spec()["canary"][0]["trafficPercent"] == 100
        )
        world.settle(DesiredService(SERVICE, NEW))
        assert world.spec()["predictor"]["name"] == "v2-222222"


@pytest.mark.parametrize("mode", MODES)
def test_the_old_status_of_a_lagging_controller_is_not_taken_for_the_new_one(
    cluster: Cluster, mode: str
) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        world.controller.pause()
        desired = DesiredService(SERVICE, OLD, NEW, canary_percent=10)
        _tick(world, desired, 0.3)
        assert not world.plane.observe(SERVICE).converged
        world.controller.resume()
        assert world.settle(desired).canary_percent == 10


@pytest.mark.parametrize("mode", MODES)
def test_somebody_elses_edit_is_named_and_left_alone(cluster: Cluster, mode: str) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        path = f"/apis/serving.kserve.io/v1beta1/namespaces/{cluster.namespace}/inferenceservices/{SERVICE}"
        change = {"spec": {"predictor": {"model": {"storageUri": "s3://elsewhere/9"}}}}
        cluster.call("PATCH", path, change, "application/merge-patch+json", fieldManager="kubectl-edit")
        with pytest.raises(ConflictError, match=r"'kubectl-edit' owns \.spec\.predictor\.model\.storageUri"):
            world.plane.apply(SERVICE, DesiredService(SERVICE, OLD, NEW, canary_percent=10))
            _tick(world, DesiredService(SERVICE, OLD, NEW, canary_percent=10), 2)
        assert world.spec()["predictor"]["model"]["storageUri"] == "s3://elsewhere/9"


@pytest.mark.parametrize("mode", MODES)
def test_what_others_own_survives_a_rollout(cluster: Cluster, mode: str) -> None:
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        path = f"/apis/serving.kserve.io/v1beta1/namespaces/{cluster.namespace}/inferenceservices/{SERVICE}"
        change = {"metadata": {"labels": {"team": "blue"}}, "spec": {"predictor": {"minReplicas": 3}}}
        cluster.call("PATCH", path, change, "application/merge-patch+json", fieldManager="kubectl-edit")
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=50))
        world.settle(DesiredService(SERVICE, NEW))
        found = world.service()
        assert (
            found["metadata"]["labels"]["team"] == "blue" and found["spec"]["predictor"]["minReplicas"] == 3
        )


@pytest.mark.parametrize("mode", MODES)
def test_faults_of_the_api_delay_a_rollout_and_do_not_derail_it(cluster: Cluster, mode: str) -> None:
    if cluster.server is None:
        pytest.skip("a real server has no faults to order")
    with scene(cluster, mode) as world:
        world.settle(DesiredService(SERVICE, OLD))
        before = world.spec()
        faults = cluster.server.faults
        faults.fail(503, method="PATCH", part_of_path="inferenceservices", times=2)
        faults.lose_answer(method="PATCH", part_of_path=f"inferenceservices/{SERVICE}")
        faults.conflict(method="PUT", part_of_path="configmaps")
        faults.drop(method="GET", part_of_path="configmaps")
        assert world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=10)).canary_percent == 10
        faults.lose_answer(method="PATCH", part_of_path=f"inferenceservices/{SERVICE}")
        world.settle(DesiredService(SERVICE, OLD))
        assert world.spec() == before


def test_a_silent_server_is_a_service_error(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("a real server has no faults to order")
    client = connect(cluster.kubeconfig)
    cluster.server.faults.fail(503, method="GET", part_of_path="inferenceservices", times=100)
    with pytest.raises(ServiceError, match="HTTP 503"):
        KServePlane(client, KServeSettings(cluster.namespace), everything()).observe(SERVICE)
    client.close()


def test_who_has_a_lower_fence_may_not_change_it_any_more(cluster: Cluster) -> None:
    with scene(cluster, "Knative") as world:
        world.settle(DesiredService(SERVICE, OLD, fence=7))
        with pytest.raises(ConflictError, match="fence 7"):
            world.plane.apply(SERVICE, DesiredService(SERVICE, OLD, NEW, canary_percent=50, fence=6))
        world.settle(DesiredService(SERVICE, OLD, fence=8))
        assert world.plane.observe(SERVICE).generation == 1, (
            "a new holder that wants the same changes nothing"
        )


def test_the_first_request_records_what_to_go_back_to_before_it_changes_anything(cluster: Cluster) -> None:
    if cluster.server is None:
        pytest.skip("looks at the order of calls")
    with scene(cluster, "Knative") as world:
        world.plane.apply(SERVICE, DesiredService(SERVICE, OLD))
        wrote = [call.path for call in cluster.server.calls if call.params.get("fieldManager") == "cd4ml"]
        assert wrote[0].endswith("/configmaps") and wrote[1].endswith("/inferenceservices/m")
        assert world.client.get(CONFIG_MAP, "m-cd4ml", cluster.namespace)["metadata"]["labels"]


def test_our_route_is_never_laid_over_somebody_elses(cluster: Cluster) -> None:
    with scene(cluster, "Standard") as world:
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{cluster.namespace}/httproutes"
        spec = {"parentRefs": [{"name": "gw"}], "hostnames": ["x.example.com"]}
        document = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
        cluster.call("POST", path, document | {"metadata": {"name": "m-cd4ml"}, "spec": spec})
        with pytest.raises(ConflictError, match="'m-cd4ml' is not cd4ml's"):
            _tick(world, DesiredService(SERVICE, OLD), 2)
        found = world.client.get(HTTP_ROUTE, "m-cd4ml", cluster.namespace)
        assert found["spec"]["hostnames"] == ["x.example.com"]


def test_a_version_that_does_not_split_is_refused_a_share_and_given_none(cluster: Cluster) -> None:
    with scene(cluster, "Standard", facts=everything(version=(0, 20, 0))) as world:
        world.settle(DesiredService(SERVICE, OLD))
        with pytest.raises(UsageError, match=r"0\.20\.0 starts a canary's pods and splits no traffic"):
            world.plane.apply(SERVICE, DesiredService(SERVICE, OLD, NEW, canary_percent=10))
        assert "canary" not in world.spec()


def test_a_split_that_the_route_does_not_show_is_not_converged(cluster: Cluster) -> None:
    """The status repeats the spec: a KServe that splits nothing is found out by its route alone."""
    with scene(cluster, "Standard", facts=everything(version=None)) as world:
        world.controller.rules.splits = False
        world.settle(DesiredService(SERVICE, OLD))
        desired = DesiredService(SERVICE, OLD, NEW, canary_percent=10)
        _tick(world, desired, 0.6)
        seen = world.plane.observe(SERVICE)
        assert world.status()["canaryStatuses"] == [
            {"name": "v2-222222", "ready": True, "trafficPercent": 10}
        ]
        assert not seen.converged and seen.canary_percent == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_service_of_others_is_left_alone_until_it_is_handed_over(cluster: Cluster, mode: str) -> None:
    model = {"modelFormat": {"name": "onnx"}, "storageUri": OLD.location}
    spec = {"predictor": {"minReplicas": 2, "model": model}}
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{cluster.namespace}/inferenceservices"
    marks = {"serving.kserve.io/deploymentMode": mode}
    document = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    document |= {"metadata": {"name": SERVICE, "annotations": marks}, "spec": spec}
    cluster.call("POST", path, document, fieldManager="kubectl-create")
    with scene(cluster, "") as world, pytest.raises(ConflictError, match="managed by kubectl-create"):
        world.plane.apply(SERVICE, DesiredService(SERVICE, OLD))
    with scene(cluster, "", adopt=True) as world:
        with pytest.raises(ConflictError, match=r"its stable model is said to be 's3://models/bundles/2'"):
            world.plane.apply(SERVICE, DesiredService(SERVICE, NEW))
        world.settle(DesiredService(SERVICE, OLD))
        assert world.spec() == spec
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=10))
        assert world.spec()["predictor"]["minReplicas"] == 2
        world.settle(DesiredService(SERVICE, OLD))
        assert world.spec() == spec
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=10))
        world.settle(DesiredService(SERVICE, NEW))
        assert world.spec()["predictor"]["model"]["modelFormat"] == {"name": "onnx"}


def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    with scene(cluster, "Knative") as world, pytest.raises(NotFoundError, match="no InferenceService 'm'"):
        world.plane.observe(SERVICE)


def test_a_service_that_cd4ml_made_is_made_again_when_somebody_deletes_it(cluster: Cluster) -> None:
    with scene(cluster, "Knative") as world:
        world.settle(DesiredService(SERVICE, OLD))
        before = world.spec()
        world.client.delete(INFERENCE_SERVICE, SERVICE, cluster.namespace)
        world.settle(DesiredService(SERVICE, OLD))
        assert world.spec() == before


@pytest.mark.parametrize("route", ["HTTPRoute", "VirtualService"])
def test_our_route_has_left_a_service_before_kserve_deletes_it(cluster: Cluster, route: str) -> None:
    if cluster.server is None:
        pytest.skip("looks at the order of calls")
    with scene(cluster, "Standard", route) as world:
        world.settle(DesiredService(SERVICE, OLD))
        world.settle(DesiredService(SERVICE, OLD, NEW, canary_percent=10))
        world.settle(DesiredService(SERVICE, NEW))
        world.settle(DesiredService(SERVICE, NEW, BAD, canary_percent=10))
        world.settle(DesiredService(SERVICE, NEW))
        time.sleep(0.3)  # KServe deletes after it has told its status
        named, deleted = "", []
        for call in cluster.server.calls:
            if call.method == "PATCH" and call.path.endswith("/m-cd4ml") and call.code < 300:
                named = str(call.body)
            if call.method == "DELETE" and "/services/" in call.path:
                deleted.append(call.path.rpartition("/")[2])
                assert deleted[-1] not in named
        assert deleted == ["m-v1-111111-predictor", "m-v4-444444-predictor"]
