"""Make a state: count categories, index keys, fill panels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from cd4ml.errors import DataError
from cd4ml.features.calendar import NO_STEP, first_step_time, step_index
from cd4ml.features.columns import (
    ColumnLike,
    ColumnSet,
    as_float,
    concat,
    empty_columns,
    length,
    take,
)
from cd4ml.features.encodings import Vocabulary, fit_vocabulary
from cd4ml.features.joins import Lookup, build_lookup
from cd4ml.features.keys import KeyIndex
from cd4ml.features.layout import JoinTable, Operation
from cd4ml.features.operations import run_operations
from cd4ml.features.panel import Cells, Panel, collapse, fill_panel
from cd4ml.features.plan import TARGET, CategoryFeature, Plan, Series, target_values
from cd4ml.features.state import Group, State

__all__ = ["MEMORY_BUDGET_BYTES", "fit_state", "refresh_state"]

MEMORY_BUDGET_BYTES = 2 * 2**30
_CHUNK_ROWS = 1_000_000
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


def fit_state(
    plan: Plan,
    facts: ColumnSet,
    tables: Mapping[str, ColumnSet],
    train: Mask,
    *,
    memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
    scratch: Path | None = None,
) -> State:
    """Fit a plan.

    Parameters
    ----------
    facts : ColumnSet
        All rows that the filters leave, [n].
    tables : dict
        The other tables; an absent one is empty.
    train : bool [n]
        Rows whose categories are counted. The history has all rows: what a feature may see of it is decided
        by its delay.
    memory_budget_bytes : int
        Panels are filled as many groups at a time as this allows. Larger ones are files in `scratch`.
    scratch : Path, optional
        An existing folder for panels beyond the budget; without it they are in memory.

    Raises
    ------
    DataError
        No training row, no known time, or a join whose table has several rows for a key.
    """
    if not train.any():
        raise DataError("expected training rows; found none. Look at the filters and at `split`")
    fitter = _Fitter(plan, facts, tables, train)
    vocabularies = fitter.vocabularies()
    groups, panels = fitter.history(memory_budget_bytes, scratch)
    names, kinds = _named(plan, vocabularies)
    steps = fitter.steps
    timed = train & (steps != NO_STEP)
    if not timed.any():
        raise DataError("expected times in training rows; found nulls alone. Look at `time` and at `split`")
    return State(
        names=names,
        kinds=kinds,
        origin_seconds=fitter.origin_seconds,
        step_seconds=fitter.step_seconds,
        first_train_step=int(steps[timed].min()) if fitter.step_seconds else 0,
        last_step=int(steps.max()),
        lookups=fitter.lookups,
        groups=groups,
        panels=panels,
        vocabularies=vocabularies,
    )


def refresh_state(
    plan: Plan,
    state: State,
    facts: ColumnSet,
    tables: Mapping[str, ColumnSet],
    *,
    memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
    scratch: Path | None = None,
) -> State:
    """Return a fitted state over the history and the tables of other data, such as newer ones.

    What training counted stays: vocabularies, names of the features, the beginning of the trend. What
    features look up is that of `facts` and `tables` alone: joined rows, when members were first seen,
    histories. On the data that the state was fitted on it gives the same features to the bit.

    Parameters
    ----------
    state : State
        Fitted by the same plan; it may have been trimmed.
    facts, tables, memory_budget_bytes, scratch
        As in `fit_state`.

    Raises
    ------
    DataError
        No row, no known time, or a join whose table has several rows for a key.
    """
    rows = length(facts)
    if not rows:
        raise DataError("expected rows to take the history from; found none. Look at the filters")
    fitter = _Fitter(plan, facts, tables, np.zeros(rows, dtype=bool), state.origin_seconds)
    groups, panels = fitter.history(memory_budget_bytes, scratch)
    moved = (
        (fitter.origin_seconds - state.origin_seconds) // fitter.step_seconds if fitter.step_seconds else 0
    )
    return State(
        names=state.names,
        kinds=state.kinds,
        origin_seconds=fitter.origin_seconds,
        step_seconds=fitter.step_seconds,
        first_train_step=state.first_train_step - moved,
        last_step=int(fitter.steps.max()),
        lookups=fitter.lookups,
        groups=groups,
        panels=panels,
        vocabularies=state.vocabularies,
    )


def _named(plan: Plan, vocabularies: Mapping[str, Vocabulary]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names: list[str] = []
    kinds: list[str] = []
    for feature, kind in zip(plan.features, plan.kinds, strict=True):
        found = [feature.name]
        if isinstance(feature, CategoryFeature) and feature.encoding == "one_hot":
            words = vocabularies[feature.name].texts
            found = [f"{feature.column}={text}" for text in (*words, "<other>")]
        names += found
        kinds += [kind] * len(found)
    return tuple(names), tuple(kinds)


class _Fitter:
    def __init__(
        self,
        plan: Plan,
        facts: ColumnSet,
        tables: Mapping[str, ColumnSet],
        train: Mask,
        calendar_seconds: int | None = None,
    ) -> None:
        """`calendar_seconds`: where some step begins; the first step begins whole steps before or after."""
        self.plan, self.facts, self.train = plan, facts, train
        self.rows = length(facts)
        self.lookups = _lookups(plan, tables)
        self.step_seconds, self.origin_seconds = 0, 0
        self.steps: Codes = np.zeros(self.rows, dtype=np.int64)
        if plan.problem.time is not None:
            times: NDArray[np.datetime64] = self.column(plan.problem.time.column)  # type: ignore[assignment]
            if np.isnat(times).all():
                raise DataError(f"expected times in '{plan.problem.time.column}'; found nulls alone")
            self.step_seconds = int(plan.problem.time.step.total_seconds())
            self.origin_seconds = first_step_time(times, self.step_seconds)
            if calendar_seconds is not None:
                offset = (self.origin_seconds - calendar_seconds) % self.step_seconds
                self.origin_seconds -= offset
            self.steps = step_index(times, self.origin_seconds, self.step_seconds)

    def column(self, name: str) -> ColumnLike:
        """Return a column of all facts; derived and joined ones are made a part at a time."""
        if name == TARGET:
            return target_values(self.plan.problem, self.facts)
        if name in self.facts:
            return self.facts[name]
        operations = self.plan.operations_for([name])
        needed = _inputs(operations)
        parts = []
        for first in range(0, max(1, self.rows), _CHUNK_ROWS):
            chunk = take({key: self.facts[key] for key in needed}, slice(first, first + _CHUNK_ROWS))
            parts.append({name: run_operations(operations, self.lookups, chunk, {})[name]})
        return concat(parts)[name]

    def vocabularies(self) -> dict[str, Vocabulary]:
        """Count each category feature's column over the training rows."""
        found = {}
        for feature in self.plan.features:
            if isinstance(feature, CategoryFeature):
                column = take({"x": self.column(feature.column)}, self.train)["x"]
                found[feature.name] = fit_vocabulary(column, feature.max_categories)
        return found

    def history(
        self, budget_bytes: int, scratch: Path | None
    ) -> tuple[dict[tuple[str, ...], Group], tuple[Panel, ...]]:
        """Index all groups and fill all panels."""
        groups: dict[tuple[str, ...], Group] = {}
        panels: dict[int, Panel] = {}
        if not self.step_seconds:
            return groups, ()
        entity = tuple(self.plan.problem.entity)
        codes_of_entity: Codes | None = None
        for by in self.plan.groups:
            index, codes = KeyIndex.build([self.column(name) for name in by], self.rows, by)
            groups[by] = Group(index, _first_seen(codes, self.steps, len(index)))
            if by == entity:
                codes_of_entity = codes
                repeated = _has_repeats(codes, self.steps, len(index), budget_bytes)
            for number, series in enumerate(self.plan.series):
                if series.by == by:
                    assert codes_of_entity is not None  # the entity is the first group
                    cells = self._cells(series, codes, codes_of_entity, groups[entity], repeated)
                    panels[number] = self._panel(
                        series, cells, len(index), budget_bytes, scratch and scratch / f"panel{number}.npy"
                    )
        return groups, tuple(panels[number] for number in range(len(self.plan.series)))

    def _cells(self, series: Series, group: Codes, entity: Codes, entities: Group, repeated: bool) -> Cells:
        value: NDArray[np.float64] = as_float(self.column(series.of))  # type: ignore[arg-type]
        step = self.steps
        good = (group >= 0) & (entity >= 0) & (step != NO_STEP)
        if not good.all():
            group, entity, step, value = group[good], entity[good], step[good], value[good]
        same = series.by == tuple(self.plan.problem.entity)
        own = series.of == TARGET or series.of in self.plan.layout.own
        units: tuple[Codes | None, Codes | None] = (None, None)
        if repeated:
            steps = int(self.steps.max()) + 1
            count = int(group.max(initial=0)) + 1
            first, value = collapse(
                entity if same else entity * count + group, step, value, steps, series.aggregate
            )
            group, entity, step = group[first], entity[first], step[first]
        panel = self.plan.problem.panel
        if panel is not None and panel.absent == "zero" and own:
            units = _units(group, entity, step, len(entities.index))
        return Cells(group, step, value, *units)

    def _panel(
        self, series: Series, cells: Cells, groups: int, budget_bytes: int, file: Path | None
    ) -> Panel:
        steps, pad = int(self.steps.max()) + 1, self.plan.pad
        size = Panel.size(groups, steps, pad)
        values: NDArray[np.float32]
        if file is not None and size * 4 > budget_bytes:
            values = open_memmap(file, mode="w+", dtype=np.float32, shape=(size,))
        else:
            values = np.empty(size, dtype=np.float32)
        panel = Panel(values, groups, steps, pad, 0)
        fill_panel(panel, cells, series.aggregate, budget_bytes)
        return panel


