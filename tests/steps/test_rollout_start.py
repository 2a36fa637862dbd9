"""A rollout starts once, for a version that may be used, in place of one that serves."""

import json

import pytest

from cd4ml.adapters.manifest import bundle_id
from cd4ml.domain.rollout.state import Phase
from cd4ml.errors import ConflictError, GateRejected, NotFoundError, UsageError
from cd4ml.steps.approval import decide_on_bundle
from cd4ml.steps.rollout_start import OWNER, start_from_training, start_rollout
from tests.pipelines.rollout_world import MODEL, QUICK, SERVICE, make_world, started


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def test_what_is_started_twice_is_one_rollout_with_the_bundles_of_both_versions(world):
    first = started(world)
    assert started(world) == first
    rollout = world.current
    bundles = [world.registry.get(MODEL, number).bundle for number in (1, 2)]
    assert [rollout.stable.bundle, rollout.candidate.bundle] == bundles
    assert (rollout.id, rollout.model, rollout.phase) == (first, MODEL, Phase.VERIFY)
    assert rollout.candidate.location == world.registry.storage_uri(world.registry.get(MODEL, 2))
    assert world.rollouts.ids(SERVICE) == [first]
    assert len(rollout.history) == 1


def test_a_policy_is_that_of_the_bundle_with_the_changes_and_kubeflows_doubles_are_whole_again(world):
    started(world, {"strategy": "blue_green", "shadow_requests": 7.0, "canary_percent": [5.0, 20.0]})
    policy = world.rollouts.current(SERVICE).policy
    own = json.loads((world.root / "new/problem.json").read_text())["rollout"]
    changed = {"strategy": "blue_green", "shadow_requests": 7, "canary_percent": [5, 20]}
    assert policy == {**own, **changed}


@pytest.mark.parametrize("changes", [{"strategy": "purple"}, {"sticki": "header:x"}, {"alpha": 2}])
def test_what_is_no_policy_is_refused_and_nothing_starts(world, changes):
    with pytest.raises(UsageError, match="no policy of a rollout"):
        started(world, changes)
    assert world.rollouts.services() == []


def test_another_policy_under_way_is_refused_and_another_attempt_is_another_rollout(world):
    first = started(world)
    with pytest.raises(UsageError, match="another policy"):
        started(world, {**QUICK, "alpha": 0.1})
    stored = world.rollouts.get(SERVICE, first)
    ended = type(stored.rollout).from_dict({**stored.rollout.to_dict(), "phase": "rolled_back"})
    world.rollouts.save(stored, ended)
    assert started(world) == first
    assert started(world, attempt=2) != first


@pytest.mark.parametrize("decision", ["reject", ""])
def test_a_version_that_no_verdict_accepts_is_not_rolled_out(world, decision):
    world.add("poor", decision)
    with pytest.raises(GateRejected, match="bikes@3 is not rolled out"):
        start_rollout(MODEL, "3", SERVICE, world.store)
    assert world.rollouts.services() == []


def test_what_needs_an_approval_is_rolled_out_once_one_stands_and_not_after_a_rejection(world):
    bundle = world.add("doubtful", "needs_approval")
    with pytest.raises(GateRejected, match="needs_approval"):
        start_rollout(MODEL, "3", SERVICE, world.store)
    verdict = json.loads((bundle.parent / "verdict.json").read_text())
    more = {"model": "bikes@3", "verdict": verdict, "store": world.store, "by": "ada", "reason": "seen"}
    decide_on_bundle(bundle, "approve", **more)
    assert start_rollout(MODEL, "3", SERVICE, world.store) == world.current.id
    decide_on_bundle(bundle, "reject", **more)
    with pytest.raises(GateRejected, match="rejected"):
        start_rollout(MODEL, "3", SERVICE, world.store)


def test_a_service_has_one_rollout_at_a_time(world):
    started(world)
    world.add("third")
    with pytest.raises(ConflictError, match="one goes at a time"):
        start_rollout(MODEL, "3", SERVICE, world.store)


def test_an_alias_is_no_version_and_a_champion_is_needed(world):
    with pytest.raises(UsageError, match="number of a version"):
        start_rollout(MODEL, "latest", SERVICE, world.store)
    with pytest.raises(NotFoundError):
        start_rollout(MODEL, "9", SERVICE, world.store)
    world.registry.set_alias(MODEL, "champion", None)
    with pytest.raises(UsageError, match="Serve a first version"):
        started(world)


def test_a_promoted_rollout_is_found_again_although_the_champion_is_its_candidate_now(world):
    world.good_until_the_end()
    with world.controlled():
        first = started(world)
        world.until(Phase.PROMOTED)
    assert world.registry.get(MODEL, "champion").version == 2
    assert started(world, run="b") == first
    assert world.rollouts.kept(world.current, OWNER) == {"run": "b"}


def test_what_serves_already_has_nothing_to_roll_out(world):
    world.registry.set_alias(MODEL, "champion", 2)
    with pytest.raises(UsageError, match="nothing to roll out"):
        started(world)


def registered(world, number):
    return {"name": MODEL, "version": str(number), "bundle": world.registry.get(MODEL, number).bundle}


def test_a_training_run_starts_the_rollout_of_what_was_accepted_or_approved(world):
    verdict = world.root / "new/verdict.json"
    args = registered(world, 2), verdict
    assert start_from_training(*args, "pending", SERVICE, world.store) == "not_approved"
    assert start_from_training(*args, "rejected", SERVICE, world.store) == "not_approved"
    assert world.rollouts.services() == []
    found = start_from_training(*args, "not_needed", SERVICE, world.store)
    assert found == world.current.id == start_from_training(*args, "approved", SERVICE, world.store)


def test_a_training_run_does_not_start_what_another_verdict_is_about(world):
    with pytest.raises(GateRejected, match="the verdict is about"):
        start_from_training(
            registered(world, 2), world.root / "old/verdict.json", "approved", SERVICE, world.store
        )
    assert world.rollouts.services() == []


def test_a_training_run_that_gave_the_champions_own_bundle_starts_nothing(world):
    told = registered(world, 1), world.root / "old/verdict.json"
    assert told[0]["bundle"] == bundle_id(world.root / "old/bundle")
    assert start_from_training(*told, "not_needed", SERVICE, world.store) == "already_serving"
    assert world.rollouts.services() == []
