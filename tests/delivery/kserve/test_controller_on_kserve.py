"""The controller of a cluster, whole: registry, plane, verifier, Prometheus, champion and audit log."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.rollouts import RolloutStore
from cd4ml.adapters.storage import open_store
from cd4ml.cli.main import main
from cd4ml.cli.rollout_running import heart
from cd4ml.delivery.kserve.objects import BUNDLE, VERSION
from cd4ml.domain.rollout.state import Phase, Rollout, Target
from cd4ml.errors import UsageError
from cd4ml.problem import Rollout as Policy
from cd4ml.steps.rollout_cluster import kserve_controller, prometheus_evidence, start_on_cluster
from tests.adapters.s3_server import environment
from tests.delivery.kserve.counting import Counting, counting
from tests.delivery.kserve.scene import SERVICE, Scene, scene
from tests.delivery.running_plane import bundle
from tests.delivery.test_verifier import gateway
from tests.kubernetes.cluster import Cluster

MODEL = "people"
POLICY = """
shadow_requests: 200
canary_percent: [50]
min_requests: 400
slow_seconds: 0.1
watch_seconds: 0.3
step_seconds: 60
"""
_MOST_SECONDS = 40.0


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Version 1 is the champion; version 2 answers as the gateway of the verifier's tests does."""
    with environment(CD4ML_STORE=str(tmp_path / "store"), CD4ML_ACTOR="ann"), contextlib.chdir(tmp_path):
        found = Registry(open_store())
        for number in (1, 0):
            found.push(bundle(number), MODEL, verdict="accept")
        found.set_alias(MODEL, "champion", 1)
        Path("policy.yaml").write_text(POLICY)
        yield found


def _applied_by_kubectl(world: Scene, registry: Registry) -> None:
    """Make the service as somebody's manifests do."""
    one = registry.get(MODEL, 1)
    marks = {"serving.kserve.io/deploymentMode": world.mode, "serving.kserve.io/enable-tag-routing": "true"}
    predictor = {
        "labels": {"endpoint": "stable"},
        "annotations": {BUNDLE: one.bundle, VERSION: "1"},
        "model": {
            "modelFormat": {"name": "cd4ml"},
            "storageUri": registry.storage_uri(one),
            "args": [f"--name={SERVICE}", "--variant=stable", "--model-version=1"],
        },
    }
    document = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    document |= {"metadata": {"name": SERVICE, "annotations": marks}, "spec": {"predictor": predictor}}
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{world.settings.namespace}/inferenceservices"
    world.cluster.call("POST", path, document, fieldManager="kubectl")


@dataclass
class _Run:
    """What a rollout came to."""

    rollout: Rollout
    troubles: list[str] = field(default_factory=list)

    @property
    def phases(self) -> list[str]:
        return [str(entry.phase) for entry in self.rollout.history]


def _run(world: Scene, numbers: Counting, through: str) -> _Run:
    """Be the controller until the rollout has ended, and the gateway that takes our routes."""
    labels = {"namespace": world.settings.namespace}
    evidence = prometheus_evidence(numbers.url, labels, interval_seconds=0.2, stale_seconds=0.3)
    controller = kserve_controller(world.plane, evidence, Path("bundles"), through=through)
    started = start_on_cluster(MODEL, "latest", SERVICE, changes=Path("policy.yaml")).rollout
    stop, found, until = Event(), _Run(started), time.monotonic() + _MOST_SECONDS

    def report(_: str, rollout: Rollout | None, wrong: str) -> None:
        found.troubles += [wrong] if wrong else []
        found.rollout = rollout or found.rollout
        settled = found.rollout.ended and found.rollout.converged_at_seconds > 0
        if settled or time.monotonic() > until:
            stop.set()

    def looked() -> None:
        world.accept_route()

    controller.run(stop, [SERVICE], 0.02, report, looked)
    assert found.rollout.ended, (found.rollout.phase, found.rollout.waiting, found.troubles[-3:])
    return found


