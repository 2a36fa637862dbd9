"""Finding rows by key: texts and whole numbers to positions, without sorting at the time of asking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cd4ml.errors import DataError
from cd4ml.features.columns import CategoryArray, ColumnLike

__all__ = ["Cache", "KeyIndex"]

Cache: TypeAlias = dict[tuple[int, int], NDArray[np.int64]]
"""Translations of categories within one call over facts of one origin, by the ids of reader and categories.

The call keeps the facts' categories alive. Those that an expression makes anew for each chunk hang on the
facts' categories alone, so that an id that comes again means the same texts."""
Codes = NDArray[np.int64]

_DENSE_CELLS = 50_000_000
_NOT_A_TIME = -(2**63)


def _whole(column: NDArray[Any]) -> tuple[Codes, NDArray[np.bool_]]:
    """Return numbers or times as int64, and which of them are keys at all."""
    if column.dtype.kind == "M":
        return column.astype("datetime64[s]").astype(np.int64), ~np.isnat(column)
    if column.dtype.kind == "f":
        known = (np.abs(column) < 2.0**63) & (np.floor(column) == column)
        return np.where(known, column, 0).astype(np.int64), known
    return column.astype(np.int64), np.ones(len(column), dtype=bool)


def _whole_one(column: NDArray[Any]) -> int | None:
    """Return what `_whole` does for a column of one row; None where it is no key."""
    if column.dtype.kind == "M":
        found = column.astype("datetime64[s]", copy=False).view(np.int64).item()
        return None if found == _NOT_A_TIME else found
    value = column.item()
    if type(value) is float and not (abs(value) < 2.0**63 and value.is_integer()):
        return None
    return int(value)


class _Part:
    """One column of a key: its values in ascending order."""

    def __init__(self, values: tuple[str, ...] | Codes) -> None:
        self.values = values
        self.position = {text: code for code, text in enumerate(values)} if isinstance(values, tuple) else {}

    @classmethod
    def build(cls, column: ColumnLike, name: str) -> _Part:
        if isinstance(column, CategoryArray):
            used = np.zeros(len(column.categories) + 1, dtype=bool)
            used[column.codes] = True
            return cls(
                tuple(sorted(text for text, seen in zip(column.categories, used, strict=False) if seen))
            )
        values, known = _whole(column)
        broken = ~known & ~np.isnat(column) if column.dtype.kind == "M" else ~known & ~np.isnan(column)
        if broken.any():
            raise DataError(
                f"a key needs texts, times or whole numbers; found {column[broken][0]} in {name}, "
                "round it with floor() or declare it as text"
            )
        return cls(np.unique(values[known]))

    def codes(self, column: ColumnLike, cache: Cache) -> Codes:
        if isinstance(column, CategoryArray):
            if not isinstance(self.values, tuple):
                return np.full(len(column), -1)
            name = (id(self), id(column.categories))
            table = cache.get(name)
            if table is None:
                found = [self.position.get(text, -1) for text in column.categories]
                table = cache[name] = np.array([*found, -1], dtype=np.int64)
            return table[column.codes]
        if isinstance(self.values, tuple) or not len(self.values):
            return np.full(len(column), -1)
        values, known = _whole(column)
        code = np.minimum(np.searchsorted(self.values, values), len(self.values) - 1)
        return np.where(known & (self.values[code] == values), code, -1)

    def code(self, column: ColumnLike) -> int:
        """Return what `codes` does for a column of one row, without arrays."""
        if isinstance(column, CategoryArray):
            place = int(column.codes[0])
            return self.position.get(column.categories[place], -1) if place >= 0 else -1
        value = None if isinstance(self.values, tuple) else _whole_one(column)
        if value is None:
            return -1
        code = self.values.searchsorted(value)  # type: ignore[union-attr]
        return int(code) if code < len(self.values) and self.values[code] == value else -1


