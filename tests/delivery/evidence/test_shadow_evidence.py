"""A shadow is judged by pairs: errors, refusals, and losses as outcomes become known, also on one slice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.outcome_log import Outcome
from cd4ml.delivery.evidence.losses import Quality
from cd4ml.domain.rollout.state import Phase
from cd4ml.domain.sequential.verdict import Action
from tests.delivery.evidence.traffic import BEGAN, STABLE, Traffic, judged, named, policy, rollout

SHADOW = rollout(Phase.SHADOW)


@pytest.fixture
def traffic(tmp_path: Path) -> Traffic:
    return Traffic(tmp_path)


def pair(
    traffic: Traffic, stable: float, shadow: float | None, actual: float | None = None, **inputs: Any
) -> str:
    name = traffic.request()
    traffic.event(name, "stable", [stable], inputs or None)
    if shadow is not None:
        traffic.event(name, "shadow", [shadow], inputs or None)
    if actual is not None:
        traffic.outcomes(Outcome(name, 0, actual))
    return name


def labelled(
    traffic: Traffic, count: int, worse: float = 1.0, bad: float = 1.0, **more: Any
) -> list[Outcome]:
    """Log pairs whose stable error is 1; the shadow's is `worse` as large, in Quito `bad` as large."""
    actual = traffic.rng.normal(10, 3, count)
    old, new = traffic.rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], count).T
    outcomes = []
    for number, (truth, one, other) in enumerate(zip(actual, old, new, strict=True)):
        city = "Quito" if number % 4 == 0 else "Loja"
        scale = bad if city == "Quito" else worse
        name = pair(traffic, truth + one, truth + scale * other, city=city, **more)
        outcomes.append(Outcome(name, 0, float(truth)))
    return outcomes


def test_a_shadow_as_good_goes_on_when_outcomes_are_required_and_there(traffic: Traffic) -> None:
    wanted = policy(outcomes="required", loss_margin_fraction=0.3)
    outcomes = labelled(traffic, 2000)
    source = traffic.source()
    waiting = traffic.look(source, wanted, SHADOW)
    assert judged(waiting, wanted).action is Action.CONTINUE
    assert judged(waiting, wanted).reasons[0].startswith("squared error: 0 of at least 100")
    traffic.outcomes(*outcomes)
    found = traffic.look(source, wanted, SHADOW)
    assert found.holds == ()
    assert judged(found, wanted).action is Action.PROMOTE
    assert named(found, "squared error").units == 2000


def test_without_labels_a_shadow_goes_on_only_where_the_policy_watches_them(traffic: Traffic) -> None:
    for _ in range(600):
        pair(traffic, 1.0, 1.0)
    for outcomes, action in (("watched", Action.PROMOTE), ("required", Action.CONTINUE)):
        wanted = policy(outcomes=outcomes)
        assert judged(traffic.look(traffic.source(), wanted, SHADOW), wanted).action is action


def test_a_shadow_that_is_worse_in_all_is_found(traffic: Traffic) -> None:
    traffic.outcomes(*labelled(traffic, 1500, worse=1.4, bad=1.4))
    found = judged(traffic.look(traffic.source(), policy(), SHADOW), policy())
    assert found.action is Action.ROLL_BACK
    assert found.reasons[0].startswith("squared error")


def test_a_shadow_that_is_worse_on_one_slice_is_found_there_and_better_overall(traffic: Traffic) -> None:
    traffic.outcomes(*labelled(traffic, 2000, worse=0.7, bad=1.4))
    collected = traffic.look(traffic.source(), policy(slices=["city"]), SHADOW)
    found = judged(collected, policy())
    assert found.action is Action.ROLL_BACK
    assert [reason.split(":")[0] for reason in found.reasons] == ["squared error, city=Quito"]
    without = traffic.look(traffic.source(), policy(), SHADOW)
    assert judged(without, policy()).action is not Action.ROLL_BACK


def test_a_shadow_that_errs_on_rare_input_is_found(traffic: Traffic) -> None:
    for number in range(1500):
        name = pair(traffic, 1.0, None if number % 50 == 0 else 1.0)
        if number % 50 == 0:
            traffic.failure(name, 500)
    found = judged(traffic.look(traffic.source(), policy(), SHADOW), policy())
    assert found.action is Action.ROLL_BACK
    assert found.reasons[0].startswith("shadow errors")


def test_predictions_that_are_not_finite_are_errors(traffic: Traffic) -> None:
    for number in range(600):
        pair(traffic, 1.0, float("nan") if number % 20 == 0 else 1.0)
    found = judged(traffic.look(traffic.source(), policy(), SHADOW), policy())
    assert found.reasons[0].startswith("shadow errors")
    assert found.action is Action.ROLL_BACK


def test_requests_that_the_shadow_refuses_are_found(traffic: Traffic) -> None:
    for number in range(800):
        name = pair(traffic, 1.0, None if number % 40 == 0 else 1.0)
        if number % 40 == 0:
            traffic.failure(name, 400)
    found = judged(traffic.look(traffic.source(), policy(), SHADOW), policy())
    assert found.reasons[0].startswith("requests the shadow refused")


def test_answers_that_nobody_tells_of_hold_and_are_no_failures(traffic: Traffic) -> None:
    for number in range(400):
        pair(traffic, 1.0, None if number % 4 == 0 else 1.0)
    collected = traffic.look(traffic.source(), policy(), SHADOW)
    assert named(collected, "shadow errors").harm_log_peak == 0.0
    assert any("are missing more often" in one for one in collected.holds)


