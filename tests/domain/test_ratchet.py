"""A challenger against the champion: worse, better, equal, and what cannot be said."""

import json

import numpy as np
import pytest

from cd4ml.domain.ratchet import Margins, Row, compare
from cd4ml.errors import MetricError, UsageError
from tests.domain.ratchet_samples import Pair, draw, groups, worse


def statuses(found):
    return {row.slice: row.status for row in found.slices}


def test_equal_predictions_pass_everywhere_however_few_the_rows():
    pair = draw(1, shops=3, days=4, rows=2)
    same = Pair(pair.y, pair.champion, pair.champion, pair.shop, pair.day, 1)
    found = same.compare(slices={"shop": pair.shop, "row": groups(np.arange(pair.y.size))})
    assert {row.status for row in (found.overall, *found.slices)} == {"pass"}
    assert {row.ratio for row in found.slices} == {1.0}
    assert found.overall.adjusted_p is None
    assert not found.gain


def test_what_serving_rounds_is_still_equal_also_where_nothing_is_allowed():
    pair = draw(2)
    served = pair.champion.astype(np.float32).astype(np.float64)
    for ours, theirs in ((served, pair.champion), (pair.champion, served)):
        found = Pair(pair.y, ours, theirs, pair.shop, pair.day, 2).compare(margins=Margins(0, 0))
        assert {row.status for row in (found.overall, *found.slices)} == {"pass"}


def test_worse_on_one_slice_alone_fails_there_alone():
    found = worse(draw(3), 1.8, shop=7).compare(margins=Margins(overall=0.2))
    assert found.overall.status == "pass"
    assert [row.slice for row in found.slices if row.status == "fail"] == ["s7"]
    row = next(row for row in found.slices if row.slice == "s7")
    assert row.low is not None
    assert row.low > row.limit == pytest.approx(1.1)
    assert row.ratio == pytest.approx(1.8, rel=0.1)
    assert row.adjusted_p is not None
    assert row.adjusted_p < 0.001


def test_better_everywhere_passes_and_is_a_gain():
    found = worse(draw(4), 0.8).compare()
    assert {row.status for row in (found.overall, *found.slices)} == {"pass"}
    assert found.gain
    assert found.overall.ratio == pytest.approx(0.8, rel=0.05)
    assert found.overall.high is not None
    assert found.overall.high < 1


def test_worse_everywhere_fails_on_the_whole():
    found = worse(draw(5), 1.2).compare()
    assert found.overall.status == "fail"
    assert not found.gain


def test_nearly_equal_models_on_few_data_are_neither_shown_nor_refuted():
    found = draw(6, shops=2, days=10, rows=25).compare()
    assert found.overall.status == "warn"
    assert found.overall.low is not None
    assert found.overall.low < found.overall.limit < found.overall.high  # type: ignore[operator]


def test_few_rows_or_clusters_are_insufficient_and_never_a_pass():
    pair = worse(draw(7, shops=4, days=6, rows=60), 0.9)
    small = np.where(np.arange(pair.y.size) < 50, 0, 1)
    one_day = np.where(pair.day == 0, 0, 1)
    found = pair.compare(slices={"small": groups(small), "day": groups(one_day)}, margins=Margins(0.5, 0.5))
    by_name = {(row.column, row.slice): row for row in found.slices}
    assert by_name["small", "s0"].status == "insufficient_data"
    assert by_name["small", "s0"].n == 50
    assert by_name["day", "s0"].status == "insufficient_data"
    assert by_name["day", "s0"].effective_clusters == 1
    assert by_name["day", "s0"].adjusted_p is None
    assert by_name["day", "s1"].status == "pass"


def test_rare_slices_are_judged_together_and_rows_without_a_slice_as_one():
    pair = worse(draw(8, shops=1, days=30, rows=40), 0.9)
    codes = np.arange(pair.y.size) % 40
    rare = groups(np.where(codes < 20, 0, np.where(codes < 38, codes, -1)))
    found = pair.compare(slices={"item": rare}, margins=Margins(0.5, 0.5))
    assert [row.slice for row in found.slices] == ["s0", "pooled rare (19 cells)"]
    assert [row.n for row in found.slices] == [600, 600]
    assert set(statuses(found).values()) == {"pass"}


def test_one_cluster_on_the_whole_says_nothing():
    pair = draw(9)
    found = pair.compare(cluster=np.zeros(pair.y.size), slices={})
    assert found.overall.status == "insufficient_data"
    assert found.overall.low is None
    assert found.overall.ratio is not None


