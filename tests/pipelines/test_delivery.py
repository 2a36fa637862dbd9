"""The compiled delivery pipeline on this machine, with a controller that acts on the same store."""

import json
import signal
import subprocess
import sys
import time

import pytest
import yaml

from cd4ml.adapters.kubeflow import package, run_local
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.rollouts import RolloutStore
from cd4ml.adapters.storage import FolderStorage
from cd4ml.domain.rollout.state import Phase
from cd4ml.errors import GateRejected, RolledBack, ServiceError
from tests.loop.small_shop import write_shop
from tests.pipelines.rollout_world import GOOD, HARM, MODEL, QUICK, SERVICE, make_world, started

pytestmark = pytest.mark.xdist_group("kubeflow")
slow = pytest.mark.serving


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def arguments(world, **more):
    return {
        "model": MODEL,
        "version": "2",
        "service": SERVICE,
        "store": world.store,
        "policy": QUICK,
        "look_seconds": 0.05,
        "silent_seconds": 30.0,
        **more,
    }


def delivered(world, **more):
    lines = []
    more = {"log": lines.append, **more}
    log = more.pop("log")
    return run_local(package("delivery"), arguments(world, **more), world.root / "out", log=log), lines


def tasks_of(world):
    """Return what the newest run's tasks gave, by name: also those of a run that failed."""
    files = sorted((world.root / "out/runs").glob("*/tasks/events.jsonl"))
    events = [json.loads(line) for line in files[-1].read_text().splitlines()]
    return {one["task"]: one for one in events if one["event"] in ("finished", "failed")}


@slow
def test_a_good_model_is_verified_shadowed_and_promoted_and_its_pages_are_kept(world):
    world.good_until_the_end()
    with world.controlled():
        run, _ = delivered(world)
    assert run.parameters("conclude") == {
        "decision": "promoted", "version": "2", "reasons": list(world.current.history[-1].reasons)
    }  # fmt: skip
    assert run.parameters("leave-stable")["Output"] in ("nothing", "promoted")
    assert run.parameters("start-rollout")["Output"] == world.current.id
    waits = [one for one in run.tasks if one.name.startswith("await-phase")]
    assert [one.parameters["Output"] for one in waits] == ["passed"] * 5
    assert "bikes@2 is promoted" in run.path("rollout-page", "page").read_text()
    assert run.task("await-phase-5").metadata["progress"]["canary_percent"] == 100.0
    assert world.registry.get(MODEL, "champion").version == 2


@slow
def test_a_model_that_harms_ends_the_run_with_the_reason_after_its_page_and_conclusion(world):
    world.evidence.told = {Phase.SHADOW: GOOD, Phase.CANARY: HARM}
    with world.controlled(), pytest.raises(RolledBack, match="bikes@2 was not promoted") as error:
        delivered(world)
    assert error.value.exit_code == 5
    tasks = tasks_of(world)
    assert tasks["conclude"]["parameters"]["decision"] == "rolled_back"
    assert tasks["conclude"]["parameters"]["version"] == "1"
    assert "rollout-page" in tasks
    assert tasks["await-phase-6"]["event"] == "failed"
    assert tasks["leave-stable"]["parameters"]["Output"] in ("nothing", "rolled_back")
    assert world.plane.desired.stable.version == "1"
    assert world.registry.get(MODEL, "champion").version == 1


@slow
def test_when_a_task_fails_the_exit_handler_leaves_the_stable_version_serving(world):
    with world.controlled(), pytest.raises(ServiceError, match="has not come so far in 1 s: shadow"):
        delivered(world, wait_seconds=1.0)
    assert world.current.phase is Phase.ABORTED
    assert tasks_of(world)["leave-stable"]["parameters"]["Output"] == "aborted"
    assert world.plane.desired.stable.version == "1"
    assert world.plane.desired.shadow is None