def test_a_silent_shadow_holds(traffic: Traffic) -> None:
    for number in range(100):
        pair(traffic, 1.0, 1.0 if number < 70 else None)
    collected = traffic.look(traffic.source(), policy(), SHADOW)
    assert "the shadow told nothing of the last 30 requests" in collected.holds
    assert collected.requests == 70


def test_how_predictions_move_is_shown_and_decides_nothing(traffic: Traffic) -> None:
    for number in range(200):
        pair(traffic, 10.0, 11.0 if number % 2 else 10.0)
    collected = traffic.look(traffic.source(), policy(), SHADOW)
    assert named(collected, "answers that differ").estimate == 0.5
    assert named(collected, "mean shift").estimate == pytest.approx(0.05)
    assert judged(collected, policy()).action is not Action.ROLL_BACK


def test_outcomes_may_come_twice_late_and_in_any_order(traffic: Traffic) -> None:
    outcomes = labelled(traffic, 400)
    one = traffic.source()
    for part in (outcomes[200:], outcomes[200:], outcomes[:250]):
        traffic.at += 30
        traffic.outcomes(*part)
        step_by_step = traffic.look(one, policy(slices=["city"]), SHADOW)
    assert named(step_by_step, "squared error").units == 400
    at_once = traffic.look(traffic.source(), policy(slices=["city"]), SHADOW)
    assert repr(at_once) == repr(step_by_step)


def test_what_may_not_be_written_to_its_end_yet_has_no_place_in_the_order(traffic: Traffic) -> None:
    pair(traffic, 1.0, 1.0, actual=1.0)
    traffic.flush()
    source = traffic.source()
    units = [
        named(source.collect(SHADOW, policy(), traffic.at + later), "squared error").units
        for later in (2, 4, 6)
    ]
    assert units == [0, 0, 1]


def test_a_correction_holds_for_those_that_were_looked_at_too(traffic: Traffic) -> None:
    outcomes = labelled(traffic, 300)
    source = traffic.source()
    traffic.outcomes(*outcomes[:100], *(Outcome(one.id, 0, one.actual + 50) for one in outcomes[100:]))
    wrong = named(traffic.look(source, policy(), SHADOW), "squared error")
    traffic.at += 30
    traffic.outcomes(*outcomes)
    right = traffic.look(source, policy(), SHADOW)
    assert named(right, "squared error") != wrong
    assert repr(traffic.look(traffic.source(), policy(), SHADOW)) == repr(right)
    assert named(right, "squared error").estimate == pytest.approx(1.0, abs=0.3)


def test_rows_of_one_day_are_one_observation(traffic: Traffic) -> None:
    outcomes = []
    for day in range(1, 29):
        outcomes += labelled(traffic, 10, day=f"2026-01-{day:02}")
    traffic.outcomes(*outcomes)
    quality = Quality(by_day=True, day_column="day")
    found = named(traffic.look(traffic.source(quality), policy(), SHADOW), "squared error")
    assert found.units == 26  # the last two days are open


def test_late_labels_of_a_canary_compare_capped_losses(traffic: Traffic) -> None:
    traffic.at = BEGAN - 500
    before = [traffic.both() for _ in range(300)]
    noise = traffic.rng.exponential(1.0, 4000)
    traffic.outcomes(*(Outcome(name, 0, 1 + noise[i]) for i, name in enumerate(before)))
    traffic.at = BEGAN + 1
    arms = traffic.rng.random(1500) < 0.5
    names = [traffic.both("canary" if arm else "stable") for arm in arms]
    off = np.where(arms, 2.0, 1.0) * noise[300:1800]
    source, wanted = traffic.source(Quality("absolute error")), policy()
    assert len(traffic.look(source, wanted).evidence) == 5
    traffic.outcomes(*(Outcome(name, 0, 1 + one) for name, one in zip(names, off, strict=True)))
    collected = traffic.look(source, wanted)
    found = judged(collected, wanted)
    assert found.action is Action.ROLL_BACK
    assert found.reasons[0].startswith("absolute error, difference of the versions")
    assert repr(collected) == repr(traffic.look(traffic.source(Quality("absolute error")), wanted))


@pytest.mark.parametrize(("factor", "action"), [(1.0, Action.CONTINUE), (2.5, Action.ROLL_BACK)])
def test_late_labels_take_a_promoted_version_back(traffic: Traffic, factor: float, action: Action) -> None:
    traffic.at = BEGAN - 500
    noise = traffic.rng.exponential(1.0, 3000)
    before = [traffic.both() for _ in range(1000)]
    traffic.outcomes(*(Outcome(name, 0, 1 + noise[i]) for i, name in enumerate(before)))
    traffic.at = BEGAN + 1
    names = []
    for _ in range(1000):
        names.append(traffic.request(version="2"))
        traffic.event(names[-1], "stable", [1.0], version="2")
    found = zip(names, noise[1000:], strict=False)
    traffic.outcomes(*(Outcome(name, 0, 1 + factor * one) for name, one in found))
    source = traffic.source(Quality("absolute error"))
    collected = traffic.look(source, policy(), rollout(Phase.WATCH))
    assert named(collected, "absolute error since").units == 1000
    assert judged(collected, policy()).action is action


def test_events_of_another_version_hold(traffic: Traffic) -> None:
    name = pair(traffic, 1.0, 1.0)
    traffic.event(name, "shadow", [1.0], version="7", at=traffic.at + 300)
    traffic.event("old", "stable", [1.0], version="0", at=BEGAN - 5)
    collected = traffic.look(traffic.source(), policy(), SHADOW)
    assert "events of 'shadow' came from shadow 7 (1 times)" in collected.holds
    assert STABLE.version == "1"
