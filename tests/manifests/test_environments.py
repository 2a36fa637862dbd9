"""Environments: one namespace, one store, one quota each; what belongs together fits together."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import cd4ml
from cd4ml.problem import Rollout
from cd4ml.steps.rollout import changed_policy
from tests.manifests.rendering import (
    ENVIRONMENTS,
    MANIFESTS,
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
from tests.manifests.test_hardening import _pods, weaknesses

pytestmark = needs_kubectl
_UNITS = {"m": 1e-3, "": 1.0, "Mi": 2.0**20, "Gi": 2.0**30}


def _one(documents: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = [one for one in of_kind(documents, kind) if name in ("", one["metadata"]["name"])]
    return found


def _short(environment: str) -> str:
    return environment.rpartition("/")[2]


def _amount(text: str) -> float:
    """Return a quantity of Kubernetes as a number."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    assert found, text
    return float(found[1]) * _UNITS[found[2]]


def with_minio(folder: Path, environment: str) -> list[dict[str, Any]]:
    """Render an environment with a store of its own, as a user's own overlay does."""
    relative = Path(*[".."] * (len(folder.parts) - 1)) / MANIFESTS.relative_to("/")
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources:"]
    lines += [f"  - {relative / environment}", "components:", f"  - {relative / 'components/minio'}"]
    lines += [f"namespace: cd4ml-{_short(environment)}"]
    (folder / "kustomization.yaml").write_text("\n".join(lines))
    return render(folder)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_objects_of_an_environment_are_strictly_valid(environment: str) -> None:
    pytest.importorskip("kubernetes_validate", reason="the package kubernetes-validate is not installed")
    folder, documents = crds(), rendered(environment)
    assert len(documents) > 25
    wrong = {
        name_of(one): found
        for one in documents
        if (found := validate(one, folder) if is_custom(one) else validate_builtin(one))
    }
    assert wrong == {}


