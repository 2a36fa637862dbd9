"""Each overlay renders, and each of its objects is what its kind's definition says."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.rendering import (
    BUILDS,
    MANIFESTS,
    OVERLAYS,
    CannotRenderError,
    crds,
    name_of,
    needs_kubectl,
    of_kind,
    placeholders,
    render,
    rendered,
)
from tests.manifests.strict_schema import is_custom, validate, validate_builtin

pytestmark = needs_kubectl


def _one(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(one for one in of_kind(documents, kind) if one["metadata"]["name"] == name)


def _with(folder: Path, build: str, *components: str) -> list[dict[str, Any]]:
    """Render a build with more components, as a user's own overlay does."""
    relative = Path("..") / Path(*[".."] * (len(folder.parts) - 2)) / MANIFESTS.relative_to("/")
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources:"]
    lines += [f"  - {relative / build}", "components:"]
    lines += [f"  - {relative / 'components' / one}" for one in components]
    (folder / "kustomization.yaml").write_text("\n".join(lines))
    return render(folder)


@pytest.mark.parametrize("build", BUILDS)
def test_custom_objects_of_each_build_are_strictly_valid(build: str) -> None:
    folder = crds()
    documents = [document for document in rendered(build) if is_custom(document)]
    assert documents
    assert {name_of(one): found for one in documents if (found := validate(one, folder))} == {}


@pytest.mark.parametrize("build", OVERLAYS)
def test_built_in_objects_of_each_overlay_are_strictly_valid(build: str) -> None:
    pytest.importorskip("kubernetes_validate", reason="the package kubernetes-validate is not installed")
    documents = [document for document in rendered(build) if not is_custom(document)]
    assert len(documents) > 10
    assert {name_of(one): found for one in documents if (found := validate_builtin(one))} == {}


@pytest.mark.parametrize("build", BUILDS)
def test_no_build_has_a_placeholder_or_a_secret(build: str) -> None:
    assert placeholders(rendered(build)) == []
    assert of_kind(rendered(build), "Secret") == []


def test_a_canary_is_the_same_service_with_the_next_version_and_a_share() -> None:
    before = _one(rendered("overlays/knative-istio"), "InferenceService", "bike-demand")
    after = _one(rendered("overlays/knative-istio-canary"), "InferenceService", "bike-demand")
    expected = copy.deepcopy(before)
    predictor = expected["spec"]["predictor"]
    predictor["canaryTrafficPercent"] = 10
    predictor["labels"]["endpoint"] = "canary"
    assert after != before
    for key in ("annotations", "model"):
        predictor[key] = after["spec"]["predictor"][key]
    assert after == expected
    assert after["spec"]["predictor"]["annotations"]["cd4ml.io/version"] == "8"


def test_standard_mode_has_its_canary_in_the_list_and_its_share_in_the_route() -> None:
    documents = rendered("overlays/standard-gateway-api-canary")
    service = _one(documents, "InferenceService", "bike-demand")
    (entry,) = service["spec"]["canary"]
    assert "canaryTrafficPercent" not in service["spec"]["predictor"]
    rule = _one(documents, "HTTPRoute", "bike-demand-route")["spec"]["rules"][0]
    weights = {one["name"]: one["weight"] for one in rule["backendRefs"]}
    canary = f"bike-demand-{entry['predictor']['name']}-predictor"
    assert weights == {
        canary: entry["trafficPercent"],
        "bike-demand-predictor": 100 - entry["trafficPercent"],
    }


@pytest.mark.parametrize("overlay", ["knative-istio", "standard-gateway-api"])
def test_a_shadow_adds_itself_and_its_mirror_and_leaves_all_else_alone(overlay: str) -> None:
    before = {name_of(one): one for one in rendered(f"overlays/{overlay}")}
    after = {name_of(one): one for one in rendered(f"overlays/{overlay}-shadow")}
    assert after.keys() - before.keys() == {"InferenceService/bike-demand-shadow"}
    changed = {name for name, one in before.items() if after[name] != one}
    assert changed == {
        "VirtualService/bike-demand-route" if overlay == "knative-istio" else "HTTPRoute/bike-demand-route"
    }


def test_mirror_and_weights_of_istio_in_standard_mode(tmp_path: Path) -> None:
    for component in ("mirror", "standard-candidate"):
        folder = tmp_path / component
        folder.mkdir()
        documents = _with(folder, "overlays/standard-istio", component)
        route = _one(documents, "VirtualService", "bike-demand-route")
        assert validate(route, crds()) == []
        predicts, others = route["spec"]["http"][:2], route["spec"]["http"][2:]
        weights = [[one["weight"] for one in rule["route"]] for rule in predicts]
        assert weights == ([[100], [100]] if component == "mirror" else [[90, 10], [90, 10]])
        assert ["mirrors" in rule for rule in predicts] == [component == "mirror"] * 2
        assert not any("mirrors" in rule for rule in others)


