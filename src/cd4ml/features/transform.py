"""Features of rows: of a million in training, of one in serving, by the same code and to the same bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.calendar import NO_STEP, PARTS, step_index
from cd4ml.features.columns import ColumnLike, ColumnSet, as_float, length, take
from cd4ml.features.fitting import MEMORY_BUDGET_BYTES, fit_state
from cd4ml.features.keys import Cache
from cd4ml.features.operations import require_columns, run_operations
from cd4ml.features.panel import Panel
from cd4ml.features.plan import (
    AgeFeature,
    CalendarFeature,
    CategoryFeature,
    LagFeature,
    NumberFeature,
    Plan,
    RollingFeature,
    SeasonalFeature,
)
from cd4ml.features.state import State
from cd4ml.features.windows import Windows

__all__ = ["enrich", "fit_state", "seasonal_naive", "steps_of", "transform", "unseen"]

CHUNK_ROWS = 8192
_WINDOW_CELLS = 8_000_000
"""Chunks are smaller where windows are so long that a chunk of them would be larger."""
Codes = NDArray[np.int64]
Matrix = NDArray[np.float32]


@dataclass
class _Windowed:
    """Rolling features of one series that end at the same step."""

    series: int
    after: int
    width: int = 0
    items: list[tuple[int, int, str]] = field(default_factory=list)
    """(column, size in steps, method of Windows)."""


@dataclass
class _Prepared:
    """A plan against a state: where each feature goes, and which share work."""

    plan: Plan
    numbers: list[tuple[int, str]] = field(default_factory=list)
    categories: list[tuple[int, int, CategoryFeature]] = field(default_factory=list)
    calendar: list[tuple[int, str]] = field(default_factory=list)
    ages: list[tuple[int, AgeFeature]] = field(default_factory=list)
    lags: list[tuple[int, LagFeature]] = field(default_factory=list)
    seasons: list[tuple[int, SeasonalFeature]] = field(default_factory=list)
    windows: dict[tuple[int, int], _Windowed] = field(default_factory=dict)
    groups: list[tuple[str, ...]] = field(default_factory=list)


def _prepare(plan: Plan, state: State) -> _Prepared:
    if isinstance(state.prepared, _Prepared) and state.prepared.plan is plan:
        return state.prepared
    found, column = _Prepared(plan), 0
    for feature in plan.features:
        width = 1
        match feature:
            case NumberFeature():
                found.numbers.append((column, feature.column))
            case CategoryFeature():
                width = (
                    len(state.vocabularies[feature.name].texts) + 1 if feature.encoding == "one_hot" else 1
                )
                found.categories.append((column, width, feature))
            case CalendarFeature():
                found.calendar.append((column, feature.part))
            case AgeFeature():
                found.ages.append((column, feature))
            case LagFeature():
                found.lags.append((column, feature))
            case SeasonalFeature():
                found.seasons.append((column, feature))
            case RollingFeature():
                key = (feature.series, feature.after)
                shared = found.windows.setdefault(key, _Windowed(*key))
                shared.width = max(shared.width, feature.size)
                method = "total" if feature.statistic == "sum" else feature.statistic
                shared.items.append((column, feature.size, method))
        column += width
    used = [age.by for _, age in found.ages]
    used += [plan.series[lag.series].by for _, lag in found.lags]
    used += [plan.series[season.series].by for _, season in found.seasons]
    used += [plan.series[series].by for series, _ in found.windows]
    found.groups = list(dict.fromkeys(used))
    state.prepared = found
    return found


def steps_of(plan: Plan, state: State, columns: ColumnSet) -> Codes:
    """Return each row's step of the calendar; zeros without time. `columns` has the time column."""
    if plan.problem.time is None:
        return np.zeros(length(columns), dtype=np.int64)
    times: Any = columns[plan.problem.time.column]
    return step_index(times, state.origin_seconds, state.step_seconds)


def enrich(
    plan: Plan, state: State, facts: ColumnSet, columns: Iterable[str] | None = None
) -> dict[str, ColumnLike]:
    """Return the facts' columns with derived and joined ones.

    Parameters
    ----------
    columns : iterable of str, optional
        Only these are made (and what they need); by default all whose parts are among the facts.
    """
    if columns is not None:
        operations = plan.operations_for(columns, facts)
        return run_operations(operations, state.lookups, facts, {})
    have, possible = set(facts), []
    for operation in plan.layout.operations:
        if operation.needs <= have:
            possible.append(operation)
            have |= set(operation.gives)
    return run_operations(possible, state.lookups, facts, {})


