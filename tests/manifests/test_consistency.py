"""What one object says of another is true: names, labels, Services, images, options of our server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import cd4ml
from cd4ml.delivery.kserve.objects import BUNDLE, VERSION, predictor_service, shadow_name
from cd4ml.delivery.plane import VARIANTS
from tests.manifests.rendering import BUILDS, OVERLAYS, name_of, needs_kubectl, of_kind, rendered

pytestmark = needs_kubectl

_OUTSIDE = {"knative-local-gateway.istio-system.svc.cluster.local"}
"""Services that others bring."""
_RULES = {"HTTPRoute": ("rules", "backendRefs"), "VirtualService": ("http", "route")}
"""Where routes have their rules, and rules their targets."""


def _values(value: Any, key: str) -> Iterator[Any]:
    """Every value of a field of that name, at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for item in value.values():
            yield from _values(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item, key)


def services_of(documents: list[dict[str, Any]]) -> set[str]:
    """Kubernetes Services that are there: ours, and those that KServe makes in Standard mode."""
    found = {one["metadata"]["name"] for one in of_kind(documents, "Service")}
    for one in of_kind(documents, "InferenceService"):
        name = one["metadata"]["name"]
        found.add(predictor_service(name, one["spec"]["predictor"].get("name", "")))
        found |= {
            predictor_service(name, entry["predictor"]["name"]) for entry in one["spec"].get("canary", ())
        }
    return found


def destinations(documents: list[dict[str, Any]]) -> set[str]:
    """Services that routes send requests or copies to: host names of Istio, names of the Gateway API."""
    found: set[str] = set()
    for one in of_kind(documents, "VirtualService"):
        found |= {str(one["host"]) for one in _values(one["spec"]["http"], "destination")}
        found |= {str(host) for host in _values(one["spec"]["http"], "Host")}
    for one in of_kind(documents, "HTTPRoute"):
        references = [ref for refs in _values(one, "backendRefs") for ref in refs]
        references += list(_values(one, "backendRef"))
        found |= {ref["name"] for ref in references if "namespace" not in ref}
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_that_a_route_or_a_mirror_names_is_there(overlay: str) -> None:
    documents = rendered(overlay)
    wanted = {
        host.removesuffix(".cd4ml.svc.cluster.local")
        for host in destinations(documents)
        if host not in _OUTSIDE
    }
    assert wanted <= services_of(documents)
    if "minimal" not in overlay:
        assert wanted


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_shares_of_each_rule_are_all_requests(overlay: str) -> None:
    for one in rendered(overlay):
        if one["kind"] not in _RULES:
            continue
        rules, targets = _RULES[one["kind"]]
        for rule in one["spec"][rules]:
            weights = [target.get("weight", 100) for target in rule[targets]]
            assert sum(weights) == 100, name_of(one)
    for one in of_kind(rendered(overlay), "InferenceService"):
        shares = [entry["trafficPercent"] for entry in one["spec"].get("canary", ())]
        shares.append(one["spec"]["predictor"].get("canaryTrafficPercent", 0))
        assert all(0 <= share <= 100 for share in shares)
        assert sum(shares) <= 100