@pytest.mark.serving
@pytest.mark.parametrize("mode", ["Knative", "Standard"])
def test_a_version_is_verified_shadowed_proven_and_promoted(
    cluster: Cluster, registry: Registry, mode: str
) -> None:
    hosts: set[str] = set()
    with (
        scene(cluster, mode, adopt=True) as world,
        gateway(0.0, hosts) as (through, _),
        counting() as numbers,
    ):
        _applied_by_kubectl(world, registry)
        found = _run(world, numbers, through)
        assert found.phases == ["verify", "shadow", "canary", "watch", "promoted"]
        new = registry.get(MODEL, 2)
        predictor = world.spec()["predictor"]
        assert predictor["model"]["storageUri"] == registry.storage_uri(new)
        assert predictor["annotations"][BUNDLE] == new.bundle
        assert not world.service(f"{SERVICE}-shadow")
    first = {"Knative": f"latest-{SERVICE}-predictor", "Standard": f"{SERVICE}-v2-{new.bundle[:6]}-predictor"}
    assert hosts == {f"{first[mode]}.{cluster.namespace}.svc.cluster.local"}
    asked = {(one["model"], one["version"], one["variant"], one["namespace"]) for one in numbers.asked}
    variants = (("1", "stable"), ("2", "shadow"), ("2", "canary"))
    assert asked == {(SERVICE, *one, cluster.namespace) for one in variants}
    assert registry.aliases(MODEL) == {"champion": 2}
    told = [line for line in AuditLog(open_store()).lines() if line.kind == "rollout"]
    assert [line.facts["to"] for line in told] == found.phases[1:]


@pytest.mark.serving
def test_a_version_that_fails_requests_is_taken_back(cluster: Cluster, registry: Registry) -> None:
    with (
        scene(cluster, "Knative", adopt=True) as world,
        gateway(0.0) as (through, _),
        counting() as numbers,
    ):
        _applied_by_kubectl(world, registry)
        numbers.failing = 0.2
        found = _run(world, numbers, through)
        assert found.phases == ["verify", "shadow", "rolled_back"]
        assert found.rollout.history[-1].reasons[0].startswith("errors: worse than the stable version")
        assert world.spec()["predictor"]["model"]["storageUri"] == registry.storage_uri(
            registry.get(MODEL, 1)
        )
    assert registry.aliases(MODEL) == {"champion": 1}
    again = start_on_cluster(MODEL, "2", SERVICE).rollout
    assert again.id != found.rollout.id and not again.ended
    assert start_on_cluster(MODEL, "2", SERVICE).rollout.id == again.id


@pytest.mark.serving
def test_a_version_that_answers_otherwise_than_judged_gets_no_request(
    cluster: Cluster, registry: Registry
) -> None:
    with (
        scene(cluster, "Knative", adopt=True) as world,
        gateway(0.25) as (through, _),
        counting() as numbers,
    ):
        _applied_by_kubectl(world, registry)
        found = _run(world, numbers, through)
        assert found.phases == ["verify", "rolled_back"]
    assert numbers.asked == []


def _rollout(phase: Phase) -> Rollout:
    new, old = Target("m@2", "2", "b2"), Target("m@1", "1", "b1")
    return Rollout("r", SERVICE, new, old, phase, converged_at_seconds=time.time() - 2)


def test_without_a_prometheus_a_step_is_held_and_watching_goes_on() -> None:
    source = prometheus_evidence("")
    assert source.collect(_rollout(Phase.CANARY), Policy(), time.time()).holds
    assert source.collect(_rollout(Phase.WATCH), Policy(), time.time()).holds == ()


def test_outcomes_that_are_required_are_missed_where_nobody_has_them() -> None:
    with counting() as numbers:
        numbers.began -= 3
        source = prometheus_evidence(numbers.url, {}, 0.2, 0.3)
        wanted = Policy(outcomes="required", slow_seconds=0.1)
        found = source.collect(_rollout(Phase.SHADOW), wanted, time.time())
        assert found.evidence and found.doubts == (
            "the policy requires outcomes, and no source of a cluster has them",
        )
        assert source.collect(_rollout(Phase.CANARY), wanted, time.time()).doubts == ()