def transform(
    plan: Plan,
    state: State,
    facts: ColumnSet,
    *,
    chunk_rows: int = CHUNK_ROWS,
    out: Matrix | None = None,
    memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
) -> Matrix:
    """Return the features of rows.

    A row's features depend on this row and on the state alone: they are the same to the bit in any batch.

    Parameters
    ----------
    facts : ColumnSet
        At least the columns of `plan.inputs`, [n].
    chunk_rows : int
        How many rows are worked on at once.
    out : float32 [n, k], optional
        Where to write, e.g. a memory-mapped file.
    memory_budget_bytes : int
        With a history beyond it rows are taken in the order of their entities, so that each part of it is
        read once.

    Returns
    -------
    float32 [n, len(state.names)], C-contiguous
        NaN where a value is not known.
    """
    require_columns(facts, plan.inputs)
    prepared = _prepare(plan, state)
    needed = {name: facts[name] for name in plan.inputs}
    rows = length(facts)
    result = np.empty((rows, len(state.names)), dtype=np.float32) if out is None else out
    cache: Cache = {}
    chunk_rows = max(1, min(chunk_rows, _WINDOW_CELLS // plan.pad))
    if state.panel_bytes > memory_budget_bytes and rows > chunk_rows:
        order = _by_entity(plan, state, needed, cache)
        for first in range(0, rows, chunk_rows):
            index = np.sort(order[first : first + chunk_rows])
            part = np.empty((len(index), len(state.names)), dtype=np.float32)
            _fill(prepared, state, take(needed, index), part, cache)
            result[index] = part
    elif rows <= chunk_rows:
        _fill(prepared, state, needed, result, cache)
    else:
        for first in range(0, rows, chunk_rows):
            chunk = slice(first, first + chunk_rows)
            _fill(prepared, state, take(needed, chunk), result[chunk], cache)
    return result


def _by_entity(plan: Plan, state: State, facts: ColumnSet, cache: Cache) -> Codes:
    entity = tuple(plan.problem.entity)
    have = [facts[name] for name in entity if name in facts]
    if len(have) < len(entity):
        return np.arange(length(facts))
    return np.argsort(state.groups[entity].index.positions(have, length(facts), cache), kind="stable")


def _fill(prepared: _Prepared, state: State, facts: ColumnSet, out: Matrix, cache: Cache) -> None:
    plan = prepared.plan
    columns = run_operations(plan.operations, state.lookups, facts, cache)
    with np.errstate(over="ignore", invalid="ignore"):
        for column, name in prepared.numbers:
            out[:, column] = as_float(columns[name])  # type: ignore[arg-type]
        for column, width, feature in prepared.categories:
            vocabulary = state.vocabularies[feature.name]
            out[:, column : column + width] = vocabulary.encode(
                columns[feature.column], feature.encoding, cache
            )
        if prepared.calendar or prepared.groups:
            step = steps_of(plan, state, columns)
            _fill_calendar(prepared, state, columns, step, out)
            _fill_history(prepared, state, columns, step, out, cache)
    out[np.isinf(out)] = np.nan


def _fill_calendar(prepared: _Prepared, state: State, columns: ColumnSet, step: Codes, out: Matrix) -> None:
    time = prepared.plan.problem.time
    for column, part in prepared.calendar:
        if part == "trend":
            out[:, column] = np.where(step == NO_STEP, np.nan, step - state.first_train_step)
        elif time is not None:
            out[:, column] = PARTS[part](columns[time.column])  # type: ignore[arg-type]


def _fill_history(
    prepared: _Prepared, state: State, columns: ColumnSet, step: Codes, out: Matrix, cache: Cache
) -> None:
    plan = prepared.plan
    members = {
        by: state.groups[by].index.positions([columns[name] for name in by], len(step), cache)
        for by in prepared.groups
    }
    for column, age in prepared.ages:
        out[:, column] = _age(state.groups[age.by].first_seen, members[age.by], step, age.delay)
    for column, lag in prepared.lags:
        out[:, column] = state.panels[lag.series].at(members[plan.series[lag.series].by], step - lag.delay)
    for column, season in prepared.seasons:
        group = members[plan.series[season.series].by]
        out[:, column] = _season(state.panels[season.series], group, step, season.delays)
    for shared in prepared.windows.values():
        group = members[plan.series[shared.series].by]
        windows = Windows(state.panels[shared.series].window(group, step - shared.after, shared.width))
        for column, size, method in shared.items:
            out[:, column] = getattr(windows, method)(size)


def _age(first_seen: Codes, member: Codes, step: Codes, delay: int) -> NDArray[np.float64]:
    """Steps since the first row; 0 until it can be known that there was one."""
    first = np.append(first_seen, 2**40)[member]
    return np.where(step == NO_STEP, np.nan, np.where(first <= step - delay, step - first, 0))


def _season(panel: Panel, group: Codes, step: Codes, delays: tuple[int, ...]) -> NDArray[np.float64]:
    total, count = np.zeros(len(step)), np.zeros(len(step))
    for delay in delays:
        value = panel.at(group, step - delay).astype(np.float64)
        known = ~np.isnan(value)
        total += np.where(known, value, 0.0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def seasonal_naive(plan: Plan, state: State, facts: ColumnSet, period: timedelta) -> NDArray[np.float64]:
    """Return the target one season ago, the last one that is known at the horizon [n].

    NaN where it is not known: before the entity was first seen, or where an absent step is `missing`.
    """
    delay = plan.naive_delay(period)
    entity = tuple(plan.problem.entity)
    assert plan.problem.time is not None
    columns = enrich(plan, state, facts, [*entity, plan.problem.time.column])
    keys = [columns[name] for name in entity]
    member = state.groups[entity].index.positions(keys, length(facts), {})
    step = steps_of(plan, state, columns)
    return state.panels[plan.target_series].at(member, step - delay).astype(np.float64)


def unseen(plan: Plan, state: State, facts: ColumnSet) -> dict[str, list[str]]:
    """Return, for each category column, its texts that training did not count (rare ones are among them)."""
    columns = enrich(plan, state, facts, [f.column for f in plan.features if isinstance(f, CategoryFeature)])
    found: dict[str, list[str]] = {}
    for feature in plan.features:
        if isinstance(feature, CategoryFeature):
            words = state.vocabularies[feature.name]
            strange = words.unknown(columns[feature.column])
            if strange:
                found[feature.column] = strange
    return found
