"""A canary is judged by the gateway's log: bad ones are found, equal ones pass, what is missing holds."""

from math import isnan
from pathlib import Path

import pytest

from cd4ml.domain.rollout.state import Phase
from cd4ml.domain.sequential.verdict import Action
from tests.delivery.evidence.traffic import BEGAN, Traffic, judged, named, policy, rollout


@pytest.fixture
def traffic(tmp_path: Path) -> Traffic:
    found = Traffic(tmp_path, at=BEGAN - 100)
    for _ in range(300):
        found.both("stable", seconds=0.5 if found.number % 100 == 0 else 0.01)
    found.at = BEGAN + 1
    return found


def test_a_canary_that_errs_is_found(traffic: Traffic) -> None:
    traffic.canary(3000, errors=(0.01, 0.05))
    found = judged(traffic.look(traffic.source(), policy()), policy())
    assert found.action is Action.ROLL_BACK
    assert [reason.split(":")[0] for reason in found.reasons] == ["errors"]


def test_a_canary_that_is_slow_is_found_by_the_limit_of_the_time_before(traffic: Traffic) -> None:
    traffic.canary(2000, slow=(0.01, 0.06))
    wanted = policy()
    collected = traffic.look(traffic.source(), wanted)
    # The 99th percentile of the time before is 0.5 s itself, and "slow" is above it.
    assert isnan(named(collected, "slow").estimate)
    wanted = policy(slow_seconds=0.2)
    found = judged(traffic.look(traffic.source(), wanted), wanted)
    assert found.action is Action.ROLL_BACK
    assert found.reasons[0].startswith("slow answers")


def test_a_canary_that_refuses_what_the_stable_version_takes_is_found(traffic: Traffic) -> None:
    traffic.canary(2000, refused=(0.0, 0.02))
    found = judged(traffic.look(traffic.source(), policy()), policy())
    assert found.action is Action.ROLL_BACK
    assert found.reasons[0].startswith("refused requests")


def test_an_equal_canary_is_cleared_also_when_nobody_ever_fails(traffic: Traffic) -> None:
    traffic.canary(4000)
    collected = traffic.look(traffic.source(), policy())
    assert collected.holds == ()
    assert collected.requests == 4000
    assert judged(collected, policy()).action is Action.PROMOTE


def test_without_a_negligible_rate_that_is_certain_two_that_never_fail_are_not_told_apart(
    traffic: Traffic,
) -> None:
    traffic.canary(200)
    assert judged(traffic.look(traffic.source(), policy()), policy()).action is Action.CONTINUE


def test_without_a_record_the_first_answers_of_the_stable_version_set_the_limit(tmp_path: Path) -> None:
    fresh = Traffic(tmp_path)
    for _ in range(200):
        fresh.both("stable", seconds=0.02)
        fresh.both("canary", seconds=0.3)
    few = named(fresh.look(fresh.source(), policy()), "slow answers")
    assert few.units <= 1
    fresh.canary(400, slow=(0.0, 0.1))
    collected = fresh.look(fresh.source(), policy())
    assert named(collected, "slow answers").units == 401
    assert judged(collected, policy()).reasons[0].startswith("slow answers")
    shown = named(collected, "seconds of canary")
    assert 0.01 < shown.low <= shown.estimate == 0.5


def test_answers_of_the_stable_version_do_not_show_that_the_canary_never_fails(traffic: Traffic) -> None:
    wanted = policy(canary_percent=[10])
    traffic.canary(1500, share=0.1)
    collected = traffic.look(traffic.source(), wanted)
    assert collected.holds == ()
    assert judged(collected, wanted).action is Action.CONTINUE


def test_nothing_served_is_no_evidence(traffic: Traffic) -> None:
    collected = traffic.look(traffic.source(), policy())
    assert (collected.evidence, collected.requests) == ((), 0)
    assert judged(collected, policy(), least=0).action is Action.CONTINUE
    not_yet = traffic.look(traffic.source(), policy(), rollout(began=0.0))
    assert not_yet.evidence == ()


def test_retries_of_a_request_count_once(traffic: Traffic) -> None:
    traffic.canary(200)
    for _ in range(50):
        traffic.both("canary", status=500, id="again")
    collected = traffic.look(traffic.source(), policy())
    assert named(collected, "errors").units == 201
    assert collected.requests == 201
    assert judged(collected, policy()).action is Action.CONTINUE


def test_of_a_sticky_caller_the_first_failure_counts(traffic: Traffic) -> None:
    wanted = policy(sticky="header:X-User")
    for user in range(400):
        arm = "canary" if user % 2 else "stable"
        for _ in range(5):
            traffic.both(arm, unit=f"u{user}", status=500 if user == 1 else 200)
    collected = traffic.look(traffic.source(), wanted)
    errors = named(collected, "errors")
    assert errors.units == 400
    assert errors.harm_log_peak < 1.0
    assert collected.holds == ()
    by_request = traffic.look(traffic.source(), policy())
    assert named(by_request, "errors").harm_log_peak > 2 * errors.harm_log_peak


def test_who_named_the_variant_and_what_came_before_the_step_is_no_evidence(traffic: Traffic) -> None:
    for _ in range(100):
        traffic.both("canary", status=500, route="asked")
        traffic.both("stable")
        traffic.request("canary", status=500, at=BEGAN - 5)
    collected = traffic.look(traffic.source(), policy())
    assert collected.requests == 100
    assert isnan(named(collected, "errors").estimate)


def test_a_canary_with_more_than_its_share_holds(traffic: Traffic) -> None:
    traffic.canary(1000, share=0.7)
    collected = traffic.look(traffic.source(), policy())
    assert any("not split" in one for one in collected.holds)
    assert collected.doubts == ()


