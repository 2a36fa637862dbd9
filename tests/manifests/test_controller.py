"""The controller's Deployment says what `cd4ml rollout run` understands, and its probes tell the dead."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from cd4ml.cli.rollout import app
from cd4ml.delivery.kserve.settings import KServeSettings
from tests.manifests.rendering import OVERLAYS, needs_kubectl, of_kind, rendered

pytestmark = needs_kubectl
_ELSEWHERE = {"CD4ML_PROMETHEUS_TOKEN", "HOME", "TMPDIR"}
"""What is no option: a token, and where Python writes."""


def _container(overlay: str) -> dict[str, Any]:
    (deployment,) = of_kind(rendered(overlay), "Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def _settings(overlay: str) -> dict[str, str]:
    (found,) = (
        one["data"]
        for one in of_kind(rendered(overlay), "ConfigMap")
        if one["metadata"]["name"] == "cd4ml-controller"
    )
    return dict(found)


def _parsed(overlay: str) -> dict[str, Any]:
    """Return the options of the command as the container gives them."""
    container = _container(overlay)
    own = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    found = {**_settings(overlay), **own, "CD4ML_NAMESPACE": "cd4ml"}
    words = [text.replace("$(CD4ML_NAMESPACE)", "cd4ml") for text in container["args"]]
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {str(one.envvar) for one in command.params if one.envvar}
    assert {*found, *(one["name"] for one in container["env"])} - _ELSEWHERE <= known
    before = dict(os.environ)
    os.environ.update({name: value.replace("$(CD4ML_NAMESPACE)", "cd4ml") for name, value in found.items()})
    try:
        return dict(command.make_context("run", words).params)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_command_takes_arguments_and_environment(overlay: str) -> None:
    container = _container(overlay)
    assert container["command"] == ["cd4ml", "rollout", "run"]
    options = _parsed(overlay)
    assert (options["which"], options["namespace"], options["adopt"]) == ("kserve", "cd4ml", True)
    assert list(options["prometheus_labels"]) == ["namespace=cd4ml"]
    assert bool(options["prometheus_url"]) == ("minimal" not in overlay)
    KServeSettings(options["namespace"], gateway=options["gateway"])
    sources = [one.get("configMapRef", {}).get("name") for one in container["envFrom"]]
    assert {"cd4ml-controller", "cd4ml-store"} <= set(sources)


def test_the_route_of_the_controller_has_the_gateway_and_the_host_of_the_others() -> None:
    options = _parsed("overlays/standard-gateway-api")
    (route,) = of_kind(rendered("overlays/standard-gateway-api"), "HTTPRoute")
    (parent,) = route["spec"]["parentRefs"]
    assert options["gateway"] == f"{parent['namespace']}/{parent['name']}"
    assert list(options["hosts"]) == route["spec"]["hostnames"]


def test_all_that_it_writes_is_where_it_may_write() -> None:
    container = _container("overlays/minimal")
    options = _parsed("overlays/minimal")
    mounts = [Path(one["mountPath"]) for one in container["volumeMounts"]]
    for path in (options["state"], options["heartbeat"]):
        assert any(Path(path).is_relative_to(mount) for mount in mounts), path


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_a_probe_passes_while_the_heartbeat_is_fresh(probe: str, tmp_path: Path) -> None:
    container = _container("overlays/minimal")
    beat = str(_parsed("overlays/minimal")["heartbeat"])
    python, *words = container[probe]["exec"]["command"]
    assert python == "python" and beat in words[-1]
    age = int(re.findall(r"> (\d+)", words[-1])[0])
    here = tmp_path / "heartbeat"

    def code() -> int:
        command = [sys.executable, *(word.replace(beat, str(here)) for word in words)]
        return subprocess.run(command, check=False, capture_output=True, timeout=20).returncode

    assert code() != 0
    here.touch()
    assert code() == 0
    old = time.time() - age - 5
    os.utime(here, (old, old))
    assert code() != 0
