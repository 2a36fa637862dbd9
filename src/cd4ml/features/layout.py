"""In which order a problem's columns come into being, of which types they are, and when each is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

import numpy as np

from cd4ml.errors import ProblemError, nearest
from cd4ml.features.columns import CategoryArray, ColumnLike, empty_columns, kind_of
from cd4ml.features.expressions import Expression
from cd4ml.problem import Problem, Table

__all__ = [
    "Availability",
    "Derive",
    "JoinTable",
    "Layout",
    "Operation",
    "honest_delay_steps",
    "later",
    "lay_out",
]

Availability: TypeAlias = Literal["ahead"] | timedelta
"""`ahead`: known before the horizon begins. A duration: recorded so long after the fact."""


@dataclass(frozen=True)
class Derive:
    """A new column by expression."""

    name: str
    expression: Expression

    @property
    def needs(self) -> frozenset[str]:
        """Columns that must exist."""
        return self.expression.columns

    @property
    def gives(self) -> tuple[str, ...]:
        """Columns that come into being."""
        return (self.name,)


@dataclass(frozen=True)
class JoinTable:
    """Columns of another table.

    Parameters
    ----------
    index : int
        Position among the problem's joins.
    keys : tuple of (fact column, table column)
    columns : tuple of (table column, new column)
    flag : str, optional
        Name of the 0/1 column that stands in the place of `columns`.
    """

    index: int
    table: str
    keys: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    flag: str | None

    @property
    def needs(self) -> frozenset[str]:
        """Columns that must exist."""
        return frozenset(fact for fact, _ in self.keys)

    @property
    def gives(self) -> tuple[str, ...]:
        """Columns that come into being."""
        return (self.flag,) if self.flag else tuple(new for _, new in self.columns)


Operation: TypeAlias = Derive | JoinTable


@dataclass(frozen=True)
class Layout:
    """The columns of a problem.

    Parameters
    ----------
    operations : tuple
        Derived columns and joins in the order in which they are done.
    samples : dict
        Every column without rows: its type.
    availability : dict
        When each column is known.
    early : frozenset of str
        Columns that exist before the first join: filters may use them.
    own : frozenset of str
        The facts' columns and what is derived from them alone: zero where a row is absent.
    """

    operations: tuple[Operation, ...]
    samples: dict[str, ColumnLike]
    availability: dict[str, Availability]
    early: frozenset[str]
    own: frozenset[str]


def later(values: Iterable[Availability]) -> Availability:
    """Return the latest of several; `ahead` when there is none."""
    durations = [value for value in values if isinstance(value, timedelta)]
    return max(durations) if durations else "ahead"


class _Builder:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.operations: list[Operation] = []
        self.samples: dict[str, ColumnLike] = dict(empty_columns(problem.fact.columns))
        self.own = set(self.samples)
        self.waiting = {
            name: Expression.parse(text, ("derived", name)) for name, text in problem.derived.items()
        }
        self.calendar = self._calendar_columns()
        self.availability: dict[str, Availability] = {name: self._fact(name) for name in self.samples}

    def _calendar_columns(self) -> set[str]:
        """Columns from which the time is made: they are known as soon as it is."""
        if self.problem.time is None:
            return set()
        found, open_names = set(), [self.problem.time.column]
        while open_names:
            name = open_names.pop()
            if name not in found:
                found.add(name)
                open_names += self.waiting[name].columns if name in self.waiting else ()
        return found

    def _fact(self, name: str) -> Availability:
        problem = self.problem
        column = problem.fact.columns[name]
        known = column.known if column.known is not None else problem.fact.known
        if name == problem.target.column:  # nobody knows it ahead, but it may be recorded late
            return known if isinstance(known, timedelta) else timedelta(0)
        if problem.time is None or name in problem.entity or name in self.calendar:
            return "ahead"
        return timedelta(0) if known is None else known

    def _new(self, name: str, value: ColumnLike, path: tuple[str | int, ...]) -> None:
        if name in self.samples:
            raise ProblemError(f"the column '{name}' exists already; choose another name", path)
        self.samples[name] = value

    def derive(self) -> None:
        """Do what can be done with the columns that exist, in the declared order."""
        for name in list(self.waiting):
            expression = self.waiting[name]
            if expression.columns <= set(self.samples):
                self._new(name, expression.evaluate(self.samples), ("derived", name))
                self.availability[name] = later(self.availability[part] for part in expression.columns)
                if expression.columns <= self.own:
                    self.own.add(name)
                self.operations.append(Derive(name, expression))
                del self.waiting[name]

    def join(self, index: int) -> None:
        """Do one join."""
        join = self.problem.joins[index]
        table, path = self.problem.tables[join.table], ("joins", index)
        others = empty_columns(table.columns)
        for fact, other in join.keys.items():
            self._check_key(fact, others[other], f"{join.table}.{other}", (*path, "on"))
        renamed = tuple(join.renamed(table).items())
        operation = JoinTable(index, join.table, tuple(join.keys.items()), renamed, join.flag)
        keys_known = later(self.availability[fact] for fact in join.keys)
        on_time = any(kind_of(self.samples[fact]) == "time" for fact in join.keys)
        keys, chosen_by = set(join.keys.values()), set[str]()
        if join.where is not None:
            where = Expression.parse(join.where, (*path, "where"))
            where.mask(others)
            chosen_by = set(where.columns) - keys  # which row matches hangs on them
        for old, new in renamed:
            self._new(new, _joined_sample(others[old]), (*path, "columns"))
            self.availability[new] = later([keys_known, self._lookup(table, {old} | chosen_by, on_time)])
        if join.flag:
            self._new(join.flag, np.empty(0), (*path, "flag"))
            self.availability[join.flag] = later([keys_known, self._lookup(table, keys | chosen_by, on_time)])
        self.operations.append(operation)

    def _check_key(self, fact: str, other: ColumnLike, named: str, path: tuple[str | int, ...]) -> None:
        if fact not in self.samples:
            raise ProblemError(f"unknown column '{fact}'{nearest(fact, self.samples)}", path)
        kinds = (kind_of(self.samples[fact]), kind_of(other))
        if kinds[0] != kinds[1]:
            raise ProblemError(
                f"'{fact}' is {kinds[0]} and '{named}' is {kinds[1]}; declare both with one type", path
            )

    def _lookup(self, table: Table, columns: set[str], on_time: bool) -> Availability:
        if self.problem.time is None:
            return "ahead"
        default: Availability = timedelta(0) if on_time else "ahead"
        found: list[Availability] = []
        for name in columns:
            known = table.columns[name].known if table.columns[name].known is not None else table.known
            found.append(default if known is None else known)
        return later(found)


def _joined_sample(column: ColumnLike) -> ColumnLike:
    """Joined numbers are float64: a row without a match is NaN."""
    if isinstance(column, CategoryArray) or column.dtype.kind == "M":
        return column
    return column.astype("float64")


def honest_delay_steps(problem: Problem, known: Availability) -> int:
    """Return the smallest delay, in steps, of a history whose column is `known` then; rounded up."""
    delay = problem.horizon + (timedelta(0) if known == "ahead" else known)
    assert problem.time is not None
    return -(-delay // problem.time.step)


def lay_out(problem: Problem) -> Layout:
    """Order derived columns and joins; a derived column comes as soon as its parts exist.

    Raises
    ------
    ProblemError
        With the key's path: unknown columns, names taken twice, types that do not fit.
    """
    builder = _Builder(problem)
    builder.derive()
    early = frozenset(builder.samples)
    for index in range(len(problem.joins)):
        builder.join(index)
        builder.derive()
    for name, expression in builder.waiting.items():
        missing = min(expression.columns - set(builder.samples))
        if missing in builder.waiting:
            raise ProblemError(
                f"'{missing}' is needed before it exists; each may use those before it", ("derived", name)
            )
        raise ProblemError(
            f"unknown column '{missing}'{nearest(missing, builder.samples)}", ("derived", name)
        )
    return Layout(
        tuple(builder.operations), builder.samples, builder.availability, early, frozenset(builder.own)
    )