def test_less_allowance_turns_a_pass_into_a_failure_and_more_than_the_margin_is_not_given():
    pair = worse(
        Pair(*(getattr(draw(10), name) for name in ("y", "champion", "champion", "shop", "day")), 10), 1.03
    )
    assert pair.compare(margins=Margins(0.05)).overall.status == "pass"
    tight = pair.compare(margins=Margins(0.05), allowance=1.0).overall
    assert (tight.status, tight.limit) == ("fail", 1.0)
    assert pair.compare(margins=Margins(0.01), allowance=2.0).overall.status == "fail"


def test_a_metric_whose_best_is_one_counts_the_distance_from_it():
    rng = np.random.default_rng(11)
    y = rng.integers(0, 2, 4000).astype(float)
    wrong = rng.random(4000)
    champion, challenger = (np.where(wrong < rate, 1 - y, y) for rate in (0.10, 0.15))
    row = compare("accuracy", y, challenger, champion).overall
    assert row.ratio == pytest.approx(1.5, rel=0.1)
    assert row.status == "fail"
    assert compare("accuracy", y, champion, challenger).gain


def test_a_champion_without_error_is_beaten_by_nobody_and_equalled_by_the_like():
    y = np.tile([0.0, 1.0], 200)
    wrong = y.copy()
    wrong[::10] = 1
    found = compare("accuracy", y, wrong, y).overall
    assert (found.status, found.ratio, found.low) == ("fail", None, None)
    assert compare("accuracy", y, y, y).overall.ratio == 1.0


def test_a_slice_in_which_the_metric_has_no_value_has_insufficient_data_unless_the_models_agree_in_it():
    rng = np.random.default_rng(12)
    y = rng.integers(0, 2, 3000).astype(float)
    p, q = np.clip(0.6 * y + 0.4 * rng.random(3000), 0, 1), np.clip(0.55 * y + 0.45 * rng.random(3000), 0, 1)
    agreed = np.where(y > 0, q, p)
    slices = {"label": groups(y)}
    assert set(statuses(compare("roc_auc", y, q, p, slices=slices)).values()) == {"insufficient_data"}
    found = compare("roc_auc", y, agreed, p, slices=slices)
    assert statuses(found) == {"s0": "pass", "s1": "insufficient_data"}


def test_a_metric_without_value_on_the_whole_is_refused():
    with pytest.raises(MetricError, match="wape: has no value over 50 holdout rows; choose another metric"):
        compare("wape", np.zeros(50), np.ones(50), np.ones(50) * 2)


def test_predictions_that_are_not_finite_and_slices_of_another_length_are_refused():
    y = np.arange(50.0)
    with pytest.raises(MetricError, match="y_pred is NaN or infinite in 1 of 50 rows"):
        compare("mae", y, y, np.where(y == 3, np.nan, y))
    with pytest.raises(UsageError, match="same rows"):
        compare("mae", y, y, y, slices={"a": groups(np.zeros(50)), "b": groups(np.zeros(49))})


def test_weights_count_where_the_metric_takes_them():
    pair = worse(draw(13), 2.0, shop=0)
    weight = np.where(pair.shop.codes == 0, 0.0, 1.0)
    plain = pair.compare("nwrmsle", slices={}).overall
    without = pair.compare("nwrmsle", slices={}, weight=weight).overall
    assert plain.status == "fail"
    assert plain.ratio > without.ratio  # type: ignore[operator]


def test_the_same_seed_gives_the_same_rows_and_they_survive_json():
    first, second = (draw(14).compare() for _ in range(2))
    assert first == second
    rows = [Row.from_dict(json.loads(json.dumps(row.to_dict(), allow_nan=False))) for row in first.slices]
    assert tuple(rows) == first.slices


def test_errors_that_never_vary_need_no_chance():
    y, days = np.zeros(400), np.arange(400) % 20
    ours = compare("mae", y, y + 2, y + 1, cluster=days).overall
    assert (ours.status, ours.ratio, ours.adjusted_p) == ("fail", 2.0, 0.0)
    at_the_margin = compare("mae", y, y + 1.1, y + 1, cluster=days, margins=Margins(overall=0.1)).overall
    assert at_the_margin.adjusted_p == 1.0
    better = compare("mae", y, y + 1, y + 2, cluster=days)
    assert (better.overall.status, better.gain) == ("pass", True)


def test_two_clusters_of_which_one_is_small_are_too_few():
    pair = worse(draw(15), 0.5)
    found = pair.compare(cluster=(np.arange(pair.y.size) < 10).astype(int), slices={})
    assert found.overall.clusters == 2
    assert found.overall.effective_clusters < 2
    assert (found.overall.status, found.gain) == ("insufficient_data", False)
