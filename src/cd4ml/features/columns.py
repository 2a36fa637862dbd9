"""Columns as NumPy arrays: what a table is outside of a frame, for a million rows and for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cd4ml.problem import Column

__all__ = [
    "CategoryArray",
    "ColumnLike",
    "ColumnSet",
    "as_category",
    "as_float",
    "concat",
    "empty_columns",
    "kind_of",
    "length",
    "number_text",
    "take",
    "texts",
]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class CategoryArray:
    """Texts as numbers.

    Parameters
    ----------
    codes : int32 [n]
        Position in `categories`; -1 is null.
    categories : tuple of str
        The texts, in any order; none of them needs to occur.
    """

    codes: NDArray[np.int32]
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)


ColumnLike: TypeAlias = NDArray[Any] | CategoryArray
ColumnSet: TypeAlias = Mapping[str, ColumnLike]


def length(columns: ColumnSet) -> int:
    """Return the number of rows; 0 when there is no column."""
    return len(next(iter(columns.values()))) if columns else 0


def take(columns: ColumnSet, index: NDArray[Any] | slice) -> dict[str, ColumnLike]:
    """Return the rows of `index` (positions, a mask or a slice); categories stay the same objects."""
    return {
        name: CategoryArray(value.codes[index], value.categories)
        if isinstance(value, CategoryArray)
        else value[index]
        for name, value in columns.items()
    }


def _concat_categories(parts: Sequence[CategoryArray]) -> CategoryArray:
    if all(part.categories is parts[0].categories for part in parts):
        return CategoryArray(np.concatenate([part.codes for part in parts]), parts[0].categories)
    position: dict[str, int] = {}
    codes = []
    for part in parts:
        table = [position.setdefault(text, len(position)) for text in part.categories]
        codes.append(np.array([*table, -1], dtype=np.int32)[part.codes])
    return CategoryArray(np.concatenate(codes), tuple(position))


def concat(sets: Sequence[ColumnSet]) -> dict[str, ColumnLike]:
    """Return the rows of all sets one below the other; all have the columns of the first."""
    result: dict[str, ColumnLike] = {}
    for name, first in sets[0].items():
        if isinstance(first, CategoryArray):
            result[name] = _concat_categories([part[name] for part in sets])  # type: ignore[misc]
        else:
            result[name] = np.concatenate([np.asarray(part[name]) for part in sets])
    return result


_KINDS = {"M": "time", "m": "duration"}


def kind_of(value: object) -> str:
    """Return "text", "time", "duration" or "number" for a column or a scalar."""
    if isinstance(value, (CategoryArray, str)):  # quicker than CategoryArray | str
        return "text"
    kind = value.dtype.kind if isinstance(value, np.ndarray) else np.asarray(value).dtype.kind
    return _KINDS.get(kind, "number")


def as_float(column: Array) -> NDArray[np.float64]:
    """Return numbers, flags and counts as float64: the same type whether or not a batch holds nulls."""
    return column.astype(np.float64, copy=False)


def number_text(value: Any) -> str:
    """Return the text that a number is as a category: 3.0, 3 and True are not told apart by their types."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def as_category(column: ColumnLike) -> CategoryArray:
    """Return any column as categories; null stays null.

    3.0 and 3 are "3", true is "1", midnight is "2017-08-15".
    """
    if isinstance(column, CategoryArray):
        return column
    if len(column) == 1:
        return _single_category(column)
    values, codes = np.unique(column, return_inverse=True)
    null = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values.astype(np.float64))
    found = [_text(value) for value in values[~null]]
    table = np.where(null, -1, np.cumsum(~null) - 1).astype(np.int32)  # nulls sort last
    return CategoryArray(table[codes.reshape(-1)], tuple(found))


def _text(value: Any) -> str:
    return str(value).removesuffix("T00:00:00") if value.dtype.kind == "M" else number_text(value)


def _single_category(column: Array) -> CategoryArray:
    """Return a column of one row without sorting it."""
    value = column[0]
    if np.isnat(value) if value.dtype.kind == "M" else value != value:  # noqa: PLR0124 - NaN
        return CategoryArray(np.array([-1], dtype=np.int32), ())
    return CategoryArray(np.zeros(1, dtype=np.int32), (_text(value),))


def texts(column: ColumnLike) -> list[str | None]:
    """Return each row's text; None where it is null."""
    category = as_category(column)
    named: list[str | None] = [*category.categories, None]
    return [named[code] for code in category.codes]


def empty_columns(columns: Mapping[str, Column]) -> dict[str, ColumnLike]:
    """Return columns of the declared types without rows: types alone, e.g. to check expressions."""
    result: dict[str, ColumnLike] = {}
    for name, column in columns.items():
        if column.type in ("text", "category"):
            result[name] = CategoryArray(np.empty(0, dtype=np.int32), ())
        elif column.type in ("date", "timestamp"):
            result[name] = np.empty(0, dtype="datetime64[s]")
        else:
            result[name] = np.empty(0, dtype=np.int64 if column.type == "integer" else np.float64)
    return result
