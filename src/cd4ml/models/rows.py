"""Rows as callers send them, checked against a bundle's contract and turned into columns, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from cd4ml.errors import RowError, nearest
from cd4ml.features.columns import CategoryArray, ColumnLike, ColumnSet, length
from cd4ml.models.contract import TIME_PATTERN

__all__ = ["columns_from_lists", "columns_from_rows", "from_lines", "rows_from_columns", "to_lines"]

Field = Mapping[str, Any]
_ABSENT = object()
_MOST_SHOWN = 60


def columns_from_rows(
    contract: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, ColumnLike]:
    """Return the columns of rows that hold a contract.

    Parameters
    ----------
    contract : mapping
        contract.json of a bundle.
    rows : sequence of mappings
        As from JSON: text, numbers, booleans, null; dates in ISO 8601 without a zone.

    Raises
    ------
    RowError
        Naming row (from 0), field, what is allowed and what was found; or that there are no rows, or too
        many.
    """
    _check_count(contract, len(rows))
    fields: Mapping[str, Field] = contract["inputs"]["properties"]
    for index, row in enumerate(rows):
        _check_names(index, row, fields)
    limits = _limits(fields)
    return {
        name: _column(name, field, limits[name], [row.get(name, _ABSENT) for row in rows])
        for name, field in fields.items()
    }


def columns_from_lists(
    contract: Mapping[str, Any], lists: Mapping[str, Sequence[Any]], rows: int
) -> dict[str, ColumnLike]:
    """Return the columns of fields that come as one list of `rows` values each; see `columns_from_rows`."""
    _check_count(contract, rows)
    fields: Mapping[str, Field] = contract["inputs"]["properties"]
    if not lists.keys() <= fields.keys():
        raise _unknown_field(None, lists, fields)
    absent, limits = [_ABSENT] * rows, _limits(fields)
    return {
        name: _column(name, field, limits[name], lists.get(name, absent)) for name, field in fields.items()
    }


def _check_count(contract: Mapping[str, Any], rows: int) -> None:
    most = int(contract["max_rows"])
    if not 0 < rows <= most:
        allowed = f"from 1 to {most} rows"
        raise RowError(f"expected {allowed}; found {rows}", "", f"{rows} rows", allowed)


def _check_names(index: int, row: Any, fields: Mapping[str, Field]) -> None:
    if not isinstance(row, Mapping):
        found, allowed = _shown(row), "an object with fields"
        raise RowError(f"row {index}: expected {allowed}; found {found}", "", found, allowed, index)
    if not row.keys() <= fields.keys():
        raise _unknown_field(index, row, fields)


def _unknown_field(index: int | None, names: Mapping[Any, Any], fields: Mapping[str, Field]) -> RowError:
    extra = min(str(name) for name in names if name not in fields)[:_MOST_SHOWN]
    where = "" if index is None else f"row {index}: "
    message = f"{where}unknown field {_shown(extra)}{nearest(extra, fields)}; expected {', '.join(fields)}"
    return RowError(message, extra, "an unknown field", ", ".join(fields), index)


@dataclass(frozen=True)
class _Limits:
    """What a field allows, in the type of its values."""

    low: Any
    high: Any
    options: frozenset[Any] | None

    @classmethod
    def of(cls, field: Field) -> _Limits:
        read = _READERS[field["kind"]]
        low, high = _ends(field)
        if field["kind"] in _TIMES:  # a contract's own times may be written in other ways than a caller's
            read = datetime.fromisoformat
            low, high = (None if end is None else read(end) for end in (low, high))
        options = field.get("enum")
        known = None if options is None else frozenset(read(value) for value in options if value is not None)
        return cls(low, high, known)

    def hold(self, value: Any) -> bool:
        if self.options is not None and value not in self.options:
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def _ends(field: Field) -> tuple[Any, Any]:
    """Return the smallest and the largest value as the contract has them; None where there is none."""
    low, high = ("formatMinimum", "formatMaximum") if field["kind"] in _TIMES else ("minimum", "maximum")
    return field.get(low), field.get(high)


def _limits(fields: Mapping[str, Field]) -> Mapping[str, _Limits]:
    """Return the limits of a contract's fields; those of contracts that were asked for lately are kept."""
    kept = _KEPT.get(id(fields))
    if kept is None or kept[0] is not fields:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        kept = _KEPT[id(fields)] = (fields, {name: _Limits.of(field) for name, field in fields.items()})
    return kept[1]


_KEPT: dict[int, tuple[Mapping[str, Field], Mapping[str, _Limits]]] = {}
"""By the id of the fields, which are kept alive; a contract is not altered once it was read."""
_MOST_KEPT = 64