@pytest.mark.parametrize(
    ("changes", "word"),
    [("sticky: header:x-user", "sticky"), ("canary_percent: [2.5, 50]", "whole percents")],
)
def test_a_policy_that_no_cluster_can_follow_is_refused(
    registry: Registry, capsys: pytest.CaptureFixture[str], changes: str, word: str
) -> None:
    Path("policy.yaml").write_text(changes)
    words = ["rollout", "start", f"{MODEL}@2", "--plane", "kserve", "--policy", "policy.yaml"]
    assert main(words) == 2
    assert word in capsys.readouterr().err
    assert RolloutStore(open_store()).services() == []


def test_a_rollout_is_started_in_the_store_alone(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(CD4ML_PLANE="kserve"):
        assert main(["rollout", "start", f"{MODEL}@2", "--service", SERVICE]) == 0
        for more, word in (("--run", "Deployment"), ("--force", "cd4ml models approve")):
            assert main(["rollout", "start", f"{MODEL}@2", "--service", SERVICE, more]) == 2
            assert word in capsys.readouterr().err
        assert main(["rollout", "start", str(bundle(0))]) == 2
    found = RolloutStore(open_store()).current(SERVICE).rollout
    assert (found.model, found.stable.version, found.candidate.version) == (MODEL, "1", "2")
    assert found.candidate.location == registry.storage_uri(registry.get(MODEL, 2))


@pytest.mark.serving
def test_the_command_acts_on_the_cluster_that_the_environment_names(
    cluster: Cluster, registry: Registry, tmp_path: Path
) -> None:
    start_on_cluster(MODEL, "2", SERVICE)
    beat = tmp_path / "beat"
    with scene(cluster, "Knative", adopt=True) as world:
        _applied_by_kubectl(world, registry)
        named = {
            "CD4ML_PLANE": "kserve",
            "CD4ML_NAMESPACE": cluster.namespace,
            "CD4ML_ADOPT": "true",
            "CD4ML_MODE": "",
            "CD4ML_GATEWAY": "",
            "CD4ML_HOSTS": "m.example.com",
            "CD4ML_ISTIO_GATEWAYS": "istio-system/public mesh",
            "CD4ML_PROMETHEUS_URL": "http://127.0.0.1:9",
            "CD4ML_PROMETHEUS_LABELS": f"namespace={cluster.namespace}",
            "KUBECONFIG": str(cluster.kubeconfig),
        }
        assert main(["rollout", "abort", SERVICE, "--reason", "wrong version"]) == 0
        words = ["rollout", "run", SERVICE, "--until-ended", "--interval", "0.05", "--heartbeat", str(beat)]
        done = subprocess.run(
            [sys.executable, "-m", "cd4ml.cli", *words],
            check=False,
            env={**os.environ, **named},
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found = RolloutStore(open_store()).current(SERVICE).rollout
        assert found.phase is Phase.ABORTED and found.converged_at_seconds > 0
    assert time.time() - beat.stat().st_mtime < 60


def test_what_a_cluster_needs_is_said(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "run", "--plane", "kserve"]) == 2
    assert "--namespace" in capsys.readouterr().err
    words = ["rollout", "run", "--plane", "kserve", "--namespace", "models"]
    assert main([*words, "--prometheus-url", "http://h:1", "--prometheus-label", "namespace"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_each_beat_is_newer_and_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    assert heart(None) is None
    path = tmp_path / "beat"
    beat = heart(path)
    assert beat is not None and path.exists()
    os.utime(path, (1, 1))
    beat()
    assert path.stat().st_mtime > 1
    with pytest.raises(UsageError, match="No such file"):
        heart(tmp_path / "none" / "beat")
