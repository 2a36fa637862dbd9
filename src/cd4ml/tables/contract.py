"""Check the sources of a problem against its contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cd4ml.errors import ProblemError
from cd4ml.tables.ahead import ahead
from cd4ml.tables.anomalies import Anomaly, TableReport, table_severity
from cd4ml.tables.gaps import time_sources
from cd4ml.tables.keys import later_duplicates, unmatched
from cd4ml.tables.read import read_batches
from cd4ml.tables.row_check import RowCheck, quarantine_schema, table_schema
from cd4ml.tables.rules import Roles
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
    """A key rule that rows break: which rows, by their positions in the table as it is written."""

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
    ProblemError
        If a rule is not of its column's type, or foreign keys go in a circle.
    """
    done: dict[str, CheckedTable] = {}
    for name in _referenced_first(problem):
        table, path = problem.tables[name], folder / f"{name}.parquet"
        with TableWriter(path, table_schema(table)) as writer:
            hashed = [rule.columns for rule in table.unique]
            check = RowCheck(name, table, now, hashed, _roles(problem, name))
            check.run(ahead(read_batches(table, sources[name], data)), writer)
            content = writer.finish()
        paths = {key: found.content.path for key, found in done.items()} | {name: path}
        broken = [*_duplicated(check, path), *_unmatched(check, paths)]
        while broken:
            content = _without(check, content, broken)
            # a row that refers to its own table may have lost what it refers to
            broken = [item for item in _unmatched(check, {name: path}) if item.severity != "warn"]
        quarantine = _write_quarantine(check, folder / "quarantine" / f"{name}.parquet")
        done[name] = CheckedTable(check.report, content, quarantine)
        _judge_table(table, check.name, done[name], absent=not sources[name], now=now)
    return {name: done[name] for name in problem.tables}


def _roles(problem: Problem, name: str) -> Roles:
    if name not in problem.facts:
        return Roles()
    times = time_sources(problem)
    dates = [column for column in times if problem.fact.columns[column].type in ("date", "timestamp")]
    return Roles(frozenset([problem.target.column, *times]), frozenset(dates))


def _referenced_first(problem: Problem) -> list[str]:
    """Order tables so that those that foreign keys refer to come first.

    Raises
    ------
    ProblemError
        If tables refer to each other in a circle.
    """
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            circle = " -> ".join([*above[above.index(name) :], name])
            path = ("tables", above[-1], "foreign_keys")
            raise ProblemError(f"foreign keys go in a circle ({circle}); remove one of them", path)
        if name in order:
            return
        for key in problem.tables[name].foreign_keys:
            if key.table != name:
                visit(key.table, (*above, name))
        order.append(name)

    for name in problem.tables:
        visit(name, ())
    return order


def _duplicated(check: RowCheck, path: Path) -> Iterator[_Broken]:
    for index, rule in enumerate(check.table.unique):
        rows, columns = later_duplicates(path, rule.columns, check.key_hashes(index)), ", ".join(rule.columns)
        if len(rows):
            yield _Broken("KEY_DUPLICATED", columns, rule.severity, f"{columns}: not unique", rows)


def _unmatched(check: RowCheck, known: Mapping[str, Path]) -> Iterator[_Broken]:
    """Yield the foreign keys into the tables `known` that rows break."""
    for key in check.table.foreign_keys:
        if key.table in known:
            rows, columns = unmatched(known[check.name], key, known[key.table]), ", ".join(key.columns)
            if len(rows):
                reason = f"{columns}: not in {key.table}"
                yield _Broken("FOREIGN_KEY_UNMATCHED", columns, key.severity, reason, rows)


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
    check.report.count_reasons((item.reason, len(item.positions)) for item in removing)
    return _rewrite(check, content, removing, numbers)


