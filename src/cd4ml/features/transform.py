"""Features of rows: of a million in training, of one in serving, by the same code and to the same bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cd4ml.features.calendar import NO_STEP, parts_of, step_index
from cd4ml.features.columns import ColumnLike, ColumnSet, length, take
from cd4ml.features.fitting import MEMORY_BUDGET_BYTES, fit_state
from cd4ml.features.joins import Lookup
from cd4ml.features.keys import Cache
from cd4ml.features.layout import JoinTable
from cd4ml.features.operations import require_columns, run_operations
from cd4ml.features.past import Historic, Past, group_by_geometry
from cd4ml.features.plan import (
    AgeFeature,
    CalendarFeature,
    CategoryFeature,
    NumberFeature,
    Plan,
)
from cd4ml.features.state import State

__all__ = ["enrich", "fit_state", "seasonal_naive", "steps_of", "transform", "unseen"]

CHUNK_ROWS = 2048
_MOST_MOMENTS = 4096
_WINDOW_CELLS = 8_000_000
"""Chunks are smaller where windows are so long that a chunk of them would be larger."""
Codes = NDArray[np.int64]
Matrix = NDArray[np.float32]


@dataclass
class _Prepared:
    """A plan against a state: where each feature goes, and which share work."""

    plan: Plan
    made_of: tuple[Any, ...]
    lookups: tuple[Lookup, ...] = ()
    """Those of the state; categories that are features are encoded once a key, not once a row."""
    numbers: list[tuple[int, str]] = field(default_factory=list)
    categories: list[tuple[int, int, CategoryFeature]] = field(default_factory=list)
    calendar: list[tuple[int, str]] = field(default_factory=list)
    ages: list[tuple[int, AgeFeature]] = field(default_factory=list)
    pasts: list[Past] = field(default_factory=list)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    moments: dict[int, tuple[Codes, Matrix]] = field(default_factory=dict)
    """Step and calendar of times that single rows had."""

    @property
    def timed(self) -> bool:
        """Whether any feature needs the time."""
        return bool(self.calendar or self.groups)


def _made_of(plan: Plan, state: State) -> tuple[Any, ...]:
    return plan, state.lookups, state.groups, state.panels, state.vocabularies


def _prepare(plan: Plan, state: State) -> _Prepared:
    known, made_of = state.prepared, _made_of(plan, state)
    if isinstance(known, _Prepared) and all(map(is_, known.made_of, made_of)):
        return known
    found, column = _Prepared(plan, made_of), 0
    historic: list[tuple[int, Historic]] = []
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
            case _:
                historic.append((column, feature))
        column += width
    found.pasts = group_by_geometry(plan, state.panels, historic)
    used = [age.by for _, age in found.ages] + [by for past in found.pasts for by in past.groups]
    found.groups = list(dict.fromkeys(used))
    found.lookups = _encoded(found, state)
    state.prepared = found
    return found


def _encoded(found: _Prepared, state: State) -> tuple[Lookup, ...]:
    """Return the lookups with their categories as features, and without what nothing else needs.

    Such a feature is a number from then on.
    """
    joins = {
        name: step for step in found.plan.operations if isinstance(step, JoinTable) for name in step.gives
    }
    made = {step.index: dict(state.lookups[step.index].columns) for step in joins.values()}
    for item in list(found.categories):
        column, _, feature = item
        if feature.column in joins and feature.encoding != "one_hot":
            of, name = joins[feature.column].index, f"\0{feature.name}"  # the name of no column
            words, values = state.vocabularies[feature.name], made[of][feature.column]
            made[of][name] = words.encode(values, feature.encoding, {})[:, 0]
            found.categories.remove(item)
            found.numbers.append((column, name))
    needed = {name for step in found.plan.operations for name in step.needs}
    needed |= {name for by in found.groups for name in by} | {name for _, name in found.numbers}
    needed |= {feature.column for _, _, feature in found.categories}
    if found.plan.problem.time is not None:
        needed.add(found.plan.problem.time.column)
    return tuple(
        Lookup(lookup.index, {name: values for name, values in made[place].items() if name in needed})
        if place in made
        else lookup
        for place, lookup in enumerate(state.lookups)
    )


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
    columns = run_operations(plan.operations, prepared.lookups, facts, cache)
    with np.errstate(over="ignore", invalid="ignore"):
        for column, name in prepared.numbers:
            out[:, column] = columns[name]  # type: ignore[assignment]
        for column, width, feature in prepared.categories:
            vocabulary = state.vocabularies[feature.name]
            out[:, column : column + width] = vocabulary.encode(
                columns[feature.column], feature.encoding, cache
            )
        if prepared.timed:
            step = _fill_calendar(prepared, state, columns, out)
            _fill_history(prepared, state, columns, step, out, cache)
    out[np.isinf(out)] = np.nan


def _fill_calendar(prepared: _Prepared, state: State, columns: ColumnSet, out: Matrix) -> Codes:
    """Write what depends on the time alone, and return each row's step."""
    if prepared.plan.problem.time is None:
        return steps_of(prepared.plan, state, columns)
    times: Any = columns[prepared.plan.problem.time.column]
    if len(times) == 1:  # the times of single rows come again and again
        moment = times.astype("datetime64[s]", copy=False).view(np.int64).item()
        if moment not in prepared.moments:
            if len(prepared.moments) >= _MOST_MOMENTS:
                prepared.moments = {}
            prepared.moments[moment] = _calendar(prepared, state, columns)
        step, values = prepared.moments[moment]
    else:
        step, values = _calendar(prepared, state, columns)
    for place, (column, _) in enumerate(prepared.calendar):
        out[:, column] = values[:, place]
    return step


def _calendar(prepared: _Prepared, state: State, columns: ColumnSet) -> tuple[Codes, Matrix]:
    """Return each row's step [n] and the features of its time [n, k]."""
    plan = prepared.plan
    step = steps_of(plan, state, columns)
    times: Any = columns[plan.problem.time.column]  # type: ignore[union-attr]
    values = np.empty((len(step), len(prepared.calendar)), dtype=np.float32)
    parts = [part for _, part in prepared.calendar]
    found = iter(parts_of(times, [part for part in parts if part != "trend"]))
    for place, part in enumerate(parts):
        trend = part == "trend"
        values[:, place] = (
            np.where(step == NO_STEP, np.nan, step - state.first_train_step) if trend else next(found)
        )
    return step, values


def _fill_history(
    prepared: _Prepared, state: State, columns: ColumnSet, step: Codes, out: Matrix, cache: Cache
) -> None:
    members = {
        by: state.groups[by].index.positions([columns[name] for name in by], len(step), cache)
        for by in prepared.groups
    }
    for column, age in prepared.ages:
        out[:, column] = _age(state.groups[age.by].first_seen, members[age.by], step, age.delay)
    for past in prepared.pasts:
        past.fill(members, step, out)


def _age(first_seen: Codes, member: Codes, step: Codes, delay: int) -> NDArray[np.float64]:
    """Steps since the first row; 0 until it can be known that there was one."""
    first = (
        np.where(member < 0, 2**40, first_seen[member]) if len(first_seen) else np.full(len(member), 2**40)
    )
    return np.where(step == NO_STEP, np.nan, np.where(first <= step - delay, step - first, 0))


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
