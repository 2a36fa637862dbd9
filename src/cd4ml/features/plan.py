"""A problem compiled: which columns are made in which order, which histories are kept, what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cd4ml.errors import ProblemError
from cd4ml.features.columns import ColumnSet, as_category, as_float, number_text
from cd4ml.features.layout import Layout, Operation, honest_delay_steps, lay_out
from cd4ml.problem import (
    Age,
    Calendar,
    Category,
    Columns,
    Historic,
    Lag,
    Problem,
    Rolling,
    Seasonal,
    duration_text,
)

__all__ = [
    "TARGET",
    "AgeFeature",
    "CalendarFeature",
    "CategoryFeature",
    "LagFeature",
    "NumberFeature",
    "Plan",
    "RollingFeature",
    "SeasonalFeature",
    "Series",
    "compile_plan",
    "target_values",
]

TARGET = "=target"
"""Name of the target as a number (0 or 1 for classification); no column of a problem can have it."""


@dataclass(frozen=True)
class Series:
    """A history that is kept: a column, by group."""

    of: str
    by: tuple[str, ...]
    aggregate: str


@dataclass(frozen=True)
class NumberFeature:
    """A column as it is."""

    name: str
    column: str


@dataclass(frozen=True)
class CategoryFeature:
    """A category as one number, or as many with `one_hot`."""

    name: str
    column: str
    encoding: str
    max_categories: int


@dataclass(frozen=True)
class CalendarFeature:
    """A part of the time."""

    name: str
    part: str


@dataclass(frozen=True)
class LagFeature:
    """The value `delay` steps ago."""

    name: str
    series: int
    delay: int


@dataclass(frozen=True)
class RollingFeature:
    """A statistic of the `size` steps up to `after` steps ago."""

    name: str
    series: int
    after: int
    size: int
    statistic: str


@dataclass(frozen=True)
class SeasonalFeature:
    """The mean of the values so many steps ago."""

    name: str
    series: int
    delays: tuple[int, ...]


@dataclass(frozen=True)
class AgeFeature:
    """Steps since a group was first seen, if that was at least `delay` steps ago."""

    name: str
    by: tuple[str, ...]
    delay: int


FeaturePart: TypeAlias = (
    NumberFeature
    | CategoryFeature
    | CalendarFeature
    | LagFeature
    | RollingFeature
    | SeasonalFeature
    | AgeFeature
)


@dataclass(frozen=True)
class Plan:
    """A problem's features, ready to be fitted and transformed.

    Parameters
    ----------
    problem : Problem
    layout : Layout
        Its columns.
    features : tuple
        In order; each is one number, or several with `one_hot`.
    series : tuple of Series
        Histories that are kept; the last may be the target's, for seasonal baselines.
    pad : int
        Longest window in steps.
    needed_steps : int
        How many steps before the predicted one the oldest value lies; 0 without history.
    horizon_steps : int
        0 without time.
    operations : tuple
        Derived columns and joins that features need.
    inputs : dict
        Fact columns that a caller must send -> their declared type.
    """

    problem: Problem
    layout: Layout
    features: tuple[FeaturePart, ...]
    series: tuple[Series, ...]
    pad: int
    needed_steps: int
    horizon_steps: int
    operations: tuple[Operation, ...]
    inputs: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features; `State.names` also has the columns that one_hot becomes."""
        return tuple(feature.name for feature in self.features)

    @property
    def kinds(self) -> tuple[str, ...]:
        """For each feature: columns, category, calendar, lag, rolling, seasonal or age."""
        return tuple(_KINDS[type(feature)] for feature in self.features)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Every group whose members are known by their keys; the entity is the first."""
        found = [tuple(self.problem.entity)] + [series.by for series in self.series]
        found += [feature.by for feature in self.features if isinstance(feature, AgeFeature)]
        return tuple(dict.fromkeys(found))

    @property
    def target_series(self) -> int:
        """Position of the history that seasonal baselines repeat; ValueError without such a baseline."""
        return self.series.index(Series(TARGET, tuple(self.problem.entity), "mean"))

    def naive_delay(self, period: timedelta) -> int:
        """Return the smallest multiple of the period that is known, in steps."""
        size = self.problem.steps(period)
        least = honest_delay_steps(self.problem, self.layout.availability[self.problem.target.column])
        return -(-least // size) * size

    def operations_for(self, columns: Iterable[str], have: Iterable[str] = ()) -> tuple[Operation, ...]:
        """Return the operations that give `columns`, in order."""
        return _needed(self.layout.operations, set(columns), set(have))[0]

    def facts_for(self, columns: Iterable[str]) -> set[str]:
        """Return the fact columns from which `columns` are made."""
        return _needed(self.layout.operations, set(columns), set())[1]


_KINDS: dict[type, str] = {
    NumberFeature: "columns",
    CategoryFeature: "category",
    CalendarFeature: "calendar",
    LagFeature: "lag",
    RollingFeature: "rolling",
    SeasonalFeature: "seasonal",
    AgeFeature: "age",
}


def target_values(problem: Problem, columns: ColumnSet) -> NDArray[np.float64]:
    """Return the target as float64: its value, or 1 where it is the positive one; NaN where it is null."""
    column = columns[problem.target.column]
    if problem.task == "regression":
        return as_float(column)  # type: ignore[arg-type]
    category = as_category(column)
    positive = problem.target.positive
    text = positive if isinstance(positive, str) else number_text(positive)
    table = [float(name == text) for name in category.categories]
    return np.array([*table, np.nan])[category.codes]


def _needed(
    operations: Sequence[Operation], wanted: set[str], have: set[str]
) -> tuple[tuple[Operation, ...], set[str]]:
    open_names, kept = wanted - have, []
    for operation in reversed(operations):
        if open_names & set(operation.gives):
            kept.append(operation)
            open_names = (open_names - set(operation.gives)) | (set(operation.needs) - have)
    return tuple(reversed(kept)), open_names


class _Compiler:
    def __init__(self, problem: Problem) -> None:
        self.problem, self.layout = problem, lay_out(problem)
        self.series: list[Series] = []
        self.features: list[FeaturePart] = []

    def delay_of(self, column: str) -> int:
        return honest_delay_steps(self.problem, self.layout.availability[column])

    def add(self, feature: FeaturePart, path: tuple[str | int, ...]) -> None:
        if any(other.name == feature.name for other in self.features):
            raise ProblemError(
                f"the feature '{feature.name}' exists already; remove one or give it a `name`", path
            )
        self.features.append(feature)

    def series_of(self, feature: Historic) -> tuple[int, str]:
        by = tuple(self.problem.entity if feature.by is None else feature.by)
        series = Series(feature.of, by, feature.aggregate)
        if series not in self.series:
            self.series.append(series)
        stem = feature.of if feature.aggregate == "mean" else f"{feature.of}_total"
        if feature.by is not None:
            stem += "_by_" + ("_".join(feature.by) or "all")
        return self.series.index(series), feature.name or stem

    def feature(self, feature: object, path: tuple[str | int, ...]) -> None:
        match feature:
            case Columns():
                for name in feature.columns:
                    self.add(NumberFeature(name, name), path)
            case Category():
                suffix = {"ordinal": "", "one_hot": "=", "frequency": "_frequency"}[feature.encoding]
                for name in feature.columns:
                    self.add(
                        CategoryFeature(name + suffix, name, feature.encoding, feature.max_categories), path
                    )
            case Calendar():
                assert self.problem.time is not None
                for part in feature.parts:
                    self.add(CalendarFeature(f"{self.problem.time.column}_{part}", part), path)
            case Age():
                by = tuple(self.problem.entity if feature.by is None else feature.by)
                name = "age" if feature.by is None else "age_by_" + ("_".join(by) or "all")
                # A fact is seen when it is recorded.
                recorded = self.problem.fact.known or timedelta(0)
                self.add(AgeFeature(name, by, honest_delay_steps(self.problem, recorded)), path)
            case Historic():
                self.historic(feature, path)

    def historic(self, feature: Historic, path: tuple[str | int, ...]) -> None:
        series, stem = self.series_of(feature)
        steps, least = self.problem.steps, self.delay_of(feature.of)
        if isinstance(feature, Lag):
            for lag in feature.lags:
                self.add(LagFeature(f"{stem}_lag_{duration_text(lag)}", series, steps(lag)), path)
        if isinstance(feature, Rolling):
            after = least if feature.after is None else steps(feature.after)
            late = "" if feature.after is None else f"_after_{duration_text(feature.after)}"
            for window in feature.windows:
                for statistic in feature.statistics:
                    name = f"{stem}_{statistic}_{duration_text(window)}{late}"
                    self.add(RollingFeature(name, series, after, steps(window), statistic), path)
        if isinstance(feature, Seasonal):
            period = steps(feature.period)
            first = -(-least // period)
            for count in feature.cycles:
                delays = tuple(period * (first + cycle) for cycle in range(count))
                name = f"{stem}_season_{duration_text(feature.period)}_{count}"
                self.add(SeasonalFeature(name, series, delays), path)


def _raw_columns(problem: Problem, features: Iterable[FeaturePart], series: Sequence[Series]) -> set[str]:
    """Columns that must exist at the predicted time."""
    found: set[str] = set()
    timed = False
    for feature in features:
        match feature:
            case NumberFeature() | CategoryFeature():
                found.add(feature.column)
            case AgeFeature():
                found |= set(feature.by)
                timed = True
            case CalendarFeature():
                timed = True
            case _:
                found |= set(series[feature.series].by)
                timed = True
    if timed and problem.time is not None:
        found.add(problem.time.column)
    return found


def _depths(features: Iterable[FeaturePart]) -> tuple[int, int]:
    """Return the longest window and the oldest step, both in steps."""
    pad, oldest = 1, 0
    for feature in features:
        match feature:
            case LagFeature():
                oldest = max(oldest, feature.delay)
            case RollingFeature():
                pad, oldest = max(pad, feature.size), max(oldest, feature.after + feature.size - 1)
            case SeasonalFeature():
                oldest = max(oldest, *feature.delays)
    return pad, oldest


def compile_plan(problem: Problem) -> Plan:
    """Return the plan of a problem; the same problem gives the same plan.

    Raises
    ------
    ProblemError
        Unknown columns, durations that are no whole steps, two features of one name.
    """
    compiler = _Compiler(problem)
    for index, feature in enumerate(problem.features):
        compiler.feature(feature, ("features", index))
    if any(baseline.kind == "seasonal_naive" for baseline in problem.baselines):
        compiler.series.append(Series(TARGET, tuple(problem.entity), "mean"))
    pad, oldest = _depths(compiler.features)
    wanted = _raw_columns(problem, compiler.features, compiler.series)
    operations, raw = _needed(compiler.layout.operations, wanted, set())
    return Plan(
        problem=problem,
        layout=compiler.layout,
        features=tuple(compiler.features),
        series=tuple(compiler.series),
        pad=pad,
        needed_steps=oldest,
        horizon_steps=problem.steps(problem.horizon) if problem.time else 0,
        operations=operations,
        inputs={name: column.type for name, column in problem.fact.columns.items() if name in raw},
    )
