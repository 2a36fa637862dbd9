"""Limits tighten on a sure gain, never loosen, and hold on another holdout."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.ratchet import Comparison, Margins, compare
from cd4ml.domain.ratchet_limits import Limit, allowance, first_limit, next_limit
from cd4ml.errors import IntegrityError
from tests.domain.ratchet_samples import Pair, draw, worse

ERRORS = st.floats(0.01, 100)
MARGIN = 0.01


def found(ours: float, theirs: float, gain: bool = False, high: float | None = None) -> Comparison:
    """Return a comparison of two errors."""
    row = draw(1, shops=2).compare(slices={}).overall
    high = ours / theirs if high is None else high
    row = replace(row, metric="wape", challenger=ours, champion=theirs, ratio=ours / theirs, high=high)
    return Comparison(row, (), gain)


def test_the_first_version_sets_the_limit_at_its_own_error_and_the_margin():
    limit = first_limit("wape", 0.2, 0.05)
    assert (limit.score, limit.value) == (0.2, pytest.approx(0.21))
    assert allowance("wape", limit, 0.05) == pytest.approx(1.05)
    area = first_limit("roc_auc", 0.9, 0.1)
    assert area.value == pytest.approx(0.89)
    assert allowance("roc_auc", area, 0.1) == pytest.approx(1.1)


def test_a_version_without_a_limit_has_the_whole_margin():
    assert allowance("wape", None, 0.02) == 1.02
    limit = next_limit("wape", found(1.01, 1.0), None, 0.02)
    assert limit == Limit(pytest.approx(1.02), 1.01)


def test_small_losses_add_up_to_the_margin_and_no_further():
    limit, allowed, error = first_limit("wape", 1.0, MARGIN), [], 1.0
    for loss in (1.004, 1.004, 1.004):
        allowed.append(allowance("wape", limit, MARGIN))
        limit = next_limit("wape", found(error * loss, error), limit, MARGIN)
        error *= loss
    assert allowed == pytest.approx([1.01, 1.01 / 1.004, 1.01 / 1.004**2])
    assert limit.value == pytest.approx(1.01)
    assert allowance("wape", limit, MARGIN) == 1.0  # it is used up, and an equal challenger never fails


def test_a_sure_gain_tightens_to_what_is_sure_of_it():
    limit = next_limit("wape", found(0.80, 1.0, gain=True, high=0.85), Limit(1.01, 1.0), MARGIN)
    assert limit == Limit(pytest.approx(0.85 * 1.01), 0.80)
    lucky = next_limit("wape", found(0.80, 1.0, gain=False, high=1.02), Limit(1.01, 1.0), MARGIN)
    assert lucky == Limit(pytest.approx(1.01), 0.80)
    assert allowance("wape", lucky, MARGIN) == 1 + MARGIN


def test_a_gain_that_only_makes_good_an_earlier_loss_leaves_the_limit():
    limit = next_limit("wape", found(1.04, 1.08, gain=True, high=0.98), Limit(1.01, 1.08), MARGIN)
    assert limit.value == pytest.approx(1.01)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 2), ERRORS, ERRORS, ERRORS, st.floats(0.1, 2), st.booleans())
def test_no_limit_is_ever_loosened(value, score, champion, ours, high, gain):
    before = Limit(value * score, score)
    after = next_limit("wape", found(ours, champion, gain, high), before, MARGIN)
    assert after.value <= value * champion * (1 + 1e-12)  # in the units of this holdout
    assert 1 <= allowance("wape", after, MARGIN) <= 1 + MARGIN


@settings(deadline=None, max_examples=50)
@given(scale=st.floats(0.1, 10), share=st.floats(1.001, 1.009))
def test_a_harder_holdout_leaves_the_same_allowance(scale, share):
    first = first_limit("wape", 1.0, MARGIN)
    here = next_limit("wape", found(share, 1.0), first, MARGIN)
    there = next_limit("wape", found(share * scale, scale), first, MARGIN)
    assert there.value == pytest.approx(here.value * scale)
    assert allowance("wape", there, MARGIN) == pytest.approx(allowance("wape", here, MARGIN))


def test_a_champion_without_error_leaves_none_to_its_successors():
    y = np.tile([0.0, 1.0], 300)
    worse_one = np.where(np.arange(600) == 3, 0.0, y)
    limit = first_limit("accuracy", 1.0, 0.1)
    assert limit == Limit(1.0, 1.0)
    assert allowance("accuracy", limit, 0.1) == 1.1
    after = next_limit("accuracy", compare("accuracy", y, worse_one, y), limit, 0.1)
    assert after.value == 1.0
    assert allowance("accuracy", after, 0.1) == 1.0


def test_releases_that_each_keep_the_margin_cannot_creep():
    pair, limit, statuses = draw(21, shops=40), None, []
    champion = pair.champion
    for _ in range(3):
        challenger = pair.y + (champion - pair.y) * 1.018
        one = Pair(pair.y, challenger, champion, pair.shop, pair.day, 21)
        margins = Margins(overall=0.02)
        comparison = one.compare(slices={}, margins=margins, allowance=allowance("mae", limit, 0.02))
        statuses.append(comparison.overall.status)
        limit = next_limit("mae", comparison, limit, 0.02)
        champion = challenger
    assert statuses == ["pass", "fail", "fail"]


def test_a_limit_survives_json_and_a_broken_one_is_refused():
    limit = next_limit("mae", worse(draw(22), 0.7).compare("mae"), None, MARGIN)
    assert Limit.from_dict(json.loads(json.dumps(limit.to_dict()))) == limit
    for broken in ({}, {"value": 1.0}, {"value": None, "score": 1.0}, {"value": "x", "score": 1.0}):
        with pytest.raises(IntegrityError, match="lacks a sound 'value' or 'score'"):
            Limit.from_dict(broken)