def test_a_store_of_its_own_may_be_added_to_any_environment(tmp_path: Path) -> None:
    documents = with_minio(tmp_path, "environments/production")
    assert {name_of(one) for one in documents} - {
        name_of(one) for one in rendered("environments/production")
    } == {
        "ConfigMap/cd4ml-minio-setup",
        "Job/cd4ml-minio-setup",
        "NetworkPolicy/cd4ml-minio",
        "NetworkPolicy/cd4ml-minio-setup",
        "PodDisruptionBudget/cd4ml-minio",
        "Service/cd4ml-minio",
        "ServiceAccount/cd4ml-minio",
        "StatefulSet/cd4ml-minio",
    }
    assert {one["metadata"].get("namespace", "cd4ml-production") for one in documents} == {"cd4ml-production"}
    assert _one(documents, "ConfigMap", "cd4ml-store")["data"] == {
        "AWS_REGION": "us-east-1",
        "CD4ML_S3_ENDPOINT": "http://cd4ml-minio:9000",
        "CD4ML_STORE": "s3://cd4ml-production/cd4ml",
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_nothing_is_left_to_fill_in_and_no_secret_is_there(environment: str) -> None:
    assert placeholders(rendered(environment)) == []
    assert of_kind(rendered(environment), "Secret") == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_one_namespace_that_is_restricted(environment: str) -> None:
    documents, name = rendered(environment), f"cd4ml-{_short(environment)}"
    namespace = _one(documents, "Namespace")
    assert namespace["metadata"]["name"] == name
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"].get("namespace", name) for one in documents} == {name}
    assert {one["metadata"]["labels"]["cd4ml.io/environment"] for one in documents} == {_short(environment)}
    pods = [(name_of(document), pod) for document in documents for pod in _pods(document)]
    assert len(pods) >= 2
    assert {owner: found for owner, pod in pods if (found := weaknesses(pod))} == {}
    text = json.dumps([one for one in documents if one["kind"] != "PrometheusRule"])
    assert "cd4ml.svc" not in text and '"namespace": "cd4ml"' not in text


def test_environments_of_one_cluster_do_not_touch_each_other() -> None:
    for one, other in itertools.combinations(ENVIRONMENTS, 2):
        keys = [
            {
                (doc["kind"], doc["metadata"]["name"], doc["metadata"].get("namespace", ""))
                for doc in rendered(which)
            }
            for which in (one, other)
        ]
        assert keys[0] & keys[1] == set()
    places = {
        _one(rendered(which), "ConfigMap", "cd4ml-store")["data"]["CD4ML_STORE"] for which in ENVIRONMENTS
    }
    hosts = {str(_one(rendered(which), "HTTPRoute")["spec"]["hostnames"]) for which in ENVIRONMENTS}
    assert len(places) == len(hosts) == len(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_rights_are_those_of_accounts_of_this_namespace_and_of_groups(environment: str) -> None:
    documents = rendered(environment)
    names = {name_of(one) for one in documents}
    for binding in (one for one in documents if one["kind"].endswith("RoleBinding")):
        reference = binding["roleRef"]
        for subject in binding["subjects"]:
            if subject["kind"] == "Group":
                assert reference["name"] in ("view", "edit")
                continue
            assert f"{reference['kind']}/{reference['name']}" in names
            assert f"ServiceAccount/{subject['name']}" in names
            assert subject["namespace"] == f"cd4ml-{_short(environment)}"
    groups = {
        subject["name"]: binding["roleRef"]["name"]
        for binding in of_kind(documents, "RoleBinding")
        for subject in binding["subjects"]
        if subject["kind"] == "Group"
    }
    # Whoever develops changes dev; nobody changes production by hand.
    assert (groups["cd4ml-developers"] == "edit") == (_short(environment) == "dev")
    assert _short(environment) != "production" or set(groups.values()) == {"view"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_models_come_from_the_store_of_the_environment(environment: str) -> None:
    documents = rendered(environment)
    store = _one(documents, "ConfigMap", "cd4ml-store")["data"]["CD4ML_STORE"]
    assert store == f"s3://cd4ml-{_short(environment)}/cd4ml"
    predictor = _one(documents, "InferenceService")["spec"]["predictor"]
    bundle = predictor["annotations"]["cd4ml.io/bundle"]
    assert predictor["model"]["storageUri"] == f"{store}/bundles/{bundle}"
    route = _one(documents, "HTTPRoute")["spec"]["hostnames"]
    assert [_one(documents, "ConfigMap", "cd4ml-controller")["data"]["CD4ML_HOSTS"]] == route


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_quota_has_room_for_a_version_and_its_candidate_and_for_tasks(
    environment: str, tmp_path: Path
) -> None:
    documents = with_minio(tmp_path, environment) if "dev" not in environment else rendered(environment)
    hard = _one(documents, "ResourceQuota")["spec"]["hard"]
    predictor = _one(documents, "InferenceService")["spec"]["predictor"]
    pods = [(2 * predictor["maxReplicas"], _one(documents, "ServingRuntime")["spec"])]
    for one in documents:
        if one["kind"] in ("Deployment", "Job", "StatefulSet"):
            pods.append((one["spec"].get("replicas", 1), one["spec"]["template"]["spec"]))
    assert len(pods) == 4
    for key, which in itertools.product(("requests", "limits"), ("cpu", "memory")):
        used = sum(
            count * _amount(box["resources"][key][which]) for count, pod in pods for box in pod["containers"]
        )
        # A quarter is left to the tasks of pipelines.
        assert used <= 0.75 * _amount(hard[f"{key}.{which}"]), (key, which)
    assert sum(count for count, _ in pods) < 0.75 * int(hard["pods"])
    (claim,) = _one(documents, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert _amount(claim["spec"]["resources"]["requests"]["storage"]) <= _amount(hard["requests.storage"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_container_is_above_the_limit_range(environment: str) -> None:
    documents = rendered(environment)
    limits = {one["type"]: one for one in _one(documents, "LimitRange")["spec"]["limits"]}
    most = limits["Container"]["max"]
    for pod in (pod for one in documents for pod in _pods(one)):
        for box in pod["containers"]:
            for which in ("cpu", "memory"):
                assert _amount(box["resources"]["limits"][which]) <= _amount(most[which])
    for which in ("cpu", "memory", "ephemeral-storage"):
        low, high = (_amount(limits["Container"][key][which]) for key in ("defaultRequest", "default"))
        assert low <= high


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_rollouts_begin_with_the_policy_of_the_environment(environment: str) -> None:
    documents = rendered(environment)
    (text,) = _one(documents, "ConfigMap", "cd4ml-rollout")["data"].values()
    own = MANIFESTS / environment / "rollout.yaml"
    assert yaml.safe_load(text) == yaml.safe_load(own.read_text())
    policy = changed_policy(Rollout().model_dump(), own)
    assert policy != Rollout()
    assert policy.automatic == (_short(environment) != "production")
    pod = _one(documents, "Deployment")["spec"]["template"]["spec"]
    (box,) = pod["containers"]
    path = next(one["value"] for one in box["env"] if one["name"] == "CD4ML_ROLLOUT_POLICY")
    mount = next(one for one in box["volumeMounts"] if path.startswith(one["mountPath"] + "/"))
    volume = next(one for one in pod["volumes"] if one["name"] == mount["name"])
    assert volume["configMap"]["name"] == "cd4ml-rollout"
    assert path.removeprefix(mount["mountPath"] + "/") == "rollout.yaml"


def test_each_environment_is_larger_and_slower_than_the_one_before() -> None:
    policies = [
        changed_policy(Rollout().model_dump(), MANIFESTS / one / "rollout.yaml") for one in ENVIRONMENTS
    ]
    services = [_one(rendered(one), "InferenceService")["spec"]["predictor"] for one in ENVIRONMENTS]
    sizes = [
        (
            policy.min_requests,
            policy.shadow_requests,
            len(policy.canary_percent),
            policy.watch_seconds,
            service["minReplicas"],
            service["maxReplicas"],
        )
        for policy, service in zip(policies, services, strict=True)
    ]
    for small, large in itertools.pairwise(sizes):
        assert all(one < other for one, other in zip(small, large, strict=True))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_images_have_a_version(environment: str) -> None:
    images = set(re.findall(r'"image": "([^"]+)"', json.dumps(rendered(environment))))
    ours = {image for image in images if image.startswith("ghcr.io/cd4ml/")}
    assert len(ours) == 2
    assert all(image.endswith(f":{cd4ml.__version__}") for image in ours)
    assert all(re.fullmatch(r"quay\.io/minio/minio:RELEASE\.[0-9TZ-]+", image) for image in images - ours)


def test_the_rollout_policy_is_an_option_of_the_command() -> None:
    import typer

    from cd4ml.cli.rollout import app

    command = typer.main.get_command(app).commands["start"]  # type: ignore[attr-defined]
    assert "CD4ML_ROLLOUT_POLICY" in {str(one.envvar) for one in command.params}


def test_credentials_of_minio_come_from_files_that_are_not_there(tmp_path: Path) -> None:
    source = MANIFESTS / "minio-credentials"
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CannotRenderError, match=r"root\.env"):
        render(tmp_path)
    examples = sorted(tmp_path.glob("*.example"))
    for example in examples:
        example.with_suffix("").write_text(example.read_text())
    documents = render(tmp_path)
    assert len(placeholders(documents)) == len(examples) == 5
    assert all("namespace" not in one["metadata"] for one in documents)
    assert "*.env" in (source / ".gitignore").read_text().split()
    environment = _one(documents, "Secret", "cd4ml-s3-read")["metadata"]["annotations"]
    assert environment["serving.kserve.io/s3-endpoint"] == "cd4ml-minio:9000"
    assert environment["serving.kserve.io/s3-usehttps"] == "0"
