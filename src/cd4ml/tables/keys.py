"""Second pass over a table: unique rows and foreign keys, among the rows that are right by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cd4ml.tables.writer import read_frames

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import ForeignKey

__all__ = ["later_duplicates", "unmatched"]

Rows = npt.NDArray[np.int64]


def later_duplicates(path: Path, columns: Sequence[str], hashes: npt.NDArray[np.uint64]) -> Rows:
    """Return the positions of rows that agree in `columns` with an earlier row; null agrees with null.

    Rows whose 64-bit hash occurs twice are compared by their values, so the answer is exact; memory is 8
    bytes a row and the rows that may be duplicates.

    Parameters
    ----------
    path : Path
        The table as Parquet.
    columns : sequence of str
    hashes : uint64 array (rows,)
        `DataFrame.hash_rows` of the columns, in the table's order.
    """
    import polars as pl

    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return np.empty(0, np.int64)
    suspects = np.flatnonzero(np.isin(hashes, twice))
    found, start = [], 0
    for frame in read_frames(path, list(columns)):
        low, high = np.searchsorted(suspects, [start, start + frame.height])
        found.append(frame[suspects[low:high] - start])
        start += frame.height
    first = pl.concat(found).select(pl.struct(list(columns)).is_first_distinct()).to_series().to_numpy()
    later: Rows = suspects[~first]
    return later


def unmatched(path: Path, key: ForeignKey, referenced: Path) -> Rows:
    """Return the positions of rows whose key the other table lacks; a key with a null refers to nothing."""
    import polars as pl

    there = key.references or key.columns
    known = pl.scan_parquet(referenced).select(there).unique().collect()
    found, start = [], 0
    for frame in read_frames(path, list(key.columns)):
        keys = frame.select(key.columns).with_row_index("_position").drop_nulls()
        other = known.rename(dict(zip(there, key.columns, strict=True)))
        for name in key.columns:
            if keys.schema[name] != other.schema[name]:
                keys, other = _as_text(keys, name), _as_text(other, name)
        wrong = keys.join(other, on=key.columns, how="anti").get_column("_position").sort()
        found.append(wrong.to_numpy().astype(np.int64) + start)
        start += frame.height
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _as_text(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.col(name).cast(pl.String))
