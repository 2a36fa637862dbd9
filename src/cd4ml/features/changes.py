"""What newer data say otherwise of the past: two states of one training, held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.columns import CategoryArray, ColumnLike, as_float
from cd4ml.features.joins import Lookup
from cd4ml.features.keys import KeyIndex
from cd4ml.features.layout import JoinTable
from cd4ml.features.panel import Panel
from cd4ml.features.plan import TARGET, Plan
from cd4ml.features.state import State

__all__ = ["state_changes", "step_text"]

TOLERANCE = 1e-5
"""Differences up to this times max(1, |value|) are those of sums in another order."""
_CHUNK_CELLS = 4_000_000
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


def step_text(state: State, step: int) -> str:
    """Return when a step begins: a date where steps are days, else a time."""
    unit = "s" if state.step_seconds % 86400 or state.origin_seconds % 86400 else "D"
    seconds = state.origin_seconds + step * state.step_seconds
    return str(np.datetime64(seconds, "s").astype(f"datetime64[{unit}]"))


def state_changes(plan: Plan, old: State, new: State) -> dict[str, Any]:
    """Return what two states of one training know differently of what the older one holds.

    Parameters
    ----------
    old : State
        It may be trimmed: what it does not hold is not compared.
    new : State
        Over data that should contain those of `old`; not trimmed.

    Returns
    -------
    dict
        "steps", how many differ in some history, with "first" and "last", when they begin ("" without any).
        "series": for each history that differs its "of", "by", "cells", "members" and "steps".
        "groups": for each group that differs "by", the number of members that are "gone" and of those that
        were "first_seen" at another step.
        "tables": for each join that differs its "table", the number of keys that are "gone" and of those
        whose row was "changed".
    """
    found = {by: _positions(group.index, new.groups[by].index) for by, group in old.groups.items()}
    shift = (old.origin_seconds - new.origin_seconds) // old.step_seconds if old.step_seconds else 0
    touched = np.zeros(old.last_step + 1, dtype=bool)
    series = []
    for number, panel in enumerate(old.panels):
        kept = plan.series[number]
        seen = _compare_panels(panel, new.panels[number], found[kept.by], shift)
        touched[panel.start : panel.start + panel.steps] |= seen.steps
        if seen.cells:
            name = plan.problem.target.column if kept.of == TARGET else kept.of
            about = {"cells": seen.cells, "members": seen.members, "steps": int(seen.steps.sum())}
            series.append({"of": name, "by": list(kept.by), **about})
    steps = np.flatnonzero(touched)
    ends = (step_text(old, int(steps[0])), step_text(old, int(steps[-1]))) if steps.size else ("", "")
    return {
        "steps": int(steps.size),
        "first": ends[0],
        "last": ends[1],
        "series": series,
        "groups": list(_group_changes(old, new, found, shift)),
        "tables": list(_table_changes(plan, old, new)),
    }


@dataclass
class _Differences:
    cells: int
    members: int
    steps: Mask


def _keys(index: KeyIndex) -> list[ColumnLike]:
    """Return the columns of an index's keys, in its order."""
    columns: list[ColumnLike] = []
    rest = index.ids
    for values in reversed(index.parts):
        rest, code = np.divmod(rest, max(1, len(values)))
        if isinstance(values, tuple):
            columns.append(CategoryArray(code.astype(np.int32), values))
        else:
            columns.append(values[code])
    return columns[::-1]


def _positions(old: KeyIndex, new: KeyIndex) -> Codes:
    """Return where each key of `old` is in `new`; -1 where it is gone."""
    return new.positions(_keys(old), len(old), {})


def _table(panel: Panel) -> NDArray[np.float32]:
    """Return a panel's cells [groups, steps]."""
    whole = panel.values[panel.pad :].reshape(panel.groups, panel.steps + panel.pad)
    return whole[:, : panel.steps]


def _compare_panels(old: Panel, new: Panel, position: Codes, shift: int) -> _Differences:
    before, after = _table(old), _table(new)
    begin = old.start + shift - new.start  # where the older history begins among the columns of the newer
    first, end = max(0, -begin), min(old.steps, new.steps - begin)
    result = _Differences(0, 0, np.zeros(old.steps, dtype=bool))
    rows = max(1, _CHUNK_CELLS // max(1, old.steps))
    for low in range(0, old.groups, rows):
        part = position[low : low + rows]
        known = np.flatnonzero(part >= 0)
        said = np.full((len(part), old.steps), np.nan, dtype=np.float32)
        if end > first:
            said[known, first:end] = after[part[known], begin + first : begin + end]
        wrong = _differ(before[low : low + rows], said)
        result.cells += int(wrong.sum())
        result.members += int(wrong.any(axis=1).sum())
        result.steps |= wrong.any(axis=0)
    return result


def _differ(before: NDArray[Any], after: NDArray[Any]) -> Mask:
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(before - after) > TOLERANCE * np.maximum(1, np.abs(before))
    return np.asarray(far | (np.isnan(before) != np.isnan(after)))


def _group_changes(
    old: State, new: State, found: dict[tuple[str, ...], Codes], shift: int
) -> Iterator[dict[str, Any]]:
    for by, group in old.groups.items():
        there = found[by] >= 0
        seen = new.groups[by].first_seen[found[by][there]]
        gone, moved = int((~there).sum()), int((seen != group.first_seen[there] + shift).sum())
        if gone or moved:
            yield {"by": list(by), "gone": gone, "first_seen": moved}


def _table_changes(plan: Plan, old: State, new: State) -> Iterator[dict[str, Any]]:
    joins = [operation for operation in plan.layout.operations if isinstance(operation, JoinTable)]
    for join in sorted(joins, key=lambda join: join.index):
        before, after = old.lookups[join.index], new.lookups[join.index]
        position = _positions(before.index, after.index)
        gone = int((position < 0).sum())
        changed = int(_rows_that_differ(before, after, position).sum())
        if gone or changed:
            yield {"table": join.table, "gone": gone, "changed": changed}


def _rows_that_differ(old: Lookup, new: Lookup, position: Codes) -> Mask:
    keys = np.flatnonzero(position >= 0)
    wrong = np.zeros(len(keys), dtype=bool)
    for name, column in old.columns.items():
        before, after = _values(column), _values(new.columns[name])
        pair = (before[keys], after[position[keys]])
        wrong |= _differ(*pair) if before.dtype.kind == "f" else pair[0] != pair[1]
    return wrong


def _values(column: ColumnLike) -> NDArray[Any]:
    """Return a column as float64, or as objects of texts and None."""
    if isinstance(column, CategoryArray):
        return np.array([*column.categories, None], dtype=object)[column.codes]
    if column.dtype.kind == "M":
        return column.astype("datetime64[s]").astype(np.int64)
    return as_float(column)