def test_an_overloaded_canary_that_answers_less_is_taken_back_for_what_it_shows(traffic: Traffic) -> None:
    for number in range(1000):
        if number % 4:
            traffic.both("stable")
        else:
            traffic.request("canary", status=503)
    collected = traffic.look(traffic.source(), policy())
    assert any("not split" in one for one in collected.doubts)
    assert collected.holds == ()
    assert judged(collected, policy()).action is Action.ROLL_BACK


def test_callers_of_one_version_who_give_up_more_often_hold(traffic: Traffic) -> None:
    traffic.canary(200)
    for number in range(60):
        traffic.request("canary", status=0, flags="DC")
        traffic.both("stable", id=f"s{number}")
    collected = traffic.look(traffic.source(), policy())
    assert any("callers of the canary give up" in one for one in collected.doubts)
    assert named(collected, "errors").harm_log_peak == 0.0


def test_events_that_are_missing_in_one_arm_hold(traffic: Traffic) -> None:
    for number in range(200):
        traffic.both("stable")
        if number % 3:
            traffic.both("canary")
        else:
            traffic.request("canary")
    collected = traffic.look(traffic.source(), policy())
    assert any("prediction events of one version" in one for one in collected.holds)


def test_an_answer_of_a_version_that_the_step_does_not_have_holds(traffic: Traffic) -> None:
    traffic.canary(100)
    traffic.request("canary", version="9")
    traffic.request("shadow")
    collected = traffic.look(traffic.source(), policy())
    assert any("version 9; it should be 2 (1 times)" in one for one in collected.holds)
    assert any("'shadow', which the step does not have" in one for one in collected.holds)


def test_a_clock_that_goes_back_and_one_that_is_ahead_hold(traffic: Traffic) -> None:
    traffic.canary(100)
    source = traffic.source()
    assert traffic.look(source, policy()).holds == ()
    traffic.both("stable", at=BEGAN - 4000)
    traffic.both("stable", at=traffic.at + 4000)
    holds = traffic.look(source, policy()).holds
    assert any("backwards" in one for one in holds)
    assert any("future" in one for one in holds)
    assert source.collect(rollout(), policy(), BEGAN).holds == ("the controller's clock went backwards",)


def test_a_silent_log_holds_in_either_direction(traffic: Traffic) -> None:
    traffic.canary(100)
    source = traffic.source()
    assert traffic.look(source, policy()).holds == ()
    traffic.event("late", "stable", [1.0], at=traffic.at + 100)
    assert any("the access log is silent" in one for one in traffic.look(source, policy()).holds)
    traffic.request(at=traffic.at + 300)
    assert any("events are silent" in one for one in traffic.look(source, policy()).holds)


@pytest.mark.parametrize("cuts", [1, 3, 57])
def test_a_restart_at_any_point_and_blocks_of_any_size_give_the_same(traffic: Traffic, cuts: int) -> None:
    traffic.canary(600, errors=(0.05, 0.08), slow=(0.1, 0.1), refused=(0.02, 0.02))
    lines, wanted = traffic.lines, policy(slow_seconds=0.2)
    source = traffic.source()
    size = len(lines) // cuts + 1
    for start in range(0, len(lines), size):
        traffic.lines = lines[start : start + size]
        step_by_step = traffic.look(source, wanted)
    at_once = traffic.look(traffic.source(), wanted)
    assert repr(step_by_step) == repr(at_once)
    assert named(at_once, "errors").estimate > 0


def test_a_half_written_line_waits_and_damaged_ones_are_counted(traffic: Traffic) -> None:
    traffic.canary(100)
    whole = traffic.lines.pop()
    traffic.lines.append(whole[:40])
    source = traffic.source()
    assert traffic.look(source, policy()).requests == 99
    traffic.lines.append(whole[40:])
    assert traffic.look(source, policy()).requests == 100
    traffic.lines += ["{broken\n"] * 50
    collected = traffic.look(source, policy())
    assert collected.requests == 100
    assert any("are damaged" in one for one in collected.holds)


def test_a_rotated_log_is_read_on_and_one_that_was_rotated_twice_holds(traffic: Traffic) -> None:
    source = traffic.source()
    traffic.canary(50)
    traffic.look(source, policy())
    traffic.canary(50)
    traffic.flush()
    traffic.access.replace(traffic.access.with_name("access.jsonl.1"))
    traffic.canary(50)
    collected = traffic.look(source, policy())
    assert collected.requests == 150
    assert collected.holds == ()
    for _ in range(2):
        traffic.access.replace(traffic.access.with_name("access.jsonl.1"))
        traffic.canary(50)
        traffic.flush()
    assert any("were lost" in one for one in traffic.look(source, policy()).holds)


def test_after_the_promotion_errors_above_the_record_are_harm(traffic: Traffic) -> None:
    watch = rollout(Phase.WATCH)
    for number in range(1500):
        traffic.both("stable", version="2", status=500 if number % 10 == 0 else 200)
    wanted = policy()
    found = judged(traffic.look(traffic.source(), wanted, watch), wanted)
    assert found.action is Action.ROLL_BACK
    assert found.reasons[0].startswith("rate of errors since the promotion")


def test_after_the_promotion_what_is_as_before_is_no_harm_and_promotes_nothing(traffic: Traffic) -> None:
    watch = rollout(Phase.WATCH)
    for number in range(1500):
        name = traffic.request("stable", version="2", seconds=0.5 if number % 100 == 0 else 0.01)
        traffic.event(name, "stable", [1.0], version="2")
    collected = traffic.look(traffic.source(), policy(), watch)
    assert collected.holds == ()
    assert judged(collected, policy()).action is Action.CONTINUE
