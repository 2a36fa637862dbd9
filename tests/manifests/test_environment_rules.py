"""The alerts about an environment fire when they should, by Prometheus' own tool, and name what is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.rendering import needs_kubectl, of_kind, rendered, source_documents

_TESTS = Path(__file__).with_name("environment_rules_test.yaml")
_PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not _PROMTOOL, reason="no promtool (Debian's package prometheus)")


def _groups() -> list[dict[str, Any]]:
    (rule,) = [
        one for name, one in source_documents().items() if name.endswith("PrometheusRule/cd4ml-environment")
    ]
    return list(rule["spec"]["groups"])


def _test(folder: Path, groups: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    (folder / "tests.yaml").write_text(_TESTS.read_text())
    command = [str(_PROMTOOL), "test", "rules", "tests.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@needs_promtool
def test_alerts_fire_and_are_silent_as_they_should(tmp_path: Path) -> None:
    done = _test(tmp_path, _groups())
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_an_alert_that_cannot_fire_is_seen(tmp_path: Path) -> None:
    (group,) = _groups()
    for rule in group["rules"]:
        others = [one for one in group["rules"] if one is not rule]
        silent = {**rule, "expr": f"({rule['expr']}) > 1e12"}
        done = _test(tmp_path, [{**group, "rules": [*others, silent]}])
        assert done.returncode != 0 and rule["alert"] in done.stdout + done.stderr


@needs_kubectl
def test_alerts_speak_of_objects_that_are_there() -> None:
    documents = rendered("environments/dev")
    text = json.dumps(_groups())
    for label, kind in (
        ("deployment", "Deployment"),
        ("statefulset", "StatefulSet"),
        ("resourcequota", "ResourceQuota"),
    ):
        named = set(re.findall(rf'{label}=\\"([a-z0-9-]+)\\"', text))
        assert named == {one["metadata"]["name"] for one in of_kind(documents, kind)}
    (workload,) = of_kind(documents, "StatefulSet")
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    volume = f"{claim['metadata']['name']}-{workload['metadata']['name']}-0"
    (pattern,) = set(re.findall(r'persistentvolumeclaim=~\\"([^"\\]+)\\"', text))
    assert re.fullmatch(pattern, volume)
