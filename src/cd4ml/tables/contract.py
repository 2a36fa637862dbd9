"""Check the sources of a problem against its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cd4ml.tables.ahead import ahead
from cd4ml.tables.anomalies import Anomaly, TableReport
from cd4ml.tables.keys import later_duplicates, unmatched
from cd4ml.tables.read import read_batches
from cd4ml.tables.row_check import RowCheck, quarantine_schema, table_schema
from cd4ml.tables.writer import TableContent, TableWriter, read_frames

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Problem, Severity, Table
    from cd4ml.tables.sources import Source

__all__ = ["CheckedTable", "check_tables"]


@dataclass
class CheckedTable:
    """One table after the contract: its report, its right rows and its quarantine on disk."""

    report: TableReport
    content: TableContent
    quarantine: TableContent


@dataclass(frozen=True)
class _Broken:
    """A key rule that rows break."""

    kind: str
    column: str
    severity: Severity
    reason: str
    positions: npt.NDArray[np.int64]


def check_tables(
    problem: Problem, sources: Mapping[str, Sequence[Source]], data: str, folder: Path, now: datetime
) -> dict[str, CheckedTable]:
    """Read every table once, check its rules, and write right rows and quarantine below `folder`.

    Nothing is raised for broken rules: the reports tell them. The caller removes `folder` when it refuses.

    Returns
    -------
    dict of table name to CheckedTable, in the problem's order

    Raises
    ------
    SourceError, ServiceError
        If a source cannot be read.
    """
    done: dict[str, CheckedTable] = {}
    for name in _referenced_first(problem):
        table = problem.tables[name]
        with TableWriter(folder / f"{name}.parquet", table_schema(table)) as writer:
            check = RowCheck(name, table, now, [rule.columns for rule in table.unique])
            check.run(ahead(read_batches(table, sources[name], data)), writer)
            content = writer.finish()
        broken = _broken_keys(check, content, {**done, name: content})
        if broken:
            content = _without(check, content, broken)
        quarantine = _write_quarantine(check, folder / "quarantine" / f"{name}.parquet")
        done[name] = CheckedTable(check.report, content, quarantine)
        _judge_table(name, table, done[name], absent=not sources[name], now=now)
    return {name: done[name] for name in problem.tables}


def _referenced_first(problem: Problem) -> list[str]:
    """Order tables so that those that foreign keys refer to come first; circles keep the problem's order."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in order or name in above:
            return
        for key in problem.tables[name].foreign_keys:
            visit(key.table, (*above, name))
        order.append(name)

    for name in problem.tables:
        visit(name, ())
    return order


def _broken_keys(
    check: RowCheck, content: TableContent, known: Mapping[str, CheckedTable | TableContent]
) -> list[_Broken]:
    found = []
    for index, rule in enumerate(check.table.unique):
        rows = later_duplicates(content.path, rule.columns, check.key_hashes(index))
        reason = f"{', '.join(rule.columns)}: not unique"
        found.append(_Broken("KEY_DUPLICATED", ", ".join(rule.columns), rule.severity, reason, rows))
    for key in check.table.foreign_keys:
        other = known.get(key.table)
        if other is None:  # a circle of references: the other table is not read yet
            continue
        target = other if isinstance(other, TableContent) else other.content
        rows = unmatched(content.path, key, target.path)
        reason = f"{', '.join(key.columns)}: not in {key.table}"
        found.append(_Broken("FOREIGN_KEY_UNMATCHED", ", ".join(key.columns), key.severity, reason, rows))
    return [item for item in found if len(item.positions)]


def _without(check: RowCheck, content: TableContent, broken: Sequence[_Broken]) -> TableContent:
    """Note broken keys, and move their rows to the quarantine unless they only warn."""
    numbers = _row_numbers(check, content.rows)
    for item in broken:
        first = int(numbers[item.positions[0]])
        detail = f"{len(item.positions)} rows: {item.reason.partition(': ')[2]}, first in row {first}"
        check.report.anomalies.append(
            Anomaly(check.name, item.column, item.kind, item.severity, len(item.positions), detail)
        )
    removing = [item for item in broken if item.severity != "warn"]
    if not removing:
        return content
    for item in removing:
        check.report.count_reasons([(item.reason, len(item.positions))])
    reasons: dict[int, list[str]] = {}
    for item in removing:
        for position in item.positions.tolist():
            reasons.setdefault(position, []).append(item.reason)
    return _rewrite(check, content, reasons, numbers)


