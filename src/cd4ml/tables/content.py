"""A hash of a table's content that knows nothing of files, batches or library versions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ContentDigest"]

_NULL_LENGTH = 2**32 - 1


class ContentDigest:
    """Hash rows batch by batch: the same rows in the same order give the same digest however they are cut.

    Each column has two streams. Numbers, dates and booleans: their little-endian values with nulls as 0, and
    the row numbers of the nulls. Texts: their byte lengths (2^32 - 1 for null), and their bytes as UTF-8.
    """

    def __init__(self) -> None:
        self._columns: dict[str, tuple[str, Any, Any]] = {}
        self.rows = 0

    def update(self, frame: pl.DataFrame) -> None:
        """Add rows; every frame must have the columns and types of the first."""
        for series in frame.get_columns():
            kind, first, second = self._columns.setdefault(
                series.name, (str(series.dtype), hashlib.sha256(), hashlib.sha256())
            )
            if kind == "String":
                self._add_text(series, first, second)
            else:
                self._add_values(series, first, second)
        self.rows += frame.height

    def _add_text(self, series: pl.Series, first: Any, second: Any) -> None:
        import polars as pl

        lengths = series.str.len_bytes().fill_null(_NULL_LENGTH).cast(pl.UInt32).rechunk()
        first.update(lengths.to_numpy().tobytes())
        array: Any = series.drop_nulls().rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, data = array.buffers()
        if data is not None and len(array):
            import numpy as np

            ends = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
            second.update(memoryview(data)[int(ends[0]) : int(ends[-1])])

    def _add_values(self, series: pl.Series, first: Any, second: Any) -> None:
        import polars as pl

        physical = series.cast(pl.UInt8) if series.dtype == pl.Boolean else series.to_physical()
        if series.null_count():
            second.update((series.is_null().arg_true().cast(pl.Int64) + self.rows).to_numpy().tobytes())
            physical = physical.fill_null(0)
        first.update(physical.rechunk().to_numpy().data if physical.len() else b"")

    def hexdigest(self) -> str:
        """Return 64 hexadecimal digits over column names, types, values and the number of rows."""
        lines = [str(self.rows)]
        for name, (kind, first, second) in self._columns.items():
            lines.append(f"{name!r} {kind} {first.hexdigest()} {second.hexdigest()}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
