"""Programs of others as the doctor meets them: in PATH, broken, too old, or not there."""

import json
from pathlib import Path
from typing import Any

import pytest

from cd4ml.domain.checkup import Finding
from cd4ml.steps.doctor import Settings, examine
from tests.adapters.s3_server import environment

INFO = {
    "host": {
        "ociRuntime": {"name": "runc"},
        "cgroupVersion": "v2",
        "security": {"rootless": False},
    }
}


class Programs:
    """A folder that is all of PATH, with programs that say what they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def program(self, name: str, says: str, code: int = 0) -> None:
        path = self.folder / name
        (self.folder / f"{name}.said").write_text(says)
        path.write_text(f"#!/bin/sh\n/bin/cat '{path}.said'\nexit {code}\n")
        path.chmod(0o755)

    def found(self, area: str, **more: Any) -> dict[str, Finding]:
        with environment(PATH=str(self.folder), CONTAINERS_CONF=None, DOCKER_HOST="tcp://127.0.0.1:9"):
            return {one.name: one for one in examine(Settings(**more), [area])}


@pytest.fixture
def path(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "bin")


def test_without_any_program_each_says_what_brings_it(path: Programs) -> None:
    found = path.found("programs", use="ci")
    assert found["git"].blocks and found["git"].fix == "apt-get install git"
    assert found["kubectl"].status == "fail" and "install kubectl" in found["kubectl"].fix
    assert found["chromium"].status == found["prometheus"].status == "warn"
    engines = path.found("containers", use="containers")
    assert engines["engine"].blocks and engines["builder"].blocks
    assert engines["podman"].status == "skipped"
    assert (engines["socket"].status, engines["socket"].fix) != ("ok", "")


def test_an_engine_that_answers_is_found_behind_one_that_does_not(path: Programs) -> None:
    path.program("docker", "Cannot connect to the Docker daemon", 1)
    found = path.found("containers", use="containers")
    assert "Cannot connect to the Docker daemon" in found["engine"].found
    assert "CONTAINERS_CONF" in found["engine"].fix
    path.program("podman", json.dumps(INFO))
    path.program("buildah", "buildah version 1.28.2 (image-spec 1.0.2)")
    found = path.found("containers", use="containers")
    assert (found["engine"].status, found["engine"].found) == ("ok", "podman answers")
    assert found["builder"].found.endswith("buildah 1.28.2")


def test_a_podman_that_does_not_tell_of_itself_fails_and_its_quirks_warn(path: Programs) -> None:
    path.program("podman", "Error: cannot re-exec process", 125)
    found = path.found("containers")["podman"]
    assert found.status == "fail" and "cannot re-exec process" in found.found
    hybrid = {"host": {**INFO["host"], "ociRuntime": {"name": "crun"}, "cgroupVersion": "v1"}}
    path.program("podman", f"WARN[0000] something\n{json.dumps(hybrid)}")
    found = path.found("containers")["podman"]
    assert found.status == "warn" and "hybrid" in found.found and "apt-get install runc" in found.fix


@pytest.mark.parametrize(
    ("says", "status"),
    [("Client Version: v1.32.4", "ok"), ("Client Version: v1.26.9", "fail"), ("cannot", "fail")],
)
def test_a_kubectl_must_be_new_enough(says: str, status: str, path: Programs) -> None:
    path.program("kubectl", says)
    assert path.found("programs")["kubectl"].status == status


def test_a_repository_is_told_with_its_commit_and_its_absence_too(path: Programs, tmp_path: Path) -> None:
    path.program("git", "git version 2.39.5")
    found = path.found("programs", folder=tmp_path)["git"]
    assert found.status in ("ok", "warn") and found.found.startswith("2.39.5")


def test_a_browser_that_is_broken_is_no_browser(path: Programs) -> None:
    path.program("google-chrome", "libnss3.so: cannot open shared object file", 127)
    found = path.found("programs")["chromium"]
    assert found.status == "warn" and "google-chrome does not run" in found.found
    path.program("chromium", "Chromium 156.0.8078.79 built on Debian")
    assert path.found("programs")["chromium"].found == "156.0.8078.79 (chromium)"
