"""The flip test of slices: shown with its counts, and never judged."""

import numpy as np
import pytest

from cd4ml.domain.fairness.flip_rows import flip_rows
from cd4ml.domain.fairness.flips import flip_test
from cd4ml.domain.fairness.slices import build_slices
from cd4ml.features.columns import CategoryArray


def world(gap):
    """Return features, decisions and slices of 400 people, of whom B needs `gap` more for a positive."""
    random = np.random.default_rng(3)
    skill, group = random.normal(size=400), np.arange(400) % 2
    decision = (skill > gap * group).astype(float)
    columns = {"group": CategoryArray(group.astype(np.int32), ("A", "B"))}
    return skill[:, None], decision, build_slices(columns, 1, 10), group == 1


def test_a_group_that_needs_more_would_be_called_positive_among_alike_others():
    features, decision, slices, inside = world(gap=1.0)
    rows = {row.slice: row for row in flip_rows(features, decision, slices, np.arange(400))}
    assert rows["B"].ratio > 0.2
    assert rows["A"].ratio < -0.2
    assert rows["B"].ratio == flip_test(features, decision, inside).net
    assert rows["B"].estimate == pytest.approx(flip_test(features, decision, inside).flipped)
    assert "200 rows" in rows["B"].reason and "not judged" in rows["B"].reason


def test_a_rule_that_does_not_know_the_group_flips_hardly_anybody():
    features, decision, slices, _ = world(gap=0.0)
    for row in flip_rows(features, decision, slices, np.arange(400)):
        assert abs(row.ratio) < 0.03
        assert (row.margin, row.low, row.family, row.status) == (None, None, "warning", "insufficient_data")


def test_rows_of_one_cluster_count_as_one_and_a_slice_of_all_rows_has_no_others():
    features, decision, slices, _ = world(gap=0.0)
    (row, _) = flip_rows(features, decision, slices, np.zeros(400, dtype=int))
    assert (row.clusters, row.effective_clusters) == (1, 1.0)
    whole = build_slices({"one": CategoryArray(np.zeros(400, dtype=np.int32), ("all",))}, 1, 10)
    assert flip_rows(features, decision, whole, np.arange(400)) == []