def _inputs(operations: Iterable[Operation]) -> list[str]:
    """Return the columns that must be there before the first operation."""
    needed: dict[str, None] = {}
    made: set[str] = set()
    for operation in operations:
        needed |= dict.fromkeys(sorted(operation.needs - made))
        made |= set(operation.gives)
    return list(needed)


def _lookups(plan: Plan, tables: Mapping[str, ColumnSet]) -> tuple[Lookup, ...]:
    joins = [operation for operation in plan.layout.operations if isinstance(operation, JoinTable)]
    found = []
    for join in sorted(joins, key=lambda join: join.index):
        table = tables.get(join.table)
        if table is None:
            table = empty_columns(plan.problem.tables[join.table].columns)
        found.append(build_lookup(join, plan.problem.joins[join.index].where, table))
    return tuple(found)


def _first_seen(codes: Codes, steps: Codes, members: int) -> Codes:
    first = np.full(members, 2**40, dtype=np.int64)
    good = (codes >= 0) & (steps != NO_STEP)
    np.minimum.at(first, codes[good], steps[good])
    return first


def _has_repeats(entity: Codes, steps: Codes, entities: int, budget_bytes: int) -> bool:
    """Does an entity have two rows in one step?"""
    good = (entity >= 0) & (steps != NO_STEP)
    span = int(steps.max()) + 1
    cell = entity[good] * span + steps[good]
    if entities * span > budget_bytes:
        return len(np.unique(cell)) < len(cell)
    seen = np.zeros(entities * span, dtype=bool)
    seen[cell] = True
    return int(seen.sum()) < len(cell)


def _units(group: Codes, entity: Codes, step: Codes, entities: int) -> tuple[Codes, Codes]:
    """Return each unit's group and its first step there; a unit is one entity within one group."""
    group_of = np.full(entities, -1, dtype=np.int64)
    group_of[entity] = group
    if np.array_equal(group_of[entity], group):  # an entity stays in its group
        known = group_of >= 0
        return group_of[known], _first_seen(entity, step, entities)[known]
    count = int(group.max(initial=0)) + 1
    pairs, unit = np.unique(entity * count + group, return_inverse=True)
    first = np.full(len(pairs), 2**40, dtype=np.int64)
    np.minimum.at(first, unit, step)
    return pairs % count, first