def _predictors(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    services = of_kind(documents, "InferenceService")
    entries = [entry["predictor"] for one in services for entry in one["spec"].get("canary", ())]
    return [one["spec"]["predictor"] for one in services] + entries


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_label_annotations_arguments_and_location_of_a_predictor_agree(overlay: str) -> None:
    for predictor in _predictors(rendered(overlay)):
        options = dict(text.removeprefix("--").split("=", 1) for text in predictor["model"]["args"])
        marks = predictor["annotations"]
        assert predictor["labels"]["endpoint"] in VARIANTS
        assert options["variant"] == predictor["labels"]["endpoint"]
        assert options["model-version"] == marks[VERSION]
        assert predictor["model"]["storageUri"].endswith(f"/bundles/{marks[BUNDLE]}")
        # Copies of requests have the path of the stable model.
        assert options["name"] == "bike-demand"
        assert predictor["model"]["runtime"] == "cd4ml"
        assert predictor["serviceAccountName"] == "cd4ml-predictor"


@pytest.mark.parametrize("overlay", ["knative-istio", "standard-gateway-api"])
def test_shadow_and_canary_are_one_candidate_under_two_labels(overlay: str) -> None:
    candidates = [
        predictor
        for stage in ("shadow", "canary")
        for predictor in _predictors(rendered(f"overlays/{overlay}-{stage}"))
        if predictor["labels"]["endpoint"] == stage
    ]
    shadow, canary = candidates
    assert shadow["annotations"] == canary["annotations"]
    assert shadow["model"]["storageUri"] == canary["model"]["storageUri"]
    names = {
        one["metadata"]["name"] for one in of_kind(rendered(f"overlays/{overlay}-shadow"), "InferenceService")
    }
    assert names == {"bike-demand", shadow_name("bike-demand")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_mode_decides_where_the_canary_stands(overlay: str) -> None:
    for one in of_kind(rendered(overlay), "InferenceService"):
        mode = one["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
        knative_field = "canaryTrafficPercent" in one["spec"]["predictor"]
        assert not (mode == "Standard" and knative_field)  # KServe would ignore it and say nothing
        assert not (mode == "Knative" and "canary" in one["spec"])
        if one["metadata"]["name"].endswith("-shadow"):
            assert mode == "Standard"


@pytest.mark.parametrize("build", BUILDS)
def test_images_have_the_version_and_never_latest(build: str) -> None:
    images = {str(image) for one in rendered(build) for image in _values(one, "image")}
    for image in images:
        assert re.fullmatch(r"ghcr\.io/cd4ml/cd4ml-[a-z]+:" + re.escape(cd4ml.__version__), image), image
    assert images or build.startswith("routes/")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_said_once_and_all_is_in_one_namespace(overlay: str) -> None:
    documents = rendered(overlay)
    names = [(one["apiVersion"], name_of(one)) for one in documents]
    assert len(names) == len(set(names))
    without = {one["kind"] for one in documents if "namespace" not in one["metadata"]}
    assert without == {"ClusterRole", "ClusterRoleBinding", "Namespace"}
    assert {one["metadata"].get("namespace", "cd4ml") for one in documents} == {"cd4ml"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_pods(overlay: str) -> None:
    documents = rendered(overlay)
    (deployment,) = of_kind(documents, "Deployment")
    controller = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= controller.items()
    # What KServe itself writes on the pods of a predictor, beside the labels of the spec.
    of_kserve = {"component": "predictor", "serving.kserve.io/inferenceservice": "bike-demand"}
    pods = [controller, *({**of_kserve, "endpoint": variant} for variant in VARIANTS)]
    selectors = [
        (name_of(one), one["spec"].get("selector") or one["spec"].get("podSelector"))
        for one in documents
        if one["kind"] in ("AuthorizationPolicy", "NetworkPolicy", "PodDisruptionBudget")
    ]
    assert len(selectors) >= 6
    for name, selector in selectors:
        wanted = selector.get("matchLabels", {})
        exists = {one["key"] for one in selector.get("matchExpressions", ())}
        assert any(wanted.items() <= pod.items() and exists <= pod.keys() for pod in pods), name


def test_numbers_are_scraped_from_the_port_that_serves_them() -> None:
    documents = rendered("overlays/knative-istio")
    (monitor,) = of_kind(documents, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    service = next(
        one
        for one in of_kind(documents, "Service")
        if wanted.items() <= one["metadata"].get("labels", {}).items()
    )
    (port,) = service["spec"]["ports"]
    (runtime,) = of_kind(documents, "ServingRuntime")
    (container,) = runtime["spec"]["containers"]
    assert port["name"] == monitor["spec"]["endpoints"][0]["port"]
    assert port["targetPort"] == container["ports"][0]["containerPort"] == 8080
    assert service["spec"]["selector"] == {"component": "predictor"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_server_takes_the_arguments_of_runtime_and_model(variant: str) -> None:
    from cd4ml.serving.server import _parser

    (runtime,) = of_kind(rendered("overlays/minimal"), "ServingRuntime")
    (container,) = runtime["spec"]["containers"]
    assert container["command"] == ["python", "-m", "cd4ml.serving.server"]
    more = ["--name=bike-demand", f"--variant={variant}", "--model-version=8"]
    arguments = [text.replace("{{.Name}}", "bike-demand-shadow") for text in container["args"]]
    options = _parser().parse_args([*arguments, *more])
    assert (options.name, options.variant, options.model_version) == ("bike-demand", variant, "8")
    assert str(options.bundle) == "/mnt/models"
    assert options.host == "0.0.0.0"
    assert options.workers > 1
    paths = {probe["httpGet"]["path"] for key, probe in container.items() if key.endswith("Probe")}
    assert paths == {"/v2/health/live", "/v2/health/ready"}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(options.events), "/tmp"} == mounts
    for one in _predictors(rendered("overlays/standard-gateway-api-shadow")):
        assert one["terminationGracePeriodSeconds"] > options.grace_seconds


def test_the_accounts_secret_is_the_one_that_storage_makes() -> None:
    (text,) = {
        one["secrets"][0]["name"]
        for one in of_kind(rendered("overlays/minimal"), "ServiceAccount")
        if one["metadata"]["name"] == "cd4ml-predictor"
    }
    assert text == "cd4ml-s3-read"