def _row_numbers(check: RowCheck, rows: int) -> npt.NDArray[np.int64]:
    """Return the source row numbers, from 1, of the rows that the first pass let through."""
    gone = [frame.get_column("_row").to_numpy() - 1 for frame in check.quarantine]
    kept = np.ones(check.report.rows_in, dtype=bool)
    if gone:
        kept[np.concatenate(gone)] = False
    numbers = np.flatnonzero(kept) + 1
    assert len(numbers) == rows
    return numbers


def _rewrite(
    check: RowCheck,
    content: TableContent,
    reasons: Mapping[int, Sequence[str]],
    numbers: npt.NDArray[np.int64],
) -> TableContent:
    """Write the table again without some positions, which go to the quarantine as text."""
    import polars as pl

    wrong = np.zeros(content.rows, dtype=bool)
    wrong[list(reasons)] = True
    told = [(position, "; ".join(reasons[position])) for position in sorted(reasons)]
    texts, start = [], 0
    aside = content.path.with_suffix(".first-pass")
    content.path.rename(aside)
    with TableWriter(content.path, table_schema(check.table)) as writer:
        for frame in read_frames(aside):
            mask = pl.Series(wrong[start : start + frame.height])
            texts.append(frame.filter(mask).select(pl.all().cast(pl.String)))
            writer.write(frame.filter(~mask))
            start += frame.height
        written = writer.finish()
    aside.unlink()
    head = pl.DataFrame(
        {"_row": [int(numbers[p]) for p, _ in told], "_reason": [reason for _, reason in told]},
        schema={"_row": pl.Int64, "_reason": pl.String},
    )
    check.quarantine.append(pl.concat([head, pl.concat(texts)], how="horizontal"))
    check.report.rows_quarantined += len(told)
    return written


def _write_quarantine(check: RowCheck, path: Path) -> TableContent:
    import polars as pl

    schema = quarantine_schema(check.table)
    frame = pl.concat([pl.DataFrame(schema=schema), *check.quarantine]).sort("_row")
    with TableWriter(path, schema) as writer:
        writer.write(frame)
        return writer.finish()


def _judge_table(name: str, table: Table, checked: CheckedTable, absent: bool, now: datetime) -> None:
    """Add what is said of a table as a whole: how many rows, how fresh."""
    report, rows = checked.report, checked.content.rows
    if absent or any(item.kind == "SCHEMA_MISSING_COLUMN" for item in report.anomalies):
        return

    def about(kind: str, severity: Any, detail: str, limit: Any, measured: Any, column: str = "") -> None:
        report.anomalies.append(Anomaly(name, column, kind, severity, 0, detail, limit, measured))

    if rows < table.rows.min:
        detail = (
            f"expected at least {table.rows.min} rows; found {rows} ({report.rows_quarantined} in quarantine)"
        )
        about("DATASET_LOW_NUM_EXAMPLES", table.rows.severity, detail, table.rows.min, rows)
    if table.rows.max is not None and rows > table.rows.max:
        detail = f"expected at most {table.rows.max} rows; found {rows}"
        about("DATASET_HIGH_NUM_EXAMPLES", table.rows.severity, detail, table.rows.max, rows)
    if table.freshness is not None and rows:
        newest = _newest(checked.content.path, table.freshness.column)
        oldest_allowed = now.replace(tzinfo=None) - table.freshness.within
        if newest is not None and newest < oldest_allowed:
            detail = (
                f"expected a value since {oldest_allowed.isoformat(' ', 'seconds')}; the newest is {newest}"
            )
            about(
                "DATASET_NOT_FRESH", table.freshness.severity, detail, oldest_allowed.isoformat(),
                newest.isoformat(), table.freshness.column,
            )  # fmt: skip


def _newest(path: Path, column: str) -> datetime | None:
    import polars as pl

    frame: pl.DataFrame = pl.scan_parquet(path).select(pl.col(column).max().cast(pl.Datetime("us"))).collect()
    found = frame.item()
    return found if isinstance(found, datetime) else None
