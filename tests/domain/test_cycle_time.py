"""Stages of a change: what is missing is no 0, and clocks that contradict each other are told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.cycle_time import (
    MILESTONES,
    Journey,
    journey,
    typical_stages,
    typical_trend,
)

DAY = 86_400.0


def way(**times: float) -> Journey:
    return journey("shop", "1", times)


def seconds(found: Journey) -> dict[str, float | None]:
    return {stage.name: stage.seconds for stage in found.stages}


def test_a_whole_way_is_the_sum_of_its_stages() -> None:
    found = way(**{name: 1000.0 + 10.0 * place**2 for place, name in enumerate(MILESTONES)})
    assert seconds(found)["commit"] is None
    assert [stage.seconds for stage in found.stages[1:]] == [10.0 * (2 * place + 1) for place in range(9)]
    assert found.total.seconds == sum(stage.seconds or 0 for stage in found.stages) == 810.0
    assert (found.missing, found.backwards) == ((), ())


def test_a_stage_counts_from_the_last_milestone_that_is_known() -> None:
    found = way(commit=0.0, registered=100.0, rollout=130.0, champion=200.0)
    by_name = {stage.name: stage for stage in found.stages}
    assert (by_name["registered"].since, by_name["registered"].seconds) == ("commit", 100.0)
    assert (by_name["rollout"].since, by_name["rollout"].seconds) == ("registered", 30.0)
    assert (by_name["champion"].since, by_name["champion"].seconds) == ("rollout", 70.0)
    assert by_name["approved"].seconds is None
    assert found.missing == ("started", "trained", "judged", "approved", "shadow", "canary")


def test_without_a_commit_there_is_no_total() -> None:
    found = way(registered=100.0, champion=200.0)
    assert found.total.seconds is None
    assert found.stages[4].seconds is None, "the first that is known has nothing to count from"
    assert way(commit=5.0).total.at_seconds is None


def test_a_clock_that_went_back_is_told_and_takes_no_part_in_what_is_typical() -> None:
    back = way(commit=1000.0, started=400.0, trained=460.0, champion=900.0)
    assert back.backwards == ("started", "champion")
    assert back.stages[1].backwards_seconds == 600.0
    assert back.stages[1].seconds is None
    assert back.stages[2].seconds == 60.0
    assert back.total.backwards_seconds == 100.0
    found = {one.name: one for one in typical_stages([back, way(commit=0.0, started=50.0)])}
    assert (found["started"].known, found["started"].backwards, found["started"].missing) == (1, 1, 0)
    assert found["started"].median_seconds == 50.0
    assert (found["total"].known, found["total"].backwards, found["total"].missing) == (0, 1, 1)
    assert found["total"].median_seconds is None


@pytest.mark.parametrize(("later", "backwards"), [(-0.9, 0.0), (-1.0, 1.0), (0.0, 0.0)])
def test_times_in_whole_seconds_are_no_step_back(later: float, backwards: float) -> None:
    stage = way(commit=100.0, started=100.0 + later).stages[1]
    assert stage.backwards_seconds == backwards
    assert stage.seconds == (None if backwards else 0.0)


def test_median_and_90th_percentile_are_of_what_is_known() -> None:
    ways = [way(commit=0.0, champion=float(hours)) for hours in range(1, 12)] + [way(commit=0.0)]
    total = typical_stages(ways)[-1]
    assert (total.name, total.known, total.missing) == ("total", 11, 1)
    assert (total.median_seconds, total.p90_seconds) == (6.0, 10.0)


def test_a_trend_needs_four_versions_and_is_not_moved_by_one_of_them() -> None:
    ways = [way(commit=day * DAY - 3600 + 60 * day, champion=day * DAY) for day in range(1, 4)]
    assert typical_trend(ways) is None
    ways += [way(commit=day * DAY - 3600 + 60 * day, champion=day * DAY) for day in range(4, 12)]
    ways.append(way(commit=0.0, champion=12 * DAY))
    found = typical_trend(ways)
    assert found is not None
    assert found.versions == 12
    assert found.seconds_per_day == pytest.approx(-60.0)
    assert found.low <= -60.0 <= found.high


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from(MILESTONES), st.floats(0, 1e9)))
def test_nothing_that_is_missing_is_ever_a_number(times: dict[str, float]) -> None:
    found = journey("m", "1", times)
    for stage in found.stages:
        assert (stage.at_seconds is None) == (stage.name not in times)
        assert stage.seconds is None or stage.seconds >= 0
        assert not (stage.seconds is not None and stage.backwards_seconds)
    assert set(found.missing) == set(MILESTONES) - set(times)
    assert [one.name for one in typical_stages([found])] == [*MILESTONES[1:], "total"]
    for one in typical_stages([found]):
        assert one.known + one.missing + one.backwards == 1
