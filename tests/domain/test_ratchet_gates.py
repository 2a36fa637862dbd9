"""What the judge hears of the champion: every verdict, in a sentence with its numbers."""

import json

import numpy as np
import pytest

from cd4ml.domain.judge import decide
from cd4ml.domain.ratchet import Margins
from cd4ml.domain.ratchet_gates import Ratchet, ratchet_gates
from cd4ml.domain.ratchet_limits import Limit
from tests.domain.ratchet_samples import Pair, draw, groups, worse

CHAMPION = {"alias": "champion", "name": "shop", "version": 3, "bundle": "b" * 64}
REASON = "held against version 3"


def scored(comparison, **more):
    return Ratchet("scored", CHAMPION, REASON, comparison=comparison, **more)


def gates(found):
    return {gate.name: gate for gate in ratchet_gates(found)}


def decision(found):
    return decide(ratchet_gates(found), "only_if_warn")


def test_worse_on_one_slice_alone_is_rejected_and_the_slice_named():
    found = scored(worse(draw(31), 1.8, shop=7).compare(margins=Margins(overall=0.2)))
    named = gates(found)
    assert list(named) == ["champion", "ratchet:mae", "ratchet:mae:shop"]
    assert [gate.status for gate in named.values()] == ["pass", "pass", "fail"]
    gate = named["ratchet:mae:shop"]
    assert "mae of shop 's7' is" in gate.reason
    assert "more error (+" in gate.reason
    assert "at most 10.00% more is right. 1 of 20 slices fail: look at" in gate.reason
    assert gate.limit == pytest.approx(1.1)
    assert gate.interval is not None
    assert gate.limit < gate.interval[0] < gate.measured < gate.interval[1]  # type: ignore[operator]
    assert decision(found) == "reject"


def test_better_everywhere_is_accepted_and_tells_the_tighter_limit():
    found = scored(worse(draw(32), 0.8).compare(), limits={"mae": Limit(8.25, 8.0)}, tightened=True)
    assert decision(found) == "accept"
    assert "a sure gain, which tightens the limit to 8.25." in gates(found)["ratchet:mae"].reason
    assert gates(found)["ratchet:mae:shop"].reason.startswith("no slice is worse")


def test_an_equal_challenger_is_accepted():
    pair = draw(33)
    found = scored(Pair(pair.y, pair.champion, pair.champion, pair.shop, pair.day, 33).compare())
    assert decision(found) == "accept"
    assert "equal error; at most 1.00% more is right." in gates(found)["ratchet:mae"].reason


def test_worse_everywhere_is_rejected():
    found = scored(worse(draw(34), 1.2).compare())
    gate = gates(found)["ratchet:mae"]
    assert (gate.status, decision(found)) == ("fail", "reject")
    assert gate.reason.endswith("right: improve the model or keep the champion.")


def test_what_is_neither_shown_nor_refuted_needs_a_person():
    pair = draw(6, shops=2, days=10, rows=25)
    found = scored(pair.compare(slices={"shop": pair.shop}))
    named = gates(found)
    assert named["ratchet:mae"].status == "warn"
    assert named["ratchet:mae:shop"].status == "warn"
    assert "neither shown nor refuted for" in named["ratchet:mae:shop"].reason
    assert decision(found) == "needs_approval"


def test_slices_with_too_few_data_warn_with_their_numbers():
    pair = worse(draw(36, shops=4, rows=60), 0.8)
    found = scored(pair.compare(slices={"small": groups(np.where(np.arange(pair.y.size) < 50, 0, 1))}))
    gate = gates(found)["ratchet:mae:small"]
    assert gate.status == "warn"
    assert gate.reason == (
        "small 's0' has too few data (50 rows in 1.0 effective clusters) or no value; so have 1 of 2 slices."
    )


def test_too_few_clusters_on_the_whole_are_rejected():
    pair = worse(draw(37), 0.8)
    found = scored(pair.compare(slices={}, cluster=np.zeros(pair.y.size)))
    assert gates(found)["ratchet:mae"].status == "fail"
    assert "too few clusters to say" in gates(found)["ratchet:mae"].reason


def test_a_used_up_allowance_is_told():
    found = scored(worse(draw(38), 1.3).compare(allowance=1.0))
    assert "; no more is right" in gates(found)["ratchet:mae"].reason


def test_a_first_release_says_that_it_is_one_and_is_accepted_beside_other_gates():
    found = Ratchet("first_release", CHAMPION | {"version": None}, "first release: nothing to compare with")
    (gate,) = ratchet_gates(found)
    assert (gate.name, gate.status, gate.required) == ("champion", "skipped", False)
    assert gate.reason == "first release: nothing to compare with."
    assert decision(found) == "accept"


def test_a_champion_that_was_taken_away_needs_a_person():
    found = Ratchet("first_release", CHAMPION, "no champion", warning="it was taken away by ann")
    (gate,) = ratchet_gates(found)
    assert (gate.status, gate.reason) == ("warn", "no champion; it was taken away by ann.")
    assert decision(found) == "needs_approval"


def test_an_unreadable_champion_is_rejected():
    found = Ratchet("unreadable", CHAMPION, "version 3 cannot be read: model.onnx was changed")
    (gate,) = ratchet_gates(found)
    assert (gate.status, decision(found)) == ("fail", "reject")
    assert "model.onnx was changed" in gate.reason


def test_scored_without_a_comparison_is_no_pass():
    assert decision(Ratchet("scored", CHAMPION, REASON)) == "reject"


def test_a_warning_about_the_champion_is_told_with_its_gate():
    found = scored(draw(39).compare(slices={}), warning="it may have learnt from these rows")
    assert gates(found)["champion"].reason == "held against version 3; it may have learnt from these rows."


@pytest.mark.parametrize("factor", [0.8, 1.5])
def test_a_ratchet_survives_json(factor):
    found = scored(worse(draw(40), factor).compare(), limits={"mae": Limit(1.5, 1.0)}, tightened=factor < 1)
    again = Ratchet.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again == found
    assert ratchet_gates(again) == ratchet_gates(found)
    first = Ratchet("first_release", CHAMPION, "none")
    assert Ratchet.from_dict(json.loads(json.dumps(first.to_dict()))) == first


def test_a_champion_without_error_has_no_ratio_and_a_gate_all_the_same():
    y = np.tile([0.0, 1.0], 300)
    pair = Pair(y, np.where(np.arange(600) % 7 == 0, 1.0, y), y, groups(y), np.arange(600) % 30, 1)
    found = scored(pair.compare("accuracy", slices={"label": groups(y)}))
    named = gates(found)
    assert named["ratchet:accuracy"].measured is None
    assert "no ratio of errors" in named["ratchet:accuracy"].reason
    assert named["ratchet:accuracy:label"].status == "fail"
