"""Historic features laid together: the same as each alone, in any number of rows."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.panel import Panel
from cd4ml.features.past import Past, group_by_geometry
from cd4ml.features.plan import LagFeature, RollingFeature, SeasonalFeature, Series
from cd4ml.features.transform import transform
from cd4ml.features.windows import Windows
from tests.features.samples import fitted, random_rows, same_bits, shop

GROUPS, STEPS, PAD = 3, 20, 6
BY = (("shop",), ("item",), ())


class _Plan:
    series = tuple(Series("sales", by, "mean") for by in BY)


def _panels(seed, start=0):
    rng = np.random.default_rng(seed)
    found = []
    for _ in BY:
        panel = Panel(np.full(Panel.size(GROUPS, STEPS, PAD), np.nan, np.float32), GROUPS, STEPS, PAD, start)
        for group in range(GROUPS):
            values = rng.normal(size=STEPS)
            panel.block(group)[:] = np.where(rng.random(STEPS) < 0.2 * (seed % 2), np.nan, values)
        found.append(panel)
    return found


historic = st.one_of(
    st.builds(LagFeature, st.just("l"), st.integers(0, 2), st.integers(1, 9)),
    st.builds(
        RollingFeature,
        st.just("r"),
        st.integers(0, 2),
        st.integers(1, 4),
        st.integers(1, PAD),
        st.sampled_from(["mean", "std", "min", "max", "sum", "median", "share_nonzero", "count"]),
    ),
    st.builds(
        SeasonalFeature,
        st.just("s"),
        st.integers(0, 2),
        st.tuples(st.integers(1, 3), st.integers(1, 4)).map(
            lambda told: tuple(told[0] * (1 + cycle) for cycle in range(told[1]))
        ),
    ),
)


def _alone(panels, feature, group, step):
    """One feature of one row, by the panel's own methods."""
    panel, one, at = panels[feature.series], np.array([group]), np.array([step])
    if isinstance(feature, LagFeature):
        return panel.at(one, at - feature.delay)
    if isinstance(feature, SeasonalFeature):
        found = np.array([[panel.at(one, at - delay)[0] for delay in feature.delays]], dtype=np.float32)
        return Windows(found).mean(len(feature.delays))
    window = Windows(panel.window(one, at - feature.after, feature.size))
    return getattr(window, "total" if feature.statistic == "sum" else feature.statistic)(feature.size)


@settings(deadline=None, max_examples=50)
@given(
    features=st.lists(historic, min_size=1, max_size=9),
    rows=st.lists(st.tuples(*[st.integers(-1, 2)] * 3, st.integers(-9, 40)), min_size=1, max_size=6),
    seed=st.integers(0, 3),
)
def test_laid_together_each_feature_has_the_bits_that_it_has_alone(features, rows, seed):
    panels, numbered = _panels(seed), list(enumerate(features))
    members = {by: np.array([row[place] for row in rows]) for place, by in enumerate(BY)}
    step = np.array([row[3] for row in rows])
    out = np.zeros((len(rows), len(features)), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        Past(_Plan, panels, numbered).fill(members, step, out)
        for row, (*groups, at) in enumerate(rows):
            wanted = [float(_alone(panels, one, groups[one.series], at)[0]) for one in features]
            np.testing.assert_array_equal(out[row], np.array(wanted, dtype=np.float32))


def test_panels_of_several_geometries_are_read_each_at_its_own_places():
    panels = [_panels(0)[0], _panels(0, start=5)[1], _panels(0)[2]]
    features = [(0, LagFeature("a", 0, 1)), (1, LagFeature("b", 1, 1)), (2, LagFeature("c", 2, 2))]
    pasts = group_by_geometry(_Plan, panels, features)
    assert len(pasts) == 2
    out, members = np.zeros((1, 3), dtype=np.float32), {by: np.array([1]) for by in BY}
    for past in pasts:
        past.fill(members, np.array([10]), out)
    assert out[0].tolist() == [panels[0].block(1)[9], panels[1].block(1)[4], panels[2].block(1)[8]]


@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy, lambda state: pickle.loads(pickle.dumps(state))])
def test_a_copy_of_a_state_prepares_itself_anew(twin):
    plan, state, facts = fitted(shop(), random_rows(0))
    before = transform(plan, state, facts)
    other = twin(state)
    assert state.prepared is not None
    assert other.prepared is None
    assert same_bits(transform(plan, other, facts), before)


def test_what_replaces_a_part_of_a_state_is_used():
    plan, state, facts = fitted(shop(), random_rows(0))
    before = transform(plan, state, facts)
    with_later = replace(state, panels=tuple(_doubled(panel) for panel in state.panels))
    assert with_later.prepared is state.prepared
    fresh = replace(with_later, prepared=None)
    assert same_bits(transform(plan, with_later, facts), transform(plan, fresh, facts))
    assert not same_bits(transform(plan, with_later, facts), before)


def _doubled(panel):
    return replace(panel, values=panel.values * np.float32(2))
