"""Which phases are behind a rollout, how it ended, which version serves."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.rollout.milestones import MILESTONES, PASSED, decided_reasons, reached, rollout_id, serving
from cd4ml.domain.rollout.state import Entry, Phase, Rollout, Target
from cd4ml.errors import UsageError

OLD, NEW = Target("m@1", "1", "a" * 64), Target("m@2", "2", "b" * 64)
ROLLOUT = Rollout("r-1", "m", NEW, OLD)


@given(st.sampled_from(MILESTONES), st.sampled_from(MILESTONES))
@settings(deadline=None, max_examples=50)
def test_a_phase_is_passed_when_a_later_one_has_begun_and_not_before(now, asked):
    found = reached(replace(ROLLOUT, phase=now), asked)
    assert found == (PASSED if MILESTONES.index(now) > MILESTONES.index(asked) else "")


@pytest.mark.parametrize("phase", MILESTONES)
def test_each_wait_ends_when_the_rollout_has(phase):
    assert reached(replace(ROLLOUT, phase=Phase.PROMOTED), phase) == "passed"
    assert reached(replace(ROLLOUT, phase=Phase.ROLLED_BACK), phase) == "rolled_back"
    assert reached(replace(ROLLOUT, phase=Phase.ABORTED), phase) == "aborted"


@pytest.mark.parametrize("phase", ["watched", "promoted", ""])
def test_what_is_no_phase_to_wait_for_is_refused(phase):
    with pytest.raises(UsageError, match="expected a phase of verify, shadow, canary, approval, watch"):
        reached(ROLLOUT, phase)


def test_the_candidate_serves_from_the_watch_on_until_it_is_taken_back():
    served = {phase: serving(replace(ROLLOUT, phase=phase)) for phase in Phase}
    assert {phase for phase, version in served.items() if version == "2"} == {Phase.WATCH, Phase.PROMOTED}


def test_reasons_are_those_of_the_last_step():
    assert decided_reasons(ROLLOUT) == ()
    entries = tuple(Entry(1.0, Phase.SHADOW, 0.0, "c", (why,)) for why in ("first", "second"))
    assert decided_reasons(replace(ROLLOUT, history=entries)) == ("second",)


def test_an_id_is_that_of_the_service_both_bundles_and_the_attempt():
    given_ = ("m", NEW.bundle, OLD.bundle, 1)
    others = [("n", *given_[1:]), ("m", OLD.bundle, NEW.bundle, 1), (*given_[:3], 2)]
    assert rollout_id(*given_) == rollout_id(*given_)
    assert len({rollout_id(*one) for one in [given_, *others]}) == 4
