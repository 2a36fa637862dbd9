"""Files of rows to predict for: their values as a caller of a model sends them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import DataError, SourceError, nearest
from cd4ml.tables.convert import prepared, typed
from cd4ml.tables.read import read_batches
from cd4ml.tables.sources import Source

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Column, Table

__all__ = ["read_requests", "sent_values"]

_SHOWN_FIELDS = 8


def read_requests(path: Path, table: Table, chunk_rows: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file in chunks; the first chunk has no rows and tells the columns.

    A text file is written as the facts of the problem are (delimiter, encoding), with a header.

    Parameters
    ----------
    table : Table
        The facts of the problem.

    Raises
    ------
    SourceError
        If the file is not what its name promises, or a row has too many or too few fields.
    """
    if not path.is_file():
        raise SourceError(f"expected a file with rows to predict for; found no '{path}'")
    form = table.csv.model_copy(update={"header": True, "skip_rows": 0})
    batches = read_batches(table.model_copy(update={"csv": form}), [Source(path.name, path)], "")
    rows = 0
    for batch in batches:
        if batch.ragged:
            place, fields = batch.ragged[0]
            shown = form.delimiter.join(fields[:_SHOWN_FIELDS])
            raise SourceError(
                f"{path.name}: row {rows + place}: expected {batch.frame.width} values; found {len(fields)}"
                f" ({shown[:80]})"
            )
        if not batch.frame.height:
            yield batch.frame
        for start in range(0, batch.frame.height, chunk_rows):
            yield batch.frame.slice(start, chunk_rows)
        rows += batch.rows


def sent_values(frame: pl.DataFrame, table: Table, optional: dict[str, bool]) -> dict[str, list[Any]]:
    """Return the fields of a contract as lists of JSON's values.

    A value that is none of its column's type stays as it is, so that the contract can refuse it by name.

    Parameters
    ----------
    optional : dict of str to bool
        The contract's fields, and whether each may be left out.

    Raises
    ------
    DataError
        If a field that is needed is no column of the frame.
    """
    found = {}
    for name, may_be_absent in optional.items():
        if name in frame.columns:
            found[name] = _values(name, table.columns[name], table, frame)
        elif not may_be_absent:
            others = [column for column in frame.columns if column not in optional]
            raise DataError(
                f"expected a column '{name}'; found {', '.join(frame.columns)}{nearest(name, others)}"
            )
    return found


def _values(name: str, column: Column, table: Table, frame: pl.DataFrame) -> list[Any]:
    import polars as pl

    raw = frame.select(prepared(name, column, table.csv, frame.schema[name]))
    if raw.schema[name].is_float():
        raw = raw.with_columns(pl.col(name).fill_nan(None))
    known = raw.select(typed(name, column, raw.schema[name])).to_series()
    if column.type == "date":
        known = known.dt.to_string("%Y-%m-%d")
    elif column.type == "timestamp":
        known = known.dt.to_string("%Y-%m-%dT%H:%M:%S")
    values: list[Any] = known.to_list()
    wrong = (known.is_null() & raw.to_series().is_not_null()).arg_true().to_list()
    for place in wrong:
        values[place] = raw[name][place]
    return values