def _row_numbers(check: RowCheck, rows: int) -> npt.NDArray[np.int64]:
    """Return the source row numbers, from 1, of the rows that are not in quarantine."""
    gone = [frame.get_column("_row").to_numpy() - 1 for frame in check.quarantine]
    kept = np.ones(check.report.rows_in, dtype=bool)
    if gone:
        kept[np.concatenate(gone)] = False
    numbers = np.flatnonzero(kept) + 1
    assert len(numbers) == rows
    return numbers


def _rewrite(
    check: RowCheck, content: TableContent, removing: Sequence[_Broken], numbers: npt.NDArray[np.int64]
) -> TableContent:
    """Write the table again without the rows that break a key, which go to the quarantine as text."""
    import polars as pl

    wrong = np.zeros(content.rows, dtype=bool)
    for item in removing:
        wrong[item.positions] = True
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
    head = pl.DataFrame({"_row": numbers[wrong], "_reason": _reasons(removing, wrong)})
    check.quarantine.append(pl.concat([head, pl.concat(texts)], how="horizontal"))
    check.report.rows_quarantined += int(wrong.sum())
    return written


def _reasons(removing: Sequence[_Broken], wrong: npt.NDArray[np.bool_]) -> pl.Series:
    """Return all reasons of each wrong row."""
    import polars as pl

    masks = {}
    for index, item in enumerate(removing):
        mask = np.zeros(len(wrong), dtype=bool)
        mask[item.positions] = True
        masks[str(index)] = mask[wrong]
    told = [pl.when(pl.col(str(i))).then(pl.lit(item.reason)) for i, item in enumerate(removing)]
    return pl.DataFrame(masks).select(pl.concat_str(told, separator="; ", ignore_nulls=True)).to_series()


def _write_quarantine(check: RowCheck, path: Path) -> TableContent:
    import polars as pl

    schema = quarantine_schema(check.table)
    frame = pl.concat([pl.DataFrame(schema=schema), *check.quarantine]).sort("_row")
    with TableWriter(path, schema) as writer:
        writer.write(frame)
        return writer.finish()


def _judge_table(table: Table, name: str, checked: CheckedTable, absent: bool, now: datetime) -> None:
    """Add what is said of a table as a whole: how many rows, how fresh."""
    report, rows = checked.report, checked.content.rows
    if absent or any(item.kind == "SCHEMA_MISSING_COLUMN" for item in report.anomalies):
        return

    def about(
        kind: str, severity: Severity, detail: str, limit: Any, measured: Any, column: str = ""
    ) -> None:
        severity = table_severity(severity)
        report.anomalies.append(Anomaly(name, column, kind, severity, 0, detail, limit, measured))

    if rows < table.rows.min:
        aside = f" ({report.rows_quarantined} in quarantine{report.most_frequent_reason()})"
        detail = (
            f"expected at least {table.rows.min} rows; found {rows}{aside * bool(report.rows_quarantined)}"
        )
        about("DATASET_LOW_NUM_EXAMPLES", table.rows.severity, detail, table.rows.min, rows)
    if table.rows.max is not None and rows > table.rows.max:
        detail = f"expected at most {table.rows.max} rows; found {rows}"
        about("DATASET_HIGH_NUM_EXAMPLES", table.rows.severity, detail, table.rows.max, rows)
    fresh = table.freshness
    newest = _newest(checked.content.path, fresh.column) if fresh and rows else None
    if fresh and newest:
        oldest = now.replace(tzinfo=None) - fresh.within
        if newest < oldest:
            detail = f"expected a value since {oldest.isoformat(' ', 'seconds')}; the newest is {newest}"
            limit, measured = oldest.isoformat(), newest.isoformat()
            about("DATASET_NOT_FRESH", fresh.severity, detail, limit, measured, fresh.column)


def _newest(path: Path, column: str) -> datetime | None:
    import polars as pl

    frame: pl.DataFrame = pl.scan_parquet(path).select(pl.col(column).max().cast(pl.Datetime("us"))).collect()
    found = frame.item()
    return found if isinstance(found, datetime) else None
