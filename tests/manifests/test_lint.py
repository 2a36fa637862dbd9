"""`make lint-manifests` looks at all that is applied, and what it does not look at has a reason."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.lint_manifests import ROOT, builds, pods, rendered
from tests.manifests.rendering import BUILDS, ENVIRONMENTS, MANIFESTS, needs_kubectl
from tests.manifests.rendering import rendered as objects
from tests.manifests.test_hardening import weaknesses

_BIN = Path(sys.executable).parent


def test_all_that_is_applied_is_looked_at() -> None:
    names = {path.relative_to(MANIFESTS).as_posix() for path in builds()}
    assert names == {*BUILDS, *ENVIRONMENTS}


@needs_kubectl
def test_pods_of_custom_resources_are_looked_at_as_their_controllers_make_them() -> None:
    (shadow, stable) = sorted(
        pods(objects("overlays/standard-gateway-api-shadow")), key=lambda one: -len(one["metadata"]["name"])
    )
    assert shadow["metadata"]["name"] == "inferenceservice-bike-demand-shadow-0"
    assert stable["spec"]["securityContext"]["runAsNonRoot"] is True
    assert len(list(pods(objects("overlays/standard-gateway-api-canary")))) == 2
    assert len(list(pods(objects("seldon")))) == 2
    for one in (shadow, stable, *pods(objects("seldon"))):
        assert weaknesses(one["spec"]) == []
        assert one["spec"]["automountServiceAccountToken"] is False


@needs_kubectl
def test_a_weak_runtime_makes_a_weak_pod() -> None:
    documents = copy.deepcopy(objects("overlays/minimal"))
    (runtime,) = [one for one in documents if one["kind"] == "ServingRuntime"]
    runtime["spec"]["containers"][0]["securityContext"]["privileged"] = True
    (pod,) = pods(documents)
    assert any("privileged" in line for line in weaknesses(pod["spec"]))


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl")
def test_the_script_renders_what_the_tests_render() -> None:
    assert rendered(MANIFESTS / "seldon", str(shutil.which("kubectl"))) == objects("seldon")


def test_each_check_that_is_skipped_has_its_reason_and_there_are_few() -> None:
    lines = (ROOT / ".checkov.yaml").read_text(encoding="utf-8").splitlines()
    skipped = yaml.safe_load("\n".join(lines))["skip-check"]
    assert 0 < len(skipped) <= 6
    for check in skipped:
        place = lines.index(f"  - {check}")
        assert lines[place - 1].startswith("  # ") and len(lines[place - 1].split()) > 6, check


def test_the_lock_of_checkov_has_hashes_and_names_no_index() -> None:
    text = (ROOT / "requirements/checkov.txt").read_text(encoding="utf-8")
    (wanted,) = [one for one in (ROOT / "requirements/checkov.in").read_text().splitlines() if one[0] != "#"]
    assert f"\n{wanted} " in text and "--hash=sha256:" in text
    assert "index-url" not in text and "://" not in text


@pytest.mark.skipif(not (_BIN / "yamllint").exists(), reason="the package yamllint is not installed")
def test_yamllint_is_content_and_finds_what_is_wrong(tmp_path: Path) -> None:
    def lint(where: Path) -> subprocess.CompletedProcess[str]:
        command = [str(_BIN / "yamllint"), "--strict", "-c", str(ROOT / ".yamllint.yaml"), str(where)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    done = lint(MANIFESTS)
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.yaml").write_text("a: yes\na: 0644\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    for rule in ("truthy", "key-duplicates", "octal-values"):
        assert rule in done.stdout
