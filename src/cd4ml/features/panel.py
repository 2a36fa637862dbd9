"""The dense panel: a column's history by group and step, so that lags are exact on the calendar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cells", "Panel", "collapse", "fill_panel"]

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """History [groups x steps] as float32; NaN is unknown.

    Parameters
    ----------
    values : float32 [pad + groups * (steps + pad)]
        One group after another, with `pad` unknown steps before, between and after them: a window of up to
        `pad` steps that begins or ends outside of the history needs no case of its own.
    groups, steps, pad : int
    start : int
        Step of the calendar of the first column.
    """

    values: NDArray[np.float32]
    groups: int
    steps: int
    pad: int
    start: int

    @classmethod
    def size(cls, groups: int, steps: int, pad: int) -> int:
        """Return how many cells a panel has."""
        return pad + groups * (steps + pad)

    @property
    def geometry(self) -> tuple[int, int, int]:
        """Steps, pad and start: panels of the same have the same cells at the same places."""
        return self.steps, self.pad, self.start

    def place(self, group: Codes, newest: Codes, width: int | Codes) -> Codes:
        """Return where in `values` the last `width` steps up to `newest` begin; shapes are broadcast."""
        # For one row the number of calls of NumPy is what costs; np.clip alone is as slow as six others.
        first = self.pad - width  # of a window that ends right before the first group
        inside = np.minimum(np.maximum(newest + (first + 1 - self.start), first), self.pad + self.steps)
        # With the group -1 the sum lies before all groups: that window is unknown too.
        found: Codes = np.maximum(group * (self.steps + self.pad) + inside, first)
        return found

    def at(self, group: Codes, step: Codes) -> NDArray[np.float32]:
        """Return the value of each row's group at a step; NaN outside of the history.

        Both may be [n], or [n, 1] and [n, k] for several steps of each row.
        """
        return self.values[self.place(group, step, 1)]

    def window(self, group: Codes, newest: Codes, width: int) -> NDArray[np.float32]:
        """Return the last `width` steps up to `newest`, newest first [n, width]."""
        return self.windows(width)[self.place(group, newest, width)][:, ::-1]

    def windows(self, width: int) -> NDArray[np.float32]:
        """Return a view of `width` cells, oldest first, from each place on [cells - width + 1, width]."""
        stride = self.values.strides[0]
        shape = (len(self.values) - width + 1, width)
        # as_strided does the same ten times slower.
        return np.ndarray(shape, self.values.dtype, self.values, 0, (stride, stride))

    def block(self, group: int) -> NDArray[np.float32]:
        """Return one group's history [steps]."""
        first = self.pad + group * (self.steps + self.pad)
        return self.values[first : first + self.steps]

    def trim(self, keep: int) -> Panel:
        """Return the panel with its last `keep` steps alone."""
        keep = min(keep, self.steps)
        values = np.full(self.size(self.groups, keep, self.pad), np.nan, dtype=np.float32)
        old = self.values[self.pad :].reshape(self.groups, self.steps + self.pad)
        new = values[self.pad :].reshape(self.groups, keep + self.pad)
        new[:, :keep] = old[:, self.steps - keep : self.steps]
        return Panel(values, self.groups, keep, self.pad, self.start + self.steps - keep)


@dataclass(frozen=True)
class Cells:
    """What is known of units in steps; a unit is one entity within one group.

    Parameters
    ----------
    group, step : int64 [cells]
    value : float64 [cells]
        NaN where a row is present and its value is not known.
    unit_group, unit_first : int64 [units], optional
        Each unit's group and first step: from then on an absent cell is zero. None: absent is unknown.
    """

    group: Codes
    step: Codes
    value: Numbers
    unit_group: Codes | None
    unit_first: Codes | None


def collapse(unit: Codes, step: Codes, value: Numbers, steps: int, aggregate: str) -> tuple[Codes, Numbers]:
    """Put rows of one unit and step together.

    Returns
    -------
    first : int64 [cells]
        A row of each cell.
    value : float64 [cells]
        Mean or sum of the known values, NaN without any.
    """
    _, first, cell = np.unique(unit * steps + step, return_index=True, return_inverse=True)
    known = ~np.isnan(value)
    count = np.bincount(cell, weights=known)
    total: Numbers = np.bincount(cell, weights=np.where(known, value, 0.0)).astype(np.float64, copy=False)
    if aggregate == "mean":
        total = total / np.maximum(count, 1)
    return first, np.where(count > 0, total, np.nan)


def _partitions(groups: int, steps: int, budget_bytes: int) -> Iterator[tuple[int, int]]:
    size = max(1, budget_bytes // (max(1, steps) * 40))  # five float64 blocks are alive at once
    for first in range(0, groups, size):
        yield first, min(groups, first + size)


def _block(cells: Cells, rows: Any, groups: int, steps: int, first: int, aggregate: str) -> Numbers:
    group, step, value = cells.group[rows] - first, cells.step[rows], cells.value[rows]
    size = groups * steps
    place, known = group * steps + step, ~np.isnan(value)
    sums = np.bincount(place, weights=np.where(known, value, 0.0), minlength=size)
    total: Numbers = sums.astype(np.float64, copy=False).reshape(groups, steps)
    if cells.unit_group is None or cells.unit_first is None:
        count = np.bincount(place[known], minlength=size).reshape(groups, steps)
    else:
        inside = (cells.unit_group >= first) & (cells.unit_group < first + groups)
        born = (cells.unit_group[inside] - first) * steps + cells.unit_first[inside]
        count = np.cumsum(np.bincount(born, minlength=size).reshape(groups, steps), axis=1)
        if not known.all():
            count = count - np.bincount(place[~known], minlength=size).reshape(groups, steps)
    if aggregate == "mean":
        total = total / np.maximum(count, 1)
    return np.where(count > 0, total, np.nan)


def fill_panel(panel: Panel, cells: Cells, aggregate: str, budget_bytes: int) -> None:
    """Write a panel's values, as many groups at a time as the budget allows; the result is the same.

    A cell of the panel is the mean (or sum) over the units of its group: known ones, and zero for absent ones
    that were seen before, if absent is zero.
    """
    values = panel.values
    values[:] = np.nan
    table = values[panel.pad :].reshape(panel.groups, panel.steps + panel.pad)
    parts = list(_partitions(panel.groups, panel.steps, budget_bytes))
    for first, end in parts:
        rows: Any = slice(None)
        if len(parts) > 1:
            rows = np.flatnonzero((cells.group >= first) & (cells.group < end))
        block = _block(cells, rows, end - first, panel.steps, first, aggregate)
        with np.errstate(over="ignore"):
            small = block.astype(np.float32)
        small[np.isinf(small)] = np.nan
        table[first:end, : panel.steps] = small