@slow
def test_a_version_that_was_not_accepted_fails_the_start_and_the_rollout_of_another_run_goes_on(world):
    world.add("poor", "reject")
    with world.controlled():
        rollout = started(world)
        with pytest.raises(GateRejected, match="bikes@3 is not rolled out"):
            delivered(world, version="3")
        assert tasks_of(world)["leave-stable"]["parameters"]["Output"] == "nothing"
    assert (world.current.id, world.current.ended) == (rollout, False)


@slow
def test_a_run_that_was_killed_while_it_waited_is_taken_up_by_the_next_one_with_the_same_rollout(world):
    file = world.root / "arguments.json"
    file.write_text(json.dumps(arguments(world)))
    code = (
        "import json, sys; from pathlib import Path; from cd4ml.adapters.kubeflow import package, run_local;"
        "run_local(package('delivery'), json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))"
    )
    with world.controlled():
        first = subprocess.Popen([sys.executable, "-c", code, str(file), str(world.root / "out")])
        world.until(Phase.SHADOW)
        end = time.monotonic() + 30
        while "await-phase" not in tasks_of(world):
            assert time.monotonic() < end
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        first.wait()
        before = world.current
        assert before.phase is Phase.SHADOW
        world.good_until_the_end()
        run, _ = delivered(world)
    assert run.parameters("start-rollout")["Output"] == before.id
    assert world.rollouts.ids(SERVICE) == [before.id]
    assert run.parameters("conclude")["decision"] == "promoted"


@slow
def test_a_person_approves_in_between_and_blue_green_moves_all_requests_at_once(world):
    world.good_until_the_end()
    asked = []

    def approve(line):
        # The third wait has ended: the rollout stands before the approval.
        if line.startswith("await-phase-3"):
            asked.append(world.current.phase)
            world.ask("approve")

    with world.controlled():
        policy = {**QUICK, "strategy": "blue_green", "automatic": False}
        run, _ = delivered(world, policy=policy, log=approve)
    assert asked == [Phase.APPROVAL]
    assert world.current.approved_by == "ada"
    assert run.parameters("conclude")["decision"] == "promoted"
    assert world.plane.shares == [(0, 0), (100, 0), (0, 0)]


def test_the_compiled_pipeline_waits_without_a_cache_and_tries_again_what_may_be_run_twice():
    found = next(yaml.safe_load_all(package("delivery").read_text()))
    tasks = dict(found["root"]["dag"]["tasks"])
    for spec in found["components"].values():
        tasks |= spec.get("dag", {}).get("tasks", {})
    own = {name: task for name, task in tasks.items() if not name.startswith(("exit-handler", "condition"))}
    assert len(own) == 10
    assert not [name for name, task in own.items() if task["cachingOptions"].get("enableCache")]
    assert {name for name, task in own.items() if "retryPolicy" not in task} == {"await-phase-6"}
    assert own["leave-stable"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    runs = [own[name]["inputs"]["parameters"]["run"] for name in ("leave-stable", "start-rollout")]
    assert runs == [{"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}] * 2


@pytest.mark.loop
def test_a_training_run_starts_the_rollout_where_an_endpoint_is_named(tmp_path):
    shop = write_shop(tmp_path / "shop")
    given = {"problem": str(shop / "problem.yaml"), "data": str(shop), "store": str(tmp_path / "store")}
    first = run_local(package("training"), given, tmp_path / "out")
    assert first.parameters("start-from-training") == {}
    made = first.parameters("register")
    registry = Registry(FolderStorage(given["store"]))
    registry.set_alias(made["name"], "champion", 1)
    # The same problem would give the champion's own bundle, which is not rolled out again.
    changed = shop / "problem.yaml"
    changed.write_text(changed.read_text().replace("resamples: 200", "resamples: 150"))
    again = run_local(package("training"), {**given, "rollout_service": "shop"}, tmp_path / "out")
    rollout = RolloutStore(registry.storage).current("shop").rollout
    assert again.parameters("start-from-training") == {"Output": rollout.id}
    assert rollout.candidate.bundle == again.parameters("register")["bundle"]
    assert (rollout.stable.version, rollout.phase) == ("1", Phase.VERIFY)