class KeyIndex:
    """Distinct keys of one or more columns, numbered in ascending order.

    A key with a null in it is none: it is never found. Without columns there is one key, that of every row.

    Parameters
    ----------
    parts : sequence
        For each column its values in ascending order: a tuple of texts or int64.
    ids : int64 [keys]
        The keys that exist, as mixed-radix numbers over the parts, ascending.
    """

    def __init__(self, parts: Sequence[tuple[str, ...] | Codes], ids: Codes) -> None:
        self._parts = [_Part(values) for values in parts]
        self.ids = ids
        self._radix = [max(1, len(part.values)) for part in self._parts]
        cells = 1
        for radix in self._radix:
            cells *= radix
        if cells >= 2**62:
            raise DataError(f"a key of {len(parts)} columns has too many values; join on fewer columns")
        self._table: NDArray[np.int32] | None = None
        if cells <= min(_DENSE_CELLS, 64 * len(ids) + 1_000_000):
            self._table = np.full(cells, -1, dtype=np.int32)
            self._table[ids] = np.arange(len(ids), dtype=np.int32)

    @classmethod
    def build(
        cls, columns: Sequence[ColumnLike], rows: int, names: Sequence[str] = ()
    ) -> tuple[KeyIndex, Codes]:
        """Return the index of all keys in `columns`, and each row's position in it (-1: a null).

        Raises
        ------
        DataError
            When a number is not whole (`names` tells of which column), or there are too many keys.
        """
        known = [f"'{name}'" for name in names] or [f"its column {n + 1}" for n in range(len(columns))]
        parts = [_Part.build(column, name) for column, name in zip(columns, known, strict=True)]
        bare = cls([part.values for part in parts], np.empty(0, dtype=np.int64))
        combined = bare._combine(columns, rows, {})
        cells = int(np.prod([float(radix) for radix in bare._radix])) if parts else 1
        if cells <= _DENSE_CELLS:
            present = np.zeros(cells + 1, dtype=bool)
            present[combined] = True
            ids = np.flatnonzero(present[:-1])
        else:
            ids = np.unique(combined[combined >= 0])
        index = cls([part.values for part in parts], ids)
        return index, index._find(combined)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def parts(self) -> list[tuple[str, ...] | Codes]:
        """For each column its values in ascending order."""
        return [part.values for part in self._parts]

    def _combine(self, columns: Sequence[ColumnLike], rows: int, cache: Cache) -> Codes:
        combined = np.zeros(rows, dtype=np.int64)
        bad: NDArray[np.bool_] | None = None
        for part, radix, column in zip(self._parts, self._radix, columns, strict=True):
            codes = part.codes(column, cache)
            bad = codes < 0 if bad is None else bad | (codes < 0)
            combined = combined * radix + codes
        return combined if bad is None else np.where(bad, -1, combined)

    def _find(self, combined: Codes) -> Codes:
        if not len(self.ids):
            return np.full(len(combined), -1)
        if self._table is not None:
            return np.where(combined >= 0, self._table[combined], -1).astype(np.int64)
        position = np.minimum(np.searchsorted(self.ids, combined), len(self.ids) - 1)
        return np.where(self.ids[position] == combined, position, -1)

    def positions(self, columns: Sequence[ColumnLike], rows: int, cache: Cache) -> Codes:
        """Return each row's key as a position in the index; -1 where it is unknown or has a null."""
        if rows == 1:
            return np.array([self._position(columns)], dtype=np.int64)
        return self._find(self._combine(columns, rows, cache))

    def _position(self, columns: Sequence[ColumnLike]) -> int:
        """Return what `positions` does for one row: for each part one search instead of ten arrays."""
        combined = 0
        for part, radix, column in zip(self._parts, self._radix, columns, strict=True):
            code = part.code(column)
            if code < 0:
                return -1
            combined = combined * radix + code
        if self._table is not None:
            return self._table.item(combined) if len(self.ids) else -1
        position = int(self.ids.searchsorted(combined))
        return position if position < len(self.ids) and self.ids[position] == combined else -1