def _column(name: str, field: Field, limits: _Limits, values: Sequence[Any]) -> ColumnLike:
    read, nullable = _READERS[field["kind"]], field["nullable"]
    found: list[Any] = []
    for index, value in enumerate(values):
        if nullable and (value is None or value is _ABSENT):
            found.append(None)
            continue
        try:
            parsed = read(value)
        except (TypeError, ValueError, OverflowError):
            raise _refusal(index, name, field, value) from None
        if not limits.hold(parsed):
            raise _refusal(index, name, field, value)
        found.append(parsed)
    return _MAKERS[field["kind"]](found)


def _refusal(index: int, name: str, field: Field, value: Any) -> RowError:
    found = "no such field in the row" if value is _ABSENT else _shown(value)
    suggestion = ""
    if isinstance(value, str) and field["kind"] in ("text", "category"):
        suggestion = nearest(
            value[:_MOST_SHOWN], [option for option in field.get("enum", ()) if option is not None]
        )
    allowed = _expected(field)
    message = f"row {index}: field '{name}' must be {allowed}; found {found}{suggestion}"
    return RowError(message, name, found, allowed, index)


def _shown(value: Any) -> str:
    """Return a value in one line and in few characters, whatever a caller sent."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."


_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "text": "a text",
    "category": "a text",
    "boolean": "true or false",
    "date": "a date such as 2017-08-16",
    "timestamp": "a time such as 2017-08-16T13:00:00",
}
_TIMES = ("date", "timestamp")
_MOST_LISTED = 12


def _expected(field: Field) -> str:
    words = _WORDS[field["kind"]]
    low, high = _ends(field)
    words += f" from {low}" if low is not None else ""
    words += f" up to {high}" if high is not None else ""
    if "enum" in field:
        options = [value for value in field["enum"] if value is not None]
        more = len(options) - _MOST_LISTED
        listed = ", ".join(str(value) for value in options[:_MOST_LISTED])
        words += f", one of: {listed}" + (f" and {more} more" if more > 0 else "")
    return words + (" or null" if field["nullable"] else "")


def _read_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != math.floor(value):
        raise TypeError
    if abs(value) >= 2**63:
        raise ValueError
    return int(value)


def _read_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _read_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


_TIME = re.compile(TIME_PATTERN.removesuffix("$")).fullmatch


def _read_time(value: Any) -> datetime:
    # fromisoformat alone also takes week dates, zones and fractions.
    if not _TIME(_read_text(value)):
        raise ValueError
    return datetime.fromisoformat(value)


def _read_date(value: Any) -> datetime:
    if len(_read_text(value)) != len("2017-08-16"):
        raise ValueError
    return _read_time(value)


def _make_numbers(values: list[Any]) -> ColumnLike:
    return np.array(values, dtype=np.float64)  # None is NaN


def _make_integers(values: list[Any]) -> ColumnLike:
    return _make_numbers(values) if None in values else np.array(values, dtype=np.int64)


def _make_categories(values: list[Any]) -> ColumnLike:
    position: dict[str, int] = {}
    codes = [-1 if value is None else position.setdefault(value, len(position)) for value in values]
    return CategoryArray(np.array(codes, dtype=np.int32), tuple(position))


def _make_times(values: list[Any]) -> ColumnLike:
    return np.array(values, dtype="datetime64[s]")  # None is NaT


_READERS: dict[str, Callable[[Any], Any]] = {
    "integer": _read_integer,
    "number": _read_number,
    "text": _read_text,
    "category": _read_text,
    "boolean": _read_boolean,
    "date": _read_date,
    "timestamp": _read_time,
}
_MAKERS: dict[str, Callable[[list[Any]], ColumnLike]] = {
    "integer": _make_integers,
    "number": _make_numbers,
    "text": _make_categories,
    "category": _make_categories,
    "boolean": _make_numbers,
    "date": _make_times,
    "timestamp": _make_times,
}


def rows_from_columns(contract: Mapping[str, Any], columns: ColumnSet) -> list[dict[str, Any]]:
    """Return columns as the rows that a caller would send; `columns_from_rows` reads them back."""
    fields: Mapping[str, Field] = contract["inputs"]["properties"]
    lists = {name: _values(field["kind"], columns[name]) for name, field in fields.items()}
    return [{name: lists[name][i] for name in fields} for i in range(length(columns))]


def _values(kind: str, column: ColumnLike) -> list[Any]:
    if isinstance(column, CategoryArray):
        named: list[str | None] = [*column.categories, None]
        return [named[code] for code in column.codes.tolist()]
    if column.dtype.kind == "M":
        width = len("2017-08-16") if kind == "date" else None
        return [None if np.isnat(value) else str(value)[:width] for value in column]
    make: Callable[[float], Any] = {"integer": int, "boolean": bool}.get(kind, float)
    return [None if value != value else make(value) for value in column.tolist()]  # noqa: PLR0124 - NaN


def to_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON lines in ASCII; NaN and infinities, which JSON does not know, raise ValueError."""
    return "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows)


def from_lines(text: str) -> list[dict[str, Any]]:
    """Return the rows of JSON lines."""
    # Not splitlines: a text may hold separators such as U+2028.
    return [json.loads(line) for line in text.split("\n") if line]
