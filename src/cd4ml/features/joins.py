"""Left joins as lookups that are made once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cd4ml.errors import DataError
from cd4ml.features.columns import CategoryArray, ColumnLike, ColumnSet, as_float, length, take, texts
from cd4ml.features.expressions import Expression
from cd4ml.features.keys import Cache, KeyIndex
from cd4ml.features.layout import JoinTable

__all__ = ["Lookup", "apply_join", "build_lookup"]


@dataclass(frozen=True)
class Lookup:
    """A table by key.

    Parameters
    ----------
    index : KeyIndex
        Its keys.
    columns : dict
        New column -> values [keys + 1]: those of each key, and last the null of a row without a match.
    """

    index: KeyIndex
    columns: dict[str, ColumnLike]


def _with_null(column: ColumnLike) -> ColumnLike:
    if isinstance(column, CategoryArray):
        return CategoryArray(np.append(column.codes, np.int32(-1)), column.categories)
    if column.dtype.kind == "M":
        return np.append(column.astype("datetime64[s]"), np.datetime64("NaT", "s"))
    return np.append(as_float(column), np.nan)


def build_lookup(join: JoinTable, where: str | None, table: ColumnSet) -> Lookup:
    """Return the table's rows by key; rows with a null in the key match nothing.

    Raises
    ------
    DataError
        When two rows have the same key (a flag may have many).
    """
    if where is not None:
        table = take(table, Expression.parse(where, ("joins", join.index, "where")).mask(table))
    rows = length(table)
    keys = [table[name] for _, name in join.keys]
    index, codes = KeyIndex.build(keys, rows, [f"{join.table}.{name}" for _, name in join.keys])
    if join.flag:
        return Lookup(index, {})
    known = np.flatnonzero(codes >= 0)
    row_of = np.zeros(len(index), dtype=np.int64)
    row_of[codes[known]] = known
    if len(known) != len(index):
        twice = known[row_of[codes[known]] != known][:1]
        shown = ", ".join(f"{name}={texts(take(table, twice)[name])[0]}" for _, name in join.keys)
        raise DataError(
            f"table '{join.table}' has more than one row for {shown}; a join needs one row a key, "
            "make its rows unique or narrow them with `where`"
        )
    chosen = take(table, row_of)
    return Lookup(index, {new: _with_null(chosen[old]) for old, new in join.columns})


def apply_join(join: JoinTable, lookup: Lookup, facts: ColumnSet, cache: Cache) -> dict[str, ColumnLike]:
    """Return the new columns for each fact; null (flag: 0) where no row matches."""
    keys = [facts[name] for name, _ in join.keys]
    rows = lookup.index.positions(keys, len(keys[0]), cache)
    if join.flag:
        return {join.flag: (rows >= 0).astype(np.float64)}
    return take(lookup.columns, rows)