def test_mirror_and_weights_of_the_gateway_do_not_hide_each_other(tmp_path: Path) -> None:
    with pytest.raises(CannotRenderError, match="testing value"):
        _with(tmp_path, "overlays/standard-gateway-api", "mirror", "standard-candidate")


def test_the_logger_tells_variants_and_versions_apart(tmp_path: Path) -> None:
    documents = _with(tmp_path, "overlays/standard-gateway-api-shadow", "event-logger")
    services = of_kind(documents, "InferenceService")
    assert len(services) == 2
    for service in services:
        assert validate(service, crds()) == []
        predictor = service["spec"]["predictor"]
        assert set(predictor["logger"]["metadataAnnotations"]) <= predictor["annotations"].keys()
    assert {service["spec"]["predictor"]["labels"]["endpoint"] for service in services} == {
        "stable",
        "shadow",
    }


def test_a_model_may_sleep_in_knative_mode_alone(tmp_path: Path) -> None:
    service = _one(
        _with(tmp_path, "overlays/knative-istio", "scale-to-zero"), "InferenceService", "bike-demand"
    )
    assert service["spec"]["predictor"]["minReplicas"] == 0
    assert validate(service, crds()) == []
    for build in OVERLAYS:
        for one in of_kind(rendered(build), "InferenceService"):
            assert one["spec"]["predictor"]["minReplicas"] >= 1


def test_minimal_needs_nothing_but_kserve() -> None:
    groups = {one["apiVersion"].rpartition("/")[0] for one in rendered("overlays/minimal") if is_custom(one)}
    assert groups == {"serving.kserve.io"}


def test_the_cluster_runtime_is_the_one_of_the_namespace() -> None:
    (cluster,) = of_kind(rendered("cluster-runtime"), "ClusterServingRuntime")
    (own,) = of_kind(rendered("overlays/minimal"), "ServingRuntime")
    assert cluster["spec"] == own["spec"]
    assert "namespace" not in cluster["metadata"]


def test_credentials_come_from_files_that_are_not_there(tmp_path: Path) -> None:
    for file in (MANIFESTS / "storage").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CannotRenderError, match=r"s3-read\.env"):
        render(tmp_path)
    examples = sorted(tmp_path.glob("*.example"))
    for example in examples:
        example.with_suffix("").write_text(example.read_text())
    assert placeholders(render(tmp_path)) == [
        "Secret/cd4ml-s3-read",
        "Secret/cd4ml-s3-write",
        "Secret/storage-config",
    ]
    for example in examples:
        example.with_suffix("").write_text(example.read_text().replace("REPLACE_ME", "a-key"))
    documents = render(tmp_path)
    assert placeholders(documents) == []
    read = _one(documents, "Secret", "cd4ml-s3-read")
    assert read["data"].keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert read["metadata"]["annotations"]["serving.kserve.io/s3-usehttps"] == "1"
    ignored = (MANIFESTS / "storage" / ".gitignore").read_text().split()
    assert {example.stem for example in examples} <= set(ignored)


def test_the_walk_through_names_folders_and_components_that_are_there() -> None:
    text = (MANIFESTS.parent / "docs" / "manifests.md").read_text(encoding="utf-8")
    applied = set(re.findall(r"apply .*-k manifests/(\S+)", text))
    assert {"storage", "overlays/knative-istio-canary", "overlays/standard-gateway-api-shadow"} <= applied
    for build in applied:
        assert (MANIFESTS / build / "kustomization.yaml").is_file(), build
    for component in (MANIFESTS / "components").iterdir():
        assert f"`{component.name}`" in text
    for overlay in OVERLAYS:
        assert overlay.removeprefix("overlays/") in text or overlay.rpartition("-")[2] in ("canary", "shadow")


def test_the_controllers_command_is_one_of_ours() -> None:
    rollout = pytest.importorskip("cd4ml.cli.rollout", reason="cd4ml rollout is not there yet")
    (controller,) = of_kind(rendered("overlays/minimal"), "Deployment")
    (container,) = controller["spec"]["template"]["spec"]["containers"]
    name, noun, verb = container["command"]
    assert (name, noun) == ("cd4ml", "rollout")
    assert verb in {one.name or one.callback.__name__ for one in rollout.app.registered_commands}
