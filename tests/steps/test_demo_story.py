from __future__ import annotations

import json

import numpy as np

from cd4ml.domain.rollout.state import Entry, Phase, Rollout, Target
from cd4ml.models.runtime import Bundle
from cd4ml.steps.demo_slow import slow_copy
from cd4ml.steps.demo_story import CASES, Story, shares, told_by
from tests.models import bundles

_CASES = {case.name: case for case in CASES}
_START = 1_700_000_000.0


def _told(name, *entries):
    history = tuple(Entry(_START + 5 * place, *entry) for place, entry in enumerate(entries))
    rollout = Rollout(
        "r", "s", Target("s@2", "2", "b2"), Target("s@1", "1", "b1"), entries[-1][0], history=history
    )
    return told_by(_CASES[name], rollout, {"alpha": 0.05}, [], _START + 60)


def _log(path, answered, requests):
    lines = [
        {"id": str(n), "at": _START + 1 + n % 50, "status": 200, "version": "2" if n < answered else "1"}
        for n in range(requests)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


_SLOW = (
    (Phase.VERIFY, 0.0, "demo", ("begun",)),
    (Phase.CANARY, 5.0, "controller", ("it answers as the judge did",)),
    (Phase.ROLLED_BACK, 0.0, "controller", ("slow answers: worse",)),
)


def test_the_expected_end_for_the_expected_reason_differs_in_nothing():
    assert _told("slow", *_SLOW).differs == ()


def test_another_end_another_phase_and_another_reason_are_named():
    (why,) = _told("slow", *_SLOW[:2], (Phase.PROMOTED, 100.0, "controller", ("watched",))).differs
    assert why == "ended as 'promoted', expected 'rolled_back' (watched)"
    (why,) = _told("slow", _SLOW[0], _SLOW[2]).differs
    assert why == "was stopped in phase 'verify', expected 'canary'"
    other = (Phase.ROLLED_BACK, 0.0, "controller", ("errors: worse",))
    (why,) = _told("slow", *_SLOW[:2], other).differs
    assert why == "ended because of 'errors: worse', expected 'slow answers'"


def test_a_bad_model_may_have_the_share_of_its_policy_and_what_chance_adds(tmp_path):
    told = _told("slow", *_SLOW)
    few = Story(1, 9.0, (told,), _log(tmp_path / "few.jsonl", 60, 1000))
    assert shares(tmp_path / "few.jsonl", told).answered == 60
    assert few.differs == ()
    many = Story(1, 9.0, (told,), _log(tmp_path / "many.jsonl", 90, 1000))
    assert many.differs == ("slow: 90 of 1000 requests were answered by version 2; at most 84 were allowed",)
    assert not many.to_dict()["as_expected"]


def test_a_shadow_may_answer_nobody(tmp_path):
    stopped = (Phase.ROLLED_BACK, 0.0, "controller", ("squared log error: worse",))
    told = _told("slice", _SLOW[0], (Phase.SHADOW, 0.0, "controller", ("ready",)), stopped)
    assert told.differs == ()
    story = Story(1, 9.0, (told,), _log(tmp_path / "log.jsonl", 1, 1000))
    assert story.differs == ("slice: 1 of 1000 requests were answered by version 2; at most 0 were allowed",)


def test_the_slow_copy_answers_the_same_and_is_slow_for_several_rows_alone(tmp_path):
    source = bundles.bundle("people")
    slow = slow_copy(source, tmp_path / "slow", 0.05)
    quick_one, slow_one = Bundle.load(source), Bundle.load(slow)
    columns = _people(3)
    assert np.array_equal(
        quick_one.outputs(columns)["prediction"], slow_one.outputs(columns)["prediction"], equal_nan=True
    )
    assert _seconds(slow_one, _people(3)) > 5 * _seconds(slow_one, _people(1))
    assert _seconds(slow_one, _people(3)) > 5 * _seconds(quick_one, _people(3))


def _people(rows):
    from cd4ml.models.rows import columns_from_rows

    contract = Bundle.load(bundles.bundle("people")).contract
    return columns_from_rows(contract, [{"age": 20 + n, "plan": "basic", "note": None} for n in range(rows)])


def _seconds(bundle, columns):
    import time

    times = []
    for _ in range(3):
        start = time.perf_counter()
        bundle.outputs(columns)
        times.append(time.perf_counter() - start)
    return min(times)
