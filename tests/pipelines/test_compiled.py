"""The compiled pipelines are what their source gives, say what they are, and carry no secret."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cd4ml.adapters.kubeflow.compiled import pinned

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "src" / "cd4ml" / "compiled"
CACHED = ("resolve", "snapshot", "features", "plan", "choose", "score", "explain-model", "package")
"""Those that take the hashes as a parameter of their own; a search has them within its item."""
SIGNING = ("package", "look", "judge-model", "await-approval")
"""Those that sign bundles or lines of the audit log."""
STORED = ("fingerprint", "resolve", "snapshot", "look", "champion", "consumers", "judge-model", "register")
"""Those that reach the store, and `await-approval` and `start-from-training`."""
pytestmark = pytest.mark.xdist_group("compile")


def masked(text):
    """Return a compiled pipeline without the SDK's version and the image's tag: only these may differ."""
    return re.sub(r"(image: \S+):\S+", r"\1", re.sub(r"sdkVersion: \S+", "sdkVersion:", text))


def compiled(folder, *arguments, seed="0"):
    command = [sys.executable, "-m", "pipelines", "--out", str(folder), *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "CD4ML_IMAGE": ""}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
    return (folder / "training.yaml").read_text()


@pytest.fixture(scope="module")
def text():
    return (COMMITTED / "training.yaml").read_text()


@pytest.fixture(scope="module")
def documents(text):
    return list(yaml.safe_load_all(text))


def test_the_committed_pipeline_is_what_its_source_gives_whatever_the_hash_seed(text, tmp_path):
    first, second = compiled(tmp_path / "1", seed="1"), compiled(tmp_path / "2", seed="2")
    assert first == second
    assert masked(first) == masked(text)


def test_another_image_changes_the_image_and_nothing_else(text, tmp_path):
    other = compiled(tmp_path, "--image", "registry.example.org/python-x:9")
    images = set(re.findall(r"image: (\S+)", other))
    assert images == {"registry.example.org/python-x:9"}
    assert re.sub(r"image: \S+", "", other) == re.sub(r"image: \S+", "", text)


def test_every_parameter_is_described_and_has_a_default(documents):
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert list(parameters) == [
        "approval_wait_seconds",
        "data",
        "git_branch",
        "git_commit",
        "previous",
        "problem",
        "rollout_service",
        "store",
    ]
    for name, parameter in parameters.items():
        assert parameter["description"], name
        assert "defaultValue" in parameter, name


def test_every_input_and_output_of_every_task_is_described(documents):
    for name, spec in documents[0]["components"].items():
        if "executorLabel" not in spec:
            continue
        for side in ("inputDefinitions", "outputDefinitions"):
            for kind in ("parameters", "artifacts"):
                for one, definition in spec.get(side, {}).get(kind, {}).items():
                    assert definition.get("description"), f"{name} {one}"


def test_addresses_are_those_that_kserve_reads_and_nothing_is_installed_at_run_time(text):
    assert "minio://" not in text
    assert "s3://" in text
    assert "pip install" not in text


def executors(documents):
    """Return what a pod gets, by name: from the specification, and from the part for Kubernetes."""
    plain = documents[0]["deploymentSpec"]["executors"]
    kubernetes = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert plain.keys() == kubernetes.keys()
    return {name: (plain[name]["container"], kubernetes[name]) for name in plain}


def test_every_task_runs_as_a_user_without_rights(documents):
    for name, (_, pod) in executors(documents).items():
        assert pod["securityContext"] == {
            "runAsUser": "1000",
            "runAsGroup": "1000",
            "runAsNonRoot": True,
        }, name


def test_every_task_has_limits_and_asks_for_half_of_them(documents):
    for name, (container, _) in executors(documents).items():
        asked = container["resources"]
        assert asked["cpuLimit"] in {1.0, 2.0, 4.0}, name
        assert asked["cpuRequest"] * 2 == asked["cpuLimit"], name
        limit = int(asked["resourceMemoryLimit"].removesuffix("Gi"))
        assert asked["resourceMemoryRequest"] == f"{limit * 512}Mi", name
        assert limit in {2, 8}, name


def test_every_task_runs_in_one_pinned_image(documents):
    (image,) = {container["image"] for container, _ in executors(documents).values()}
    assert pinned(image) == image


def test_secrets_are_named_and_never_given(text, documents):
    assert not re.search(
        r"AKIA[0-9A-Z]{16}|-----BEGIN|(?i:password|secret_?access_?key):\s*\S*[a-z0-9]{16}", text
    )
    pods = {name: pod for name, (_, pod) in executors(documents).items()}
    for name, pod in pods.items():
        assert all(secret["optional"] for secret in pod.get("secretAsEnv", [])), name
        assert all(config["optional"] for config in pod.get("configMapAsEnv", [])), name
    given = {
        secret: {
            name
            for name, pod in pods.items()
            for one in pod.get("secretAsEnv", [])
            if one["secretName"] == secret
        }
        for secret in ("cd4ml-store", "cd4ml-signing")
    }
    assert given == {
        "cd4ml-store": {f"exec-{name}" for name in (*STORED, "await-approval", "start-from-training")},
        "cd4ml-signing": {f"exec-{name}" for name in SIGNING},
    }


def test_no_parameter_is_a_secret(documents):
    for spec in [documents[0]["root"], *documents[0]["components"].values()]:
        for name in spec.get("inputDefinitions", {}).get("parameters", {}):
            assert not re.search("secret|password|token|credential|(^|_)key", name), name


def test_addresses_in_the_form_are_those_of_an_object_store(documents):
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    for name in ("data", "store"):
        assert parameters[name]["defaultValue"].startswith("s3://")


def test_the_fingerprint_gives_parameters_only(documents):
    (given,) = documents[0]["components"]["comp-fingerprint"]["outputDefinitions"].items()
    assert given[0] == "parameters"


def test_what_must_be_new_in_each_run_is_not_cached(documents):
    tasks = dict(documents[0]["root"]["dag"]["tasks"])
    for spec in documents[0]["components"].values():
        tasks |= spec.get("dag", {}).get("tasks", {})
    cached = {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    single = {
        name for name, task in tasks.items() if "cachingOptions" in task and task["cachingOptions"] != {}
    }
    assert cached == {*CACHED, "search"} | (
        single & {name for name in tasks if name.startswith(("for-loop", "condition"))}
    )


def test_every_cached_task_has_the_hashes_among_its_parameters(documents):
    for name, spec in documents[0]["components"].items():
        if name in {f"comp-{one}" for one in CACHED}:
            assert "fingerprint" in spec["inputDefinitions"]["parameters"], name
    assert "fingerprint" in (ROOT / "components/training/plan/component.py").read_text().split("return [")[1]


def test_the_decision_is_compared_with_a_fixed_word(documents):
    conditions = [
        task["triggerPolicy"]["condition"]
        for task in documents[0]["root"]["dag"]["tasks"].values()
        if "triggerPolicy" in task
    ]
    assert conditions == ["inputs.parameter_values['pipelinechannel--judge-model-Output'] != 'reject'"]


def test_every_task_has_a_name_for_people(documents):
    for name, task in documents[0]["root"]["dag"]["tasks"].items():
        assert re.match(r"[A-Z]|for-loop|condition", task["taskInfo"]["name"]), name


def test_a_rollout_starts_only_where_an_endpoint_was_named(documents):
    assert documents[0]["root"]["inputDefinitions"]["parameters"]["rollout_service"]["defaultValue"] == ""
    (group,) = [
        spec["dag"]["tasks"]
        for spec in documents[0]["components"].values()
        if "await-approval" in spec.get("dag", {}).get("tasks", {})
    ]
    (nested,) = [task for task in group.values() if "triggerPolicy" in task]
    wanted = "inputs.parameter_values['pipelinechannel--rollout_service'] != ''"
    assert nested["triggerPolicy"]["condition"] == wanted


DELIVERY = list(yaml.safe_load_all((COMMITTED / "delivery.yaml").read_text()))


def test_every_parameter_of_the_delivery_is_described_and_has_a_default():
    parameters = DELIVERY[0]["root"]["inputDefinitions"]["parameters"]
    assert {"model", "version", "service", "store", "policy", "attempt"} <= parameters.keys()
    for name, parameter in parameters.items():
        assert parameter["description"], name
        assert "defaultValue" in parameter, name


def test_every_task_of_the_delivery_runs_as_the_others_do_reaches_the_store_and_signs_nothing():
    test_every_task_runs_as_a_user_without_rights(DELIVERY)
    test_every_task_has_limits_and_asks_for_half_of_them(DELIVERY)
    test_every_task_runs_in_one_pinned_image(DELIVERY)
    for name, (_, pod) in executors(DELIVERY).items():
        assert {one["secretName"] for one in pod["secretAsEnv"]} == {"cd4ml-store"}, name
