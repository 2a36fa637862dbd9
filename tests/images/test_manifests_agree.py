"""What the manifests start is what the images hold: commands, users, folders, names."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import cd4ml
from cd4ml.serving import server
from components._base import IMAGE
from scripts.images import KINDS, PREFIX
from tests.images.dockerfiles import ROOT, command, environment, last_stage

_FILES = {
    "controller": ("base/controller.yaml",),
    "predictor": ("base/serving-runtime.yaml", "cluster-runtime/serving-runtime.yaml"),
    "seldon": ("seldon/seldon-deployment.yaml",),
}


def _every(value: Any, key: str) -> list[Any]:
    """Every value of a field of that name, at any depth."""
    if isinstance(value, list):
        return [found for item in value for found in _every(item, key)]
    if not isinstance(value, dict):
        return []
    return [value[key] for _ in range(key in value)] + [
        found for item in value.values() for found in _every(item, key)
    ]


def _documents(kind: str) -> list[Any]:
    return [yaml.safe_load((ROOT / "manifests" / file).read_text(encoding="utf-8")) for file in _FILES[kind]]


def _containers(kind: str) -> list[dict[str, Any]]:
    lists = _every(_documents(kind), "containers")
    return [one for containers in lists for one in containers if one["image"] == KINDS[kind]]


@pytest.mark.parametrize("kind", _FILES)
def test_a_container_runs_as_the_user_of_its_image(kind):
    (user,) = [rest for name, rest in last_stage(kind) if name == "USER"]
    assert len(_containers(kind)) >= 1
    for one in _containers(kind):
        security = one["securityContext"]
        assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
        assert security["readOnlyRootFilesystem"]


@pytest.mark.parametrize("kind", ["controller", "predictor"])
def test_a_manifest_starts_what_the_image_starts_by_itself(kind):
    for one in _containers(kind):
        words = len(one["command"])
        assert command(kind)[:words] == one["command"]
        # By itself an image works for the least: what it is told must be among what the manifest says.
        alone = {word for word in command(kind)[words:] if not word.startswith("--name=")}
        assert alone <= set(one["args"])


def test_the_image_of_seldon_core_starts_itself():
    for one in _containers("seldon"):
        assert not {"command", "args"} & one.keys()
        given = {pair["name"]: pair["value"] for pair in one["env"]}
        image = environment("seldon")
        assert {name: given[name] for name in image if name in given} == {
            name: image[name] for name in ("GRPC_WORKERS", "HOME", "INCLUDE_METRICS_IN_CLIENT_RESPONSE")
        }
    assert command("seldon")[1] == "cd4ml.serving.seldon.BundleModel"


@pytest.mark.parametrize("kind", _FILES)
def test_the_folder_that_an_image_writes_to_is_a_volume(kind):
    assert environment(kind)["HOME"] == "/tmp"
    for one in _containers(kind):
        assert "/tmp" in {mount["mountPath"] for mount in one["volumeMounts"]}


def test_ports_are_those_of_the_image():
    (exposed,) = [rest for name, rest in last_stage("predictor") if name == "EXPOSE"]
    ports = [port["containerPort"] for one in _containers("predictor") for port in one["ports"]]
    assert {str(port) for port in ports} == set(exposed.split())
    assert f"--http-port={exposed}" in command("predictor")


def test_probes_need_no_more_than_python():
    probes = [found for kind in _FILES for found in _every(_documents(kind), "exec")]
    assert {probe["command"][0] for probe in probes} == {"python"}


def test_overlays_take_the_images_that_are_built():
    built = {name: (f"{PREFIX}{name}", cd4ml.__version__) for name in KINDS.values()}
    found = 0
    for file in sorted((ROOT / "manifests").rglob("kustomization.yaml")):
        for one in yaml.safe_load(file.read_text(encoding="utf-8")).get("images", ()):
            if one["name"] in built and "digest" not in one:
                assert (one["newName"], one["newTag"]) == built[one["name"]], file
                found += 1
    assert found >= 4


def test_tasks_run_in_the_image_that_is_built():
    assert f"{PREFIX}{KINDS['components']}:{cd4ml.__version__}" == IMAGE


def test_whatever_starts_in_an_image_of_ours_needs_no_shell_and_has_no_other_user():
    ours = set(KINDS.values())
    files = sorted((ROOT / "manifests").rglob("*.yaml"))
    documents = [one for file in files for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    lists = [found for key in ("containers", "initContainers") for found in _every(documents, key)]
    containers = [
        one for found in lists for one in found if isinstance(one, dict) and one.get("image") in ours
    ]

    assert len(containers) >= 4
    for one in containers:
        assert one.get("command", ["python"])[0] in {"cd4ml", "python"}, one["name"]
        assert one["securityContext"]["runAsUser"] == 10001, one["name"]


def test_the_predictor_by_itself_lacks_nothing_but_a_bundle():
    options = server._parser().parse_args(command("predictor")[3:])
    assert (str(options.bundle), options.host, options.http_port) == ("/mnt/models", "0.0.0.0", 8080)
