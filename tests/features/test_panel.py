"""The dense history: read at any step, filled in parts, and cut to its end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.features.panel import Cells, Panel, collapse, fill_panel
from tests.features.samples import same_bits

PAD = 3


def _panel(groups=3, steps=5, pad=PAD, start=0):
    panel = Panel(np.empty(Panel.size(groups, steps, pad), dtype=np.float32), groups, steps, pad, start)
    panel.values[:] = np.nan
    for group in range(groups):
        panel.block(group)[:] = 10 * group + np.arange(steps)
    return panel


def _value(panel, group, step):
    inside = 0 <= step - panel.start < panel.steps and group >= 0
    return 10.0 * group + step - panel.start if inside else np.nan


@settings(deadline=None, max_examples=50)
@given(
    groups=st.lists(st.integers(-1, 2), min_size=1, max_size=8),
    step=st.integers(-20, 30) | st.sampled_from([-(2**40), 2**40]),
    width=st.integers(1, PAD),
    start=st.sampled_from([0, 4]),
)
def test_values_and_windows_outside_of_the_history_are_unknown(groups, step, width, start):
    panel, rows = _panel(start=start), np.array(groups)
    steps = np.full(len(rows), step)
    np.testing.assert_array_equal(panel.at(rows, steps), [_value(panel, g, step) for g in groups])
    np.testing.assert_array_equal(
        panel.window(rows, steps, width),
        [[_value(panel, g, step - back) for back in range(width)] for g in groups],
    )


@settings(deadline=None, max_examples=30)
@given(keep=st.integers(1, 9), step=st.integers(-9, 15))
def test_a_cut_panel_has_its_last_steps(keep, step):
    whole = _panel()
    cut = whole.trim(keep)
    assert cut.steps == min(keep, whole.steps)
    expected = [_value(whole, g, step) if step >= whole.steps - keep else np.nan for g in range(3)]
    np.testing.assert_array_equal(cut.at(np.arange(3), np.full(3, step)), expected)


@pytest.mark.parametrize("aggregate", ["mean", "sum"])
@pytest.mark.parametrize("absent_is_zero", [True, False])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 3000))
def test_a_panel_filled_a_part_at_a_time_is_the_same_to_the_bit(aggregate, absent_is_zero, seed, budget):
    rng = np.random.default_rng(seed)
    groups, steps, units, rows = 7, 6, 12, 40
    unit_group = rng.integers(0, groups, units)
    unit, step = rng.integers(0, units, rows), rng.integers(0, steps, rows)
    cell, first = np.unique(unit * steps + step, return_index=True)
    value = np.where(rng.random(rows) < 0.2, np.nan, rng.normal(0, 1e3, rows))[first]
    unit, step = cell // steps, cell % steps
    born = np.full(units, steps - 1)
    np.minimum.at(born, unit, step)
    optional = (unit_group, born) if absent_is_zero else (None, None)
    cells = Cells(unit_group[unit], step, value, *optional)
    found = []
    for size in (2**30, budget):
        panel = Panel(np.empty(Panel.size(groups, steps, 2), dtype=np.float32), groups, steps, 2, 0)
        fill_panel(panel, cells, aggregate, size)
        found.append(panel.values)
    assert same_bits(*found)


def test_values_beyond_float32_are_unknown():
    panel = Panel(np.empty(Panel.size(1, 2, 1), dtype=np.float32), 1, 2, 1, 0)
    cells = Cells(np.array([0, 0]), np.array([0, 1]), np.array([1e300, 2.0]), None, None)
    fill_panel(panel, cells, "mean", 2**30)
    np.testing.assert_array_equal(panel.block(0), np.array([np.nan, 2], dtype=np.float32))


def test_rows_of_one_unit_and_step_are_put_together():
    unit, step = np.array([0, 1, 0, 0, 1]), np.array([2, 0, 2, 1, 0])
    value = np.array([1.0, np.nan, 4.0, np.nan, np.nan])
    first, mean = collapse(unit, step, value, 3, "mean")
    assert list(zip(unit[first].tolist(), step[first].tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0)]
    np.testing.assert_array_equal(mean, [np.nan, 2.5, np.nan])
    np.testing.assert_array_equal(collapse(unit, step, value, 3, "sum")[1], [np.nan, 5, np.nan])
