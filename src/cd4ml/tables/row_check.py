"""First pass over a table: types and column rules, batch by batch, into Parquet and a quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import SourceError, nearest
from cd4ml.tables.anomalies import Anomaly, TableReport
from cd4ml.tables.convert import polars_types, prepared, typed
from cd4ml.tables.rules import RAW, Roles, Rule, column_rules

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Table
    from cd4ml.tables.read import Batch
    from cd4ml.tables.writer import TableWriter

__all__ = ["RowCheck", "quarantine_schema", "table_schema"]

_EXAMPLE_CHARACTERS = 60


def table_schema(table: Table) -> dict[str, Any]:
    """Return the Polars types of a table, in the order of its contract."""
    types = polars_types()
    return {name: types[column.type] for name, column in table.columns.items()}


def quarantine_schema(table: Table) -> dict[str, Any]:
    """Return the Polars types of a table's quarantine: row, reason and the values as text."""
    import polars as pl

    return {"_row": pl.Int64, "_reason": pl.String, **dict.fromkeys(table.columns, pl.String)}


@dataclass
class _Tally:
    """How often a rule was broken, and the first example."""

    rows: int = 0
    example: str = ""


@dataclass
class RowCheck:
    """State of the first pass over one table.

    Parameters
    ----------
    name : str
    table : Table
    now : datetime
        What `today` means.
    hashed : sequence of list of str
        Columns whose rows are hashed for the second pass, one list a unique rule.
    roles : Roles
        What is asked of columns beyond their contract.
    """

    name: str
    table: Table
    now: datetime
    hashed: Sequence[Sequence[str]] = ()
    roles: Roles = field(default_factory=Roles)
    report: TableReport = field(default_factory=TableReport)
    quarantine: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = ("tables", self.name, "columns")
        self._rules = [
            rule
            for name, column in self.table.columns.items()
            for rule in column_rules(name, column, self.now, (*path, name), self.roles)
        ]
        self._tallies = [_Tally() for _ in self._rules]
        self._hashes: list[list[npt.NDArray[np.uint64]]] = [[] for _ in self.hashed]
        self._seen_columns: set[tuple[str, ...]] = set()
        self._missing = False
        self._ragged = _Tally()

    def run(self, batches: Iterable[Batch], writer: TableWriter) -> None:
        """Check all batches; right rows go to `writer`, the others to `quarantine`."""
        for batch in batches:
            self._columns_of(batch)
            if not self._missing:
                writer.write(self._check(batch))
        for rule, tally in zip(self._rules, self._tallies, strict=True):
            if tally.rows:
                self._note(rule, tally)
        if self._ragged.rows:
            detail = f"{self._ragged.rows} rows with another number of fields, first {self._ragged.example}"
            self.report.anomalies.append(
                Anomaly(self.name, "", "ROW_RAGGED", "quarantine", self._ragged.rows, detail)
            )

    def key_hashes(self, index: int) -> npt.NDArray[np.uint64]:
        """Return the hashes of the right rows for one list of `hashed`, in order, and forget them."""
        parts, self._hashes[index] = self._hashes[index], []
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def _columns_of(self, batch: Batch) -> None:
        found = tuple(batch.frame.columns)
        if found in self._seen_columns:
            return
        self._seen_columns.add(found)
        declared = self.table.columns
        for name in declared:
            if name not in found:
                self._missing = True
                detail = (
                    f"expected the column '{name}' in {batch.source}; found {', '.join(found)}"
                    f"{nearest(name, set(found) - set(declared))}{batch.hint}"
                )
                self._about(name, "SCHEMA_MISSING_COLUMN", "refuse", detail)
        for name in found:
            if name not in declared:
                detail = f"{batch.source} has a column that the contract does not name; it is left out"
                self._about(name, "SCHEMA_NEW_COLUMN", "warn", detail)

    def _about(self, column: str, kind: str, severity: Any, detail: str) -> None:
        self.report.anomalies.append(Anomaly(self.name, column, kind, severity, 0, detail))

    def _check(self, batch: Batch) -> pl.DataFrame:
        both = self._typed(batch)
        names = list(self.table.columns)
        counts = both.select(rule.broken.sum().alias(str(i)) for i, rule in enumerate(self._rules)).row(0)
        broken = [i for i, count in enumerate(counts) if count]
        rows = self._row_numbers(batch) if broken or batch.ragged else np.empty(0, np.int64)
        for i in broken:
            self._tally(i, int(counts[i]), both, rows)
        removing = [i for i in broken if self._rules[i].severity != "warn"]
        right = both.select(names)
        if removing:
            right = self._part(batch, both, rows, removing)
        if batch.ragged:
            self._keep_ragged(batch)
        self.report.rows_in += batch.rows
        for parts, columns in zip(self._hashes, self.hashed, strict=True):
            parts.append(right.select(columns).hash_rows(seed=0).to_numpy())
        return right

    def _typed(self, batch: Batch) -> pl.DataFrame:
        """Return typed columns and, with the prefix, the values as read."""
        import polars as pl

        declared, schema = self.table.columns, batch.frame.schema
        for name in declared:
            if schema[name].is_nested() or schema[name].is_object():
                raise SourceError(
                    f"{batch.source}: expected plain values in the column '{name}'; found {schema[name]}."
                    " Write one column for each part of it"
                )
        try:
            raw = batch.frame.select(
                prepared(name, column, self.table.csv, schema[name]) for name, column in declared.items()
            )
            values = raw.select(typed(name, column, raw.schema[name]) for name, column in declared.items())
        except pl.exceptions.PolarsError as error:
            raise SourceError(
                f"{batch.source}: expected columns that can be read as the contract says; found: "
                f"{str(error).splitlines()[0]}"
            ) from error
        return values.hstack(raw.rename({name: RAW + name for name in declared}))

    def _row_numbers(self, batch: Batch) -> npt.NDArray[np.int64]:
        """Return the number of each regular row in its table, counted from 1."""
        positions = np.delete(np.arange(batch.rows), [position for position, _ in batch.ragged])
        return positions + self.report.rows_in + 1

    def _tally(self, index: int, count: int, both: pl.DataFrame, rows: npt.NDArray[np.int64]) -> None:
        tally, rule = self._tallies[index], self._rules[index]
        tally.rows += count
        if not tally.example:
            first = int(both.select(rule.broken.fill_null(False).arg_max()).item())
            value = both.get_column(RAW + rule.column)[first]
            shown = "nothing" if value is None else repr(str(value)[:_EXAMPLE_CHARACTERS])
            tally.example = f"{shown} in row {rows[first]}"

    def _part(
        self, batch: Batch, both: pl.DataFrame, rows: npt.NDArray[np.int64], removing: list[int]
    ) -> pl.DataFrame:
        """Return the right rows; put the others into quarantine, each with all of its reasons."""
        import polars as pl

        rules = [self._rules[i] for i in removing]
        masks = both.select(rule.broken.fill_null(False).alias(str(i)) for i, rule in enumerate(rules))
        wrong = masks.select(pl.any_horizontal(pl.all())).to_series()
        told = masks.filter(wrong).select(
            pl.concat_str(
                [pl.when(pl.col(str(i))).then(pl.lit(rule.reason)) for i, rule in enumerate(rules)],
                separator="; ",
                ignore_nulls=True,
            ).alias("_reason")
        )
        numbers = pl.Series("_row", rows).filter(wrong).to_frame()
        values = batch.frame.filter(wrong).select(
            pl.col(name).cast(pl.String, strict=False) for name in self.table.columns
        )
        self.quarantine.append(pl.concat([numbers, told, values], how="horizontal"))
        self.report.rows_quarantined += int(wrong.sum())
        self.report.count_reasons(
            (rule.reason, int(masks.get_column(str(i)).sum())) for i, rule in enumerate(rules)
        )
        return both.filter(~wrong).select(list(self.table.columns))

    def _keep_ragged(self, batch: Batch) -> None:
        import polars as pl

        header = batch.frame.columns
        found: list[dict[str, Any]] = []
        for position, fields in batch.ragged:
            reason = f"ragged: found {len(fields)} fields, expected {len(header)}"
            values = dict(zip(header, fields, strict=False))
            row = self.report.rows_in + position + 1
            found.append(
                {"_row": row, "_reason": reason, **{name: values.get(name) for name in self.table.columns}}
            )
            self.report.count_reasons([(reason, 1)])
            if not self._ragged.example:
                self._ragged.example = f"in row {row}: {reason.removeprefix('ragged: ')}"
        self._ragged.rows += len(found)
        self.report.rows_quarantined += len(found)
        self.quarantine.append(pl.DataFrame(found, schema=quarantine_schema(self.table)))

    def _note(self, rule: Rule, tally: _Tally) -> None:
        what = rule.reason.removeprefix(f"{rule.column}: ")
        self.report.anomalies.append(
            Anomaly(
                self.name,
                rule.column,
                rule.kind,
                rule.severity,
                tally.rows,
                f"{tally.rows} rows: {what}, first {tally.example}",
                rule.limit,
            )
        )
