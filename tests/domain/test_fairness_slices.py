"""Slices part the rows; rare cells stand together and none is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.domain.bootstrap import resample
from cd4ml.domain.fairness.sizes import slice_sizes
from cd4ml.domain.fairness.slices import build_slices
from cd4ml.errors import UsageError
from tests.domain.fairness_worlds import column


def _rows(column):
    member = column.membership()[column.codes]
    return {name: int(count) for name, count in zip(column.names, member.sum(axis=0), strict=True)}


SEX = column([0] * 6 + [1] * 6, ("Female", "Male"))
RACE = column([0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 1], ("White", "Black", "Other"))


def test_columns_and_intersections_are_named_after_their_groups():
    slices = build_slices({"sex": SEX, "race": RACE}, depth=2, min_rows=1)
    assert [found.column for found in slices] == ["sex", "race", "sex x race"]
    assert _rows(slices.columns[2]) == {
        "Female x White": 4,
        "Female x Black": 1,
        "Female x Other": 1,
        "Male x White": 5,
        "Male x Black": 1,
    }
    assert slices.columns[2].parts == ("sex", "race")
    assert len(slices) == 10


def test_rare_cells_of_an_intersection_are_pooled_and_rare_groups_of_a_column_also_stay():
    race, both = build_slices({"sex": SEX, "race": RACE}, depth=2, min_rows=4).columns[1:]
    assert _rows(race) == {"White": 9, "Black": 2, "Other": 1, "pooled rare (2 cells)": 3}
    assert _rows(both) == {"Female x White": 4, "Male x White": 5, "pooled rare (3 cells)": 3}


def test_one_rare_cell_keeps_its_name():
    slices = build_slices({"sex": SEX, "a": column([0] * 11 + [1])}, depth=2, min_rows=3).columns
    assert _rows(slices[1]) == {"s0": 11, "s1": 1}
    assert _rows(slices[2]) == {"Female x s0": 6, "Male x s0": 5, "Male x s1": 1}


def test_rows_without_a_group_are_a_group_and_absent_groups_are_none():
    found = build_slices({"sex": column([0, -1, 0, -1, 2], ("a", "b", "c"))}, 1, 1).columns[0]
    assert _rows(found) == {"a": 2, "c": 1, "unknown": 2}


def test_depth_bounds_the_intersections():
    columns = {"a": SEX, "b": RACE, "c": SEX}
    names = {depth: [s.column for s in build_slices(columns, depth, 1)] for depth in (1, 2, 3)}
    assert names[1] == ["a", "b", "c"]
    assert names[2][3:] == ["a x b", "a x c", "b x c"]
    assert names[3][6:] == ["a x b x c"]


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(UsageError, match="same rows"):
        build_slices({"sex": SEX, "race": column([0, 1])}, 2, 1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), min_rows=st.integers(1, 30), depth=st.integers(1, 3))
def test_cells_part_the_rows(seed, min_rows, depth):
    rng = np.random.default_rng(seed)
    columns = {name: column(rng.integers(0, 4, 60)) for name in "abc"}
    for found in build_slices(columns, depth, min_rows):
        counts = list(_rows(found).values())
        assert sum(counts[: found.cells]) == 60
        assert min(counts) >= 1
        assert len(set(found.names)) == len(found.names)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), days=st.sampled_from([3, 20, 80]), min_rows=st.sampled_from([1, 40]))
def test_sizes_are_those_counted_one_slice_at_a_time(seed, days, min_rows):
    rng = np.random.default_rng(seed)
    found = build_slices({"a": column(rng.integers(0, 5, 80) ** 2)}, 1, min_rows).columns[0]
    cluster = np.arange(80) if days == 80 else rng.integers(0, days, 80)
    own, rest = slice_sizes(found, resample(80, cluster, resamples=100))
    member = found.membership()[found.codes].astype(bool)
    for position in range(len(found.names)):
        for sizes, inside in ((own, member[:, position]), (rest, ~member[:, position])):
            counts = np.unique(cluster[inside], return_counts=True)[1]
            assert sizes.rows[position] == inside.sum()
            assert sizes.clusters[position] == counts.size
            kish = counts.sum() ** 2 / (counts**2).sum() if counts.size else 0.0
            assert sizes.effective[position] == pytest.approx(kish)


def test_many_clusters_are_counted_without_a_dense_table():
    rng = np.random.default_rng(0)
    found = build_slices({"a": column(rng.integers(0, 300, 40_000))}, 1, 1).columns[0]
    cluster = rng.permutation(40_000) // 2
    own, _ = slice_sizes(found, resample(40_000, cluster, resamples=100))
    inside = found.codes == 3
    assert own.clusters[3] == np.unique(cluster[inside]).size
