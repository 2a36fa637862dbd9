"""The state machine of a rollout: the way it goes, what holds it, and what takes it back."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.rollout.decide import Command, Seen, Verification, command, decide
from cd4ml.domain.rollout.state import Phase, Rollout, Target
from cd4ml.domain.rollout.traffic import Traffic, wanted_traffic
from cd4ml.domain.sequential.verdict import Action, Judgement
from cd4ml.errors import IntegrityError, UsageError
from cd4ml.problem import Rollout as Policy

OLD, NEW = Target("m@champion", "3", "a" * 64), Target("m@4", "4", "b" * 64)
POLICY = Policy(canary_percent=[5, 50], watch_seconds=30, ready_seconds=120)
START = Rollout("r1", "m", NEW, OLD)
GOOD = Judgement(Action.PROMOTE, ("errors: no harm found",))
BAD = Judgement(Action.ROLL_BACK, ("errors: worse",))
OPEN = Judgement(Action.CONTINUE, ("errors: not shown to be safe yet",))


def seen(at: float, judgement: Judgement = OPEN, converged: bool = True, **more) -> Seen:
    return Seen(at, converged, judgement, more.pop("verification", Verification.PASSED), **more)


def follow(rollout: Rollout, *looks: Seen, policy: Policy = POLICY) -> Rollout:
    for look in looks:
        rollout = decide(rollout, look, policy)
    return rollout


def test_the_way_of_a_good_model() -> None:
    found, way = START, []
    for second in range(1, 10):
        found = decide(found, seen(second * 10.0, GOOD), POLICY)
        traffic = wanted_traffic(found, POLICY)
        way.append((found.phase, traffic.canary_percent, traffic.mirror_percent, traffic.stable.version))
    assert way[:4] == [
        (Phase.SHADOW, 0, 100, "3"),
        (Phase.CANARY, 5, 0, "3"),
        (Phase.CANARY, 50, 0, "3"),
        (Phase.WATCH, 0, 0, "4"),
    ]
    assert way[-1] == (Phase.PROMOTED, 0, 0, "4")
    assert [entry.canary_percent for entry in found.history] == [0, 5, 50, 100, 100]
    assert found.history[0].reasons == ("the endpoint answers as the judge did",)


@pytest.mark.parametrize("looks", range(1, 5))
def test_harm_takes_it_back_from_each_phase(looks: int) -> None:
    way = [seen(second, GOOD) for second in range(1, looks + 1)]
    found = follow(START, *way, seen(100, BAD))
    assert found.phase is Phase.ROLLED_BACK
    assert wanted_traffic(found, POLICY) == Traffic(OLD)
    assert found.history[-1].reasons == ("errors: worse",)


def test_a_failed_verification_never_gets_traffic() -> None:
    found = follow(START, seen(1, GOOD, verification=Verification.FAILED))
    assert found.phase is Phase.ROLLED_BACK
    assert max(entry.canary_percent for entry in found.history) == 0


@pytest.mark.parametrize(
    "look",
    [
        seen(2, GOOD, converged=False),
        seen(2, GOOD, holds=("the metrics are silent",)),
        seen(2, BAD, holds=("answers are missing in one arm",)),
        seen(2, OPEN),
    ],
)
def test_what_is_unclear_holds(look: Seen) -> None:
    canary = replace(START, phase=Phase.CANARY, seen_at_seconds=1)
    found = decide(canary, look, POLICY)
    assert (found.phase, found.step, found.history) == (Phase.CANARY, 0, ())
    assert found.waiting


def test_pending_verification_waits() -> None:
    assert follow(START, seen(1, GOOD, verification=Verification.PENDING)).phase is Phase.VERIFY


def test_a_clock_that_jumps_neither_ends_nor_promotes() -> None:
    watched = replace(START, phase=Phase.WATCH, seen_at_seconds=1000.0)
    long = POLICY.model_copy(update={"watch_seconds": 3600.0})
    for jump in (1e9, -1e9, 0.0):
        found = decide(watched, seen(1000.0 + jump), long)
        assert found.phase is Phase.WATCH
        assert 0 <= found.elapsed_seconds <= 60
    assert decide(replace(watched, seen_at_seconds=0.0), seen(1e9), long).elapsed_seconds == 0


def test_paused_or_held_time_does_not_count() -> None:
    canary = replace(
        START, phase=Phase.CANARY, seen_at_seconds=10.0, converged_at_seconds=5.0, paused="lunch"
    )
    assert decide(canary, seen(40.0, GOOD), POLICY).elapsed_seconds == 0
    held = replace(canary, paused="")
    assert decide(held, seen(40.0, holds=("silent",)), POLICY).elapsed_seconds == 0
    assert decide(held, seen(40.0), POLICY).elapsed_seconds == 30


def test_evidence_begins_when_the_plane_is_as_the_step_wants_it() -> None:
    canary = replace(START, phase=Phase.CANARY, seen_at_seconds=1.0)
    found = follow(canary, seen(2.0, converged=False))
    assert found.converged_at_seconds == 0
    found = follow(found, seen(3.0), seen(4.0), seen(5.0, converged=False))
    assert found.converged_at_seconds == 3.0
    assert follow(found, seen(6.0, GOOD)).converged_at_seconds == 0


def test_a_candidate_that_never_comes_up_is_taken_back() -> None:
    looks = [seen(float(second), GOOD, converged=False) for second in range(1, 200, 20)]
    found = follow(START, *looks)
    assert found.phase is Phase.ROLLED_BACK
    assert "was not ready within 120 s" in found.history[-1].reasons[0]


def test_a_plane_that_diverges_while_watching_is_waited_for() -> None:
    watched = replace(START, phase=Phase.WATCH, seen_at_seconds=1.0)
    looks = [seen(float(second), GOOD, converged=False) for second in range(1, 1000, 20)]
    assert follow(watched, *looks).phase is Phase.WATCH


def test_without_automatic_a_person_says_yes() -> None:
    policy = POLICY.model_copy(update={"automatic": False})
    found = follow(START, *(seen(second, GOOD) for second in range(1, 9)), policy=policy)
    assert found.phase is Phase.APPROVAL and found.waiting == ("a person has to approve it",)
    assert wanted_traffic(found, policy).canary_percent == 50
    found = command(found, Command.APPROVE, "ada", "looks right", 20, policy)
    found = decide(found, seen(21, GOOD), policy)
    assert found.phase is Phase.WATCH and "approved by ada" in found.history[-1].reasons


def test_blue_green_moves_all_at_once_and_keeps_the_old_one_warm() -> None:
    policy = POLICY.model_copy(update={"strategy": "blue_green", "shadow_requests": 0})
    found = follow(START, seen(1, GOOD), policy=policy)
    assert found.phase is Phase.WATCH
    assert wanted_traffic(found, policy) == Traffic(NEW, canary=OLD)
    assert follow(found, seen(2, BAD), policy=policy).phase is Phase.ROLLED_BACK


def test_a_person_can_pause_skip_promote_take_back_and_abort() -> None:
    shadow = replace(START, phase=Phase.SHADOW)
    paused = command(shadow, Command.PAUSE, "ada", "wait for Monday", 5, POLICY)
    assert decide(paused, seen(6, GOOD), POLICY).waiting == ("paused: wait for Monday",)
    resumed = command(paused, Command.RESUME, "ada", "", 7, POLICY)
    assert decide(resumed, seen(8, GOOD), POLICY).phase is Phase.CANARY
    skipped = command(shadow, Command.SKIP, "ada", "no traffic at night", 5, POLICY)
    assert (skipped.phase, skipped.history[-1].by) == (Phase.CANARY, "ada")
    assert command(shadow, Command.PROMOTE, "ada", "hot fix", 5, POLICY).phase is Phase.WATCH
    watching = replace(START, phase=Phase.WATCH)
    assert command(watching, Command.PROMOTE, "ada", "enough", 5, POLICY).phase is Phase.PROMOTED
    assert command(shadow, Command.ROLL_BACK, "ada", "a hunch", 5, POLICY).phase is Phase.ROLLED_BACK
    assert command(shadow, Command.ABORT, "ada", "wrong model", 5, POLICY).phase is Phase.ABORTED


@pytest.mark.parametrize(
    ("rollout", "asked", "reason", "told"),
    [
        (replace(START, phase=Phase.PROMOTED), Command.PAUSE, "x", "has ended"),
        (START, Command.ABORT, " ", "needs a reason"),
        (START, Command.PROMOTE, "x", "means nothing"),
        (START, Command.RESUME, "", "means nothing"),
        (START, Command.APPROVE, "x", "means nothing"),
        (replace(START, phase=Phase.WATCH), Command.SKIP, "x", "means nothing"),
    ],
)
def test_commands_that_mean_nothing_are_refused(rollout, asked, reason, told) -> None:
    with pytest.raises(UsageError, match=told):
        command(rollout, asked, "ada", reason, 1, POLICY)


def test_a_rollout_is_written_and_read_again() -> None:
    found = follow(START, seen(1, GOOD), seen(2, GOOD))
    assert Rollout.from_dict(found.to_dict()) == found
    for wrong in ({}, {**found.to_dict(), "phase": "dancing"}, {**found.to_dict(), "candidate": 3}):
        with pytest.raises(IntegrityError, match="no rollout"):
            Rollout.from_dict(wrong)


looks = st.builds(
    Seen,
    at_seconds=st.floats(0, 1e6),
    converged=st.booleans(),
    judgement=st.sampled_from([GOOD, BAD, OPEN]),
    verification=st.sampled_from(list(Verification)),
    holds=st.sampled_from([(), ("silent",)]),
)
orders = st.sampled_from(list(Command))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(looks, orders), max_size=25), st.booleans())
def test_whatever_comes_no_step_is_skipped_and_nothing_is_promoted_without_proof(way, automatic) -> None:
    policy = POLICY.model_copy(update={"automatic": automatic})
    rollout, promotions = START, 0
    for one in way:
        before = rollout
        if isinstance(one, Seen):
            rollout = decide(rollout, one, policy)
            proven = one.converged and not one.holds and one.judgement is GOOD
            up = (
                wanted_traffic(rollout, policy).canary_percent - wanted_traffic(before, policy).canary_percent
            )
            entered = rollout.phase is Phase.WATCH and before.phase is not Phase.WATCH
            if (up > 0 and not (before.phase is Phase.VERIFY and one.converged)) or entered:
                assert proven or before.phase is Phase.APPROVAL
            promotions += entered
        else:
            try:
                rollout = command(rollout, one, "ada", "because", 1.0, policy)
            except UsageError:
                continue
            promotions += rollout.phase is Phase.WATCH and before.phase is not Phase.WATCH
        if before.ended:
            assert rollout == before
        assert len(rollout.history) <= len(before.history) + 1
        if not rollout.ended and rollout.phase is not Phase.WATCH:
            assert wanted_traffic(rollout, policy).stable == OLD
    assert promotions <= 1
