"""The compiled pipelines are what their source gives, say what they are, and carry no secret."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "src" / "cd4ml" / "compiled"
pytestmark = pytest.mark.xdist_group("compile")


def masked(text):
    """Return a compiled pipeline without the version of the SDK and the tag of the image: only these may differ."""
    return re.sub(r"(image: \S+):\S+", r"\1", re.sub(r"sdkVersion: \S+", "sdkVersion:", text))


def compiled(folder, *arguments, seed="0"):
    command = [sys.executable, "-m", "pipelines", "--out", str(folder), *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
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
    assert list(parameters) == ["data", "git_branch", "git_commit", "previous", "problem", "store"]
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


def test_secrets_are_named_and_never_given(text, documents):
    assert not re.search(
        r"AKIA[0-9A-Z]{16}|-----BEGIN|(?i:password|secret_?access_?key):\s*\S*[a-z0-9]{16}", text
    )
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    with_store = {name for name, one in executors.items() if "configMapAsEnv" in one}
    assert with_store == {"exec-fingerprint", "exec-register", "exec-snapshot"}
    for name, one in executors.items():
        assert all(secret["optional"] for secret in one.get("secretAsEnv", [])), name
        assert one["securityContext"]["runAsNonRoot"] is True, name


def test_what_must_be_new_in_each_run_is_not_cached(documents):
    tasks = dict(documents[0]["root"]["dag"]["tasks"])
    for spec in documents[0]["components"].values():
        tasks |= spec.get("dag", {}).get("tasks", {})
    cached = {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    single = {
        name for name, task in tasks.items() if "cachingOptions" in task and task["cachingOptions"] != {}
    }
    assert cached == {"snapshot", "features", "plan", "search", "choose", "score", "package"} | (
        single & {name for name in tasks if name.startswith(("for-loop", "condition"))}
    )


def test_every_cached_task_has_the_hashes_among_its_parameters(documents):
    for name, spec in documents[0]["components"].items():
        if name in {f"comp-{one}" for one in ("snapshot", "features", "plan", "choose", "score", "package")}:
            assert "fingerprint" in spec["inputDefinitions"]["parameters"], name
    assert "fingerprint" in (ROOT / "components/training/plan/component.py").read_text().split("return [")[1]


def test_the_decision_is_compared_with_a_fixed_word(documents):
    conditions = [
        task["triggerPolicy"]["condition"]
        for task in documents[0]["root"]["dag"]["tasks"].values()
        if "triggerPolicy" in task
    ]
    assert conditions == ["inputs.parameter_values['pipelinechannel--judge-Output'] != 'reject'"]


def test_every_task_has_a_name_for_people(documents):
    for name, task in documents[0]["root"]["dag"]["tasks"].items():
        assert re.match(r"[A-Z]|for-loop|condition", task["taskInfo"]["name"]), name
