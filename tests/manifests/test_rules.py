"""The alerts fire when they should, by Prometheus' own tool, and speak of metrics that the server has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cd4ml.serving.telemetry import ERROR_KINDS, EVENT_RESULTS, OUTCOMES, Telemetry, page
from tests.manifests.rendering import source_documents

_TESTS = Path(__file__).with_name("rules_test.yaml")
_PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not _PROMTOOL, reason="no promtool (Debian's package prometheus)")


def _groups() -> list[dict[str, Any]]:
    (rule,) = [one for name, one in source_documents().items() if name.endswith("PrometheusRule/cd4ml")]
    groups: list[dict[str, Any]] = rule["spec"]["groups"]
    return groups


def _expressions() -> str:
    return "\n".join(rule["expr"] for group in _groups() for rule in group["rules"])


def _promtool(folder: Path, groups: list[dict[str, Any]], *command: str) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    (folder / "rules_test.yaml").write_text(_TESTS.read_text())
    return subprocess.run(
        [str(_PROMTOOL), *command], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@needs_promtool
def test_rules_are_rules(tmp_path: Path) -> None:
    done = _promtool(tmp_path, _groups(), "check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 rules found" in done.stdout


@needs_promtool
def test_alerts_fire_and_are_silent_as_they_should(tmp_path: Path) -> None:
    done = _promtool(tmp_path, _groups(), "test", "rules", "rules_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("alert", [rule["alert"] for rule in _groups()[1]["rules"]])
def test_an_alert_that_cannot_fire_is_seen(tmp_path: Path, alert: str) -> None:
    groups = _groups()
    (rule,) = [one for one in groups[1]["rules"] if one["alert"] == alert]
    rule = rule | {"expr": f"({rule['expr']}) > 1e12"}
    others = [one for one in groups[1]["rules"] if one["alert"] != alert]
    done = _promtool(
        tmp_path, [groups[0], groups[1] | {"rules": [*others, rule]}], "test", "rules", "rules_test.yaml"
    )
    assert done.returncode != 0
    assert alert in done.stdout + done.stderr


def test_rules_use_metrics_and_labels_that_the_server_has() -> None:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    telemetry = Telemetry("m", "1", "stable", registry)
    telemetry.in_service("b", True)
    text = page(registry)[0].decode()
    used = set(re.findall(r"\bcd4ml_\w+", _expressions()))
    assert len(used) == 5
    for name in used:
        assert re.search(rf"^{name}[{{ ]", text, re.MULTILINE), name
    allowed = {"outcome": OUTCOMES, "kind": ERROR_KINDS, "result": EVENT_RESULTS}
    matchers = re.findall(r'(\w+)(?:=|!=|=~)"([^"]+)"', _expressions())
    assert matchers
    for label, values in matchers:
        assert set(values.split("|")) <= set(allowed[label])


def test_each_alert_says_what_and_how_bad() -> None:
    for rule in _groups()[1]["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} <= rule["annotations"].keys()
