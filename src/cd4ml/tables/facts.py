"""The facts of a snapshot as columns: read, filtered, written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cd4ml.errors import SourceError
from cd4ml.features.columns import ColumnSet, concat, length, take
from cd4ml.features.expressions import Expression
from cd4ml.features.keys import KeyIndex
from cd4ml.features.operations import run_operations
from cd4ml.tables.columns import to_columns

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.features.plan import Plan
    from cd4ml.problem import Problem, Table

__all__ = ["Facts", "apply_filters", "columns_needed", "read_facts", "read_tables"]


@dataclass(frozen=True)
class Facts:
    """Rows of all fact tables, one table after another.

    Parameters
    ----------
    columns : ColumnSet
        The columns that are needed, [n].
    table : int64 [n]
        Position of each row's table among the problem's `facts`.
    row : int64 [n]
        Position of each row in its table.
    files : tuple of Path
        For each fact table its file.
    """

    columns: ColumnSet
    table: NDArray[np.int64]
    row: NDArray[np.int64]
    files: tuple[Path, ...]

    def take(self, index: NDArray[np.int64]) -> Facts:
        """Return some of the rows."""
        return Facts(take(self.columns, index), self.table[index], self.row[index], self.files)

    def entity_codes(self, entity: list[str]) -> NDArray[np.int64]:
        """Return a dense code of each row's entity; a null has its own, and without entity all are 0."""
        rows = length(self.columns)
        codes = KeyIndex.build([self.columns[name] for name in entity], rows)[1]
        return np.unique(codes, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def write_rows(self, index: NDArray[np.int64], columns: list[str], file: Path) -> None:
        """Write some rows' raw columns, as they are in the snapshot, in the order of `index`."""
        import polars as pl

        parts = []
        for number, source in enumerate(self.files):
            rows = self.row[index[self.table[index] == number]]
            parts.append(pl.read_parquet(source, columns=columns).select(columns)[rows])
        pl.concat(parts, how="vertical_relaxed").write_parquet(file)


def columns_needed(plan: Plan) -> set[str]:
    """Return the fact columns that a dataset is made from."""
    problem = plan.problem
    wanted = {name for series in plan.series for name in (series.of, *series.by)} & set(plan.layout.samples)
    wanted |= {*problem.entity, *problem.slices, *problem.sensitive, *problem.explanations.excluded}
    wanted |= {name for baseline in problem.baselines for name in baseline.by}
    if problem.time is not None:
        wanted.add(problem.time.column)
    expressions = [rule.drop for rule in problem.filters] + (
        [problem.metrics.weight] if problem.metrics.weight else []
    )
    for text in expressions:
        wanted |= Expression.parse(text).columns
    return plan.facts_for(wanted) | set(plan.inputs) | {problem.target.column}


def _read(folder: Path, name: str, table: Table, columns: list[str] | None) -> pl.DataFrame | None:
    import polars as pl

    file = folder / f"{name}.parquet"
    if not file.exists():
        if table.optional:
            return None
        raise SourceError(f"expected {name}.parquet in the snapshot; it is absent, take the snapshot again")
    return pl.read_parquet(file, columns=columns)


def read_facts(problem: Problem, folder: Path, needed: set[str]) -> Facts:
    """Read the needed columns of all fact tables.

    Raises
    ------
    SourceError
        When a file or a column is absent.
    """
    parts, tables, rows = [], [], []
    chosen = {name: column for name, column in problem.fact.columns.items() if name in needed}
    for number, name in enumerate(problem.facts):
        table = problem.tables[name].model_copy(update={"columns": chosen, "optional": False})
        frame = _read(folder, name, table, list(chosen))
        assert frame is not None  # a fact table is not optional
        parts.append(to_columns(frame, table))
        tables.append(np.full(frame.height, number))
        rows.append(np.arange(frame.height))
    files = tuple(folder / f"{name}.parquet" for name in problem.facts)
    return Facts(concat(parts), np.concatenate(tables), np.concatenate(rows), files)


def read_tables(problem: Problem, folder: Path) -> dict[str, ColumnSet]:
    """Read the joined tables; an optional one may be absent."""
    found: dict[str, ColumnSet] = {}
    for name in sorted({join.table for join in problem.joins}):
        table = problem.tables[name]
        frame = _read(folder, name, table, None)
        if frame is not None:
            found[name] = to_columns(frame, table)
    return found


def apply_filters(plan: Plan, facts: Facts) -> tuple[Facts, dict[str, int]]:
    """Leave rows out by rule, and count them; a row counts for the first rule that it meets."""
    rules = plan.problem.filters
    kept = np.ones(length(facts.columns), dtype=bool)
    counts: dict[str, int] = {}
    for index, rule in enumerate(rules):
        expression = Expression.parse(rule.drop, ("filters", index, "drop"))
        operations = plan.operations_for(expression.columns)
        needed = {name: facts.columns[name] for name in sorted(plan.facts_for(expression.columns))}
        dropped = expression.mask(run_operations(operations, (), needed, {})) & kept
        counts[rule.name] = int(dropped.sum())
        kept &= ~dropped
    return (facts if kept.all() else facts.take(np.flatnonzero(kept))), counts
