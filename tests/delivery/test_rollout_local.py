"""Rollouts on a real plane: a gateway, servers, traffic, and the commands."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from cd4ml.cli.main import main
from cd4ml.delivery.local.plane import LocalPlane
from tests.adapters.s3_server import environment
from tests.delivery.running_plane import SERVICE, Caller, Load, bundle

POLICY = """
shadow_requests: 30
canary_percent: [20, 50]
min_requests: 100
negligible_fraction: 0.3
slow_seconds: 5
step_seconds: 120
ready_seconds: 60
watch_seconds: 2
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Registry]:
    with environment(CD4ML_STORE=str(tmp_path / "store"), CD4ML_ACTOR="ann"), contextlib.chdir(tmp_path):
        registry = Registry(open_store())
        for number in (1, 2):
            registry.push(bundle(number), SERVICE, verdict="accept")
        registry.set_alias(SERVICE, "champion", 1)
        Path("policy.yaml").write_text(POLICY)
        assert main(["serve", f"{SERVICE}@1", "--detach"]) == 0
        try:
            yield registry
        finally:
            main(["serve", "stop"])


def _url() -> str:
    return LocalPlane(Path(".cd4ml/serve")).observe(SERVICE).url


@pytest.mark.serving
def test_a_good_model_takes_over(
    served: Registry, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Load(_url(), callers=3) as load:
        words = [f"{SERVICE}@2", "--policy", "policy.yaml", "--run", "--interval", "0.2", "--json"]
        code = main(["rollout", "start", *words])
        said = capsys.readouterr()
        assert code == 0, said.err
    found = json.loads(said.out[said.out.index("{") :])
    rollout = found["rollout"]
    phases = [entry["phase"] for entry in rollout["history"]]
    assert phases == ["verify", "shadow", "canary", "canary", "watch", "promoted"]
    assert load.wrong == [] and load.lost == []
    assert served.aliases(SERVICE) == {"champion": 2}
    assert Caller(_url()).ask().version == "2"
    told = [line for line in AuditLog(open_store()).lines() if line.kind == "rollout"]
    assert [line.facts["to"] for line in told] == phases[1:]
    assert main(["rollout", "watch", SERVICE, "--html", "page.html"]) == 0
    assert "is promoted" in Path("page.html").read_text()
    assert "errors" in Path("page.html").read_text()


@pytest.mark.serving
def test_what_a_person_takes_back_is_gone(served: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    with Load(_url(), callers=2):
        words = [f"{SERVICE}@2", "--policy", "policy.yaml", "--detach", "--interval", "0.2"]
        assert main(["rollout", "start", *words]) == 0
        assert main(["rollout", "start", *words[:3]]) == 0  # the same again is the same
        assert main(["serve", "set", SERVICE, "--weight", "50"]) == 2
        assert "rollout abort" in capsys.readouterr().err
        assert main(["rollout", "rollback", SERVICE, "--reason", "customers complain"]) == 0
        assert main(["rollout", "watch", SERVICE, "--interval", "0.2"]) == 5
    said = capsys.readouterr()
    assert "customers complain" in said.err.splitlines()[-1]
    end = LocalPlane(Path(".cd4ml/serve")).wait(SERVICE, 60)
    assert [(one.name, one.version) for one in end.variants] == [("stable", "1")]
    assert served.aliases(SERVICE) == {"champion": 1}
    assert main(["rollout", "history", SERVICE, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)[0]["history"]
    assert (entries[-1]["by"], entries[-1]["phase"]) == ("ann", "rolled_back")
    assert os.environ["CD4ML_ACTOR"] == "ann"
