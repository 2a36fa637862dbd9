"""What the controller does at each look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.delivery.evidence.source import Collected
from cd4ml.delivery.plane import DesiredService
from cd4ml.delivery.trail import MOST_POINTS, grown
from cd4ml.delivery.wanted import contradictions, desired_of, differences, rules_of, wanted_champion
from cd4ml.domain.rollout.decide import Seen, decide
from cd4ml.domain.rollout.state import Phase, Rollout
from cd4ml.domain.sequential.verdict import Action, Evidence, Judgement
from cd4ml.errors import ConflictError, NotFoundError, ServiceError
from cd4ml.problem import Rollout as Policy
from tests.delivery.fake_plane import NEW, OLD, SERVICE, Killed, Scene, World

POLICY = Policy(canary_percent=[10, 50], shadow_requests=500, min_requests=1000, watch_seconds=30)
HARM = Collected((Evidence("errors", 50.0, 0.0, 5000),), (), 5000)


def scene(policy: Policy = POLICY, **world: Any) -> Scene:
    return Scene(World(3, per_interval=3000, **world), policy)


def instead(part: str, name: str, found: Callable[[], Any]) -> Callable[[str, str, Callable[[], Any]], Any]:
    """Return a hook that answers one call in another way."""

    def hook(at: str, called: str, act: Callable[[], Any]) -> Any:
        return found() if (at, called) == (part, name) else act()

    return hook


def failing(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def test_a_good_model_is_promoted_and_all_is_told() -> None:
    found = scene()
    found.go_on(found.controller(), 60)
    assert found.rollout.phase is Phase.PROMOTED
    assert found.champion == 2
    assert found.world.actual.variants.keys() == {"stable"}
    lines = [line for line in AuditLog(found.storage).lines() if line.kind == "rollout"]
    assert [line.facts["to"] for line in lines] == [str(entry.phase) for entry in found.rollout.history]
    points = found.store.kept(found.rollout, "trail")["points"]
    assert {point["phase"] for point in points} >= {"verify", "shadow", "canary", "watch"}


def test_harm_after_the_promotion_takes_it_back() -> None:
    found = scene()
    found.go_on(found.controller(), 60, until=Phase.WATCH)
    assert found.champion == 2
    late = found.controller(instead("world", "collect", lambda: HARM))
    found.world.now += 100
    found.go_on(late, 8)
    assert found.rollout.phase is Phase.ROLLED_BACK, "it was promoted without being watched"
    assert (found.champion, found.world.actual.stable.version) == (1, "1")


def test_absent_evidence_after_the_promotion_does_not_take_it_back() -> None:
    found = scene()
    found.go_on(found.controller(), 60, until=Phase.WATCH)
    found.world.now += 100
    found.go_on(found.controller(instead("world", "collect", lambda: Collected(()))), 20)
    assert found.rollout.phase is Phase.PROMOTED


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("observe", ServiceError("503")),
        ("collect", ServiceError("503")),
        ("collect", RuntimeError("a bug")),
        ("collect", TimeoutError("timed out")),
        ("observe", NotFoundError("it is gone")),
    ],
)
def test_what_goes_wrong_outside_holds(name: str, error: Exception) -> None:
    found = scene()
    found.go_on(found.controller(), 60, until=Phase.CANARY)
    found.go_on(found.controller(), 1)
    found.world.now += 100
    before = found.rollout
    found.go_on(found.controller(instead("world", name, failing(error))), 20)
    assert (found.rollout.phase, found.rollout.step) == (before.phase, before.step)
    assert any(str(error) in one for one in found.rollout.waiting)
    found.world.now += 100
    found.go_on(found.controller(), 60)
    assert found.rollout.phase is Phase.PROMOTED


def test_good_evidence_with_a_hold_promotes_nothing() -> None:
    found = scene()
    good = Collected((Evidence("errors", 0.0, 50.0, 10**6),), ("the log is silent",), 10**6)
    found.go_on(found.controller(instead("world", "collect", lambda: good)), 40)
    assert found.rollout.phase is Phase.SHADOW
    assert found.rollout.waiting == ("the log is silent",)


def test_a_service_that_somebody_removed_is_not_made_again() -> None:
    found = scene()
    applied: list[str] = []

    def hook(part: str, name: str, act: Callable[[], Any]) -> Any:
        if (part, name) == ("world", "observe"):
            raise NotFoundError("it is gone")
        if name == "apply":
            applied.append(name)
        return act()

    found.go_on(found.controller(hook), 3)
    assert applied == []


def test_a_command_that_means_nothing_is_noted_and_the_next_is_taken_up() -> None:
    found = scene()
    for word in ("dance", "approve", "pause"):
        found.store.ask(found.rollout, word, "ann", "because", 1.0)
    found.storage.data["rollouts/shop/r1/commands/000004.json"] = b"{"
    controller = found.controller()
    found.go_on(controller, 2)
    assert (found.rollout.paused, found.rollout.commands_taken) == ("because", 4)
    reasons = [entry.reasons[0] for entry in found.rollout.history]
    assert "not taken up: 'dance' is no command" in reasons
    assert any("'approve' means nothing" in one for one in reasons)
    found.go_on(controller, 20)
    assert found.rollout.phase is Phase.VERIFY


def test_a_third_champion_holds_and_does_not_keep_harm() -> None:
    found = scene()
    controller = found.controller()
    found.go_on(controller, 60, until=Phase.CANARY)
    found.storage.data["models/shop/versions/3.json"] = found.storage.data["models/shop/versions/2.json"]
    found.registry.set_alias("shop", "champion", 3)
    found.go_on(controller, 20)
    assert found.rollout.phase is Phase.CANARY
    assert "somebody made version 3 the champion" in found.rollout.waiting[0]
    found.world.now += 100
    found.go_on(found.controller(instead("world", "collect", lambda: HARM)), 3)
    assert (found.rollout.phase, found.champion) == (Phase.ROLLED_BACK, 3)


def test_who_lost_the_lease_does_nothing_any_more() -> None:
    found = scene()
    old, new = found.controller(), found.controller()
    old.tick(SERVICE)
    with pytest.raises(ConflictError, match="'c1' acts for 'shop'"):
        new.tick(SERVICE)
    found.world.now += 31
    new.tick(SERVICE)
    before = found.world.desired
    with pytest.raises(ConflictError):
        found.world.apply(SERVICE, replace(before, fence=before.fence - 1))
    with pytest.raises(ConflictError):
        found.registry.set_alias("shop", "champion", 2, fence=(SERVICE, before.fence - 1))


def test_what_cannot_be_told_is_not_promoted_but_taken_back() -> None:
    found = scene()
    controller = found.controller()
    found.go_on(controller, 60, until=Phase.CANARY)
    kept = found.storage.data.pop("audit/head.json")
    found.storage.data["audit/head.json"] = b"{"
    found.go_on(controller, 20)
    assert (found.rollout.phase, found.rollout.step) == (Phase.CANARY, 0)
    assert "the audit log cannot be told" in found.rollout.waiting[0]
    found.world.now += 100
    found.go_on(found.controller(instead("world", "collect", lambda: HARM)), 3)
    assert found.rollout.phase is Phase.ROLLED_BACK
    found.storage.data["audit/head.json"] = kept


def test_it_runs_until_it_is_told_to_stop_and_gives_its_lease_back() -> None:
    found, stop, told = scene(), Event(), []

    def report(service: str, rollout: Rollout | None, wrong: str) -> None:
        found.world.step()
        told.append((service, rollout.phase if rollout else None, wrong))
        if len(told) == 5:
            stop.set()

    found.controller().run(stop, interval_seconds=0.0, report=report)
    assert {one[0] for one in told} == {SERVICE}
    found.controller().tick(SERVICE)  # at once, without waiting for a lease to end


def test_a_plane_that_is_as_wanted_is_left_alone_once_it_knows_the_fence() -> None:
    found = scene(POLICY.model_copy(update={"automatic": False}))
    found.go_on(found.controller(), 60, until=Phase.APPROVAL)
    calls: list[str] = []

    def hook(part: str, name: str, act: Callable[[], Any]) -> Any:
        calls.extend([name] * (name == "apply"))
        return act()

    found.world.now += 31
    before = found.world.desired.fence
    found.go_on(found.controller(hook), 10)
    assert found.rollout.phase is Phase.APPROVAL
    assert (len(calls), found.world.desired.fence) == (1, before + 1)


def test_a_killed_controller_leaves_no_promotion_undone() -> None:
    found = scene()
    found.go_on(found.controller(), 60, until=Phase.CANARY)
    found.world.now += 100
    for _ in range(30):
        found.world.step()
        try:
            found.controller(instead("world", "apply", failing(Killed()))).tick(SERVICE)
        except Killed:
            found.world.now += 31
    assert found.world.actual.stable.version == "1"
    found.go_on(found.controller(), 60)
    assert found.rollout.ended and found.world.actual.variants.keys() == {"stable"}


def test_what_is_wanted_in_each_phase() -> None:
    rollout = Rollout("r9", SERVICE, NEW, replace(OLD, history="/tables"), model="shop")
    canary = replace(rollout, phase=Phase.CANARY, step=1)
    wanted = desired_of(canary, POLICY, 7)
    assert (wanted.canary_percent, wanted.salt, wanted.fence) == (50, "r9", 7)
    assert wanted.stable.history == "/tables"
    assert rules_of(POLICY, Phase.SHADOW).least_units == 500
    assert rules_of(POLICY, Phase.CANARY).least_units == 1000
    for phase in (Phase.WATCH, Phase.APPROVAL):
        assert (rules_of(POLICY, phase).least_units, rules_of(POLICY, phase).budget_seconds) == (0, 0)
    assert wanted_champion(replace(rollout, phase=Phase.WATCH)) == NEW
    assert wanted_champion(replace(rollout, phase=Phase.ABORTED)).version == "1"


def test_a_plane_that_is_otherwise_is_seen_through() -> None:
    world = World()
    rollout = Rollout("r9", SERVICE, NEW, OLD, phase=Phase.CANARY)
    wanted = desired_of(rollout, POLICY, 0)
    seen = world.observe(SERVICE)
    assert differences(seen, wanted) == (
        "the canary gets 0 % and shall get 10 %",
        "canary is not there yet",
    )
    assert contradictions(seen, rollout, wanted)[0].startswith("the plane says that it is done, and")
    world.actual = world.desired = replace(wanted, stable=replace(wanted.stable, version="9"))
    assert "stable serves version 9 and shall serve 1" in differences(world.observe(SERVICE), wanted)
    gone = replace(seen, converged=False, variants=(), problems=("the supervisor was stopped",))
    why = "the stable version does not serve: the supervisor was stopped"
    assert contradictions(gone, rollout, wanted) == (why,)
    left = differences(replace(seen, canary_percent=0.0), DesiredService(SERVICE, wanted.stable))
    assert left == ()


def test_a_crash_in_the_middle_of_a_step_is_no_late_candidate_and_harm_still_counts() -> None:
    policy = POLICY.model_copy(update={"ready_seconds": 60.0})
    begun = replace(
        Rollout("r1", SERVICE, NEW, OLD, phase=Phase.CANARY),
        elapsed_seconds=500.0,
        converged_at_seconds=10.0,
        seen_at_seconds=510.0,
    )
    assert decide(begun, Seen(511.0, False), policy).phase is Phase.CANARY
    bad = Judgement(Action.ROLL_BACK, ("errors: worse",))
    assert decide(begun, Seen(511.0, False, bad), policy).phase is Phase.ROLLED_BACK
    never = replace(begun, converged_at_seconds=0.0)
    assert decide(never, Seen(511.0, False), policy).phase is Phase.ROLLED_BACK


def test_a_step_does_not_begin_before_the_last_look() -> None:
    before = replace(Rollout("r1", SERVICE, NEW, OLD, phase=Phase.CANARY), seen_at_seconds=500.0)
    assert decide(before, Seen(100.0, True), POLICY).converged_at_seconds == 500.0


def test_a_trail_stays_short_and_keeps_where_steps_begin() -> None:
    points: list[Any] = []
    for second in range(20_000):
        phase = "shadow" if second < 100 else "canary"
        new = grown(points, {"at_seconds": float(second), "phase": phase, "step": 0})
        points = points if new is None else new
        assert len(points) <= MOST_POINTS
    assert points[0]["at_seconds"] == 0.0
    assert next(one["at_seconds"] for one in points if one["phase"] == "canary") == 100.0
    assert points[-1]["at_seconds"] > 19_000
    assert len(points) > 100
