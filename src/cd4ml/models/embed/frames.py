"""Rows as an application has them: a data frame, columns, or a list of rows. No data-frame library needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import numpy as np

from cd4ml.errors import DataError, nearest

__all__ = ["Rows", "field_lists"]

Rows = Any
"""A pandas or Polars DataFrame, a mapping of columns, or a list of rows (mappings)."""
_KINDS = "a pandas or Polars DataFrame, a dict of columns or a list of rows"


def field_lists(rows: Rows, fields: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, list[Any]], int]:
    """Return the contract's fields as lists of JSON's values, and how many rows there are.

    NaN, NaT and NA become null, times become ISO 8601 text. Columns that are no field are left out, except
    where one looks like a misspelt field that is absent.

    Parameters
    ----------
    rows : data frame or mapping of columns
    fields : mapping
        The contract's fields with their `kind`.

    Raises
    ------
    DataError
        If `rows` is of no known form, columns have different lengths, or a name seems to be misspelt.
    """
    names = _column_names(rows)
    absent = [name for name in fields if name not in names]
    others = [str(name) for name in names if name not in fields]
    for name in absent:
        if alike := nearest(name, others):
            raise DataError(f"expected a column '{name}'; found none{alike}")
    lists = {
        name: [_sent(value, field["kind"]) for value in _values(rows[name])]
        for name, field in fields.items()
        if name in names
    }
    if not lists:
        raise DataError(f"expected columns {', '.join(fields)}; found {', '.join(others) or 'none'}")
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in lengths.items())
        raise DataError(f"expected columns of one length; found {told}")
    return lists, next(iter(lengths.values()))


def _column_names(rows: Rows) -> list[Any]:
    if isinstance(rows, Mapping):
        return list(rows)
    columns = getattr(rows, "columns", None)
    if columns is None or not hasattr(rows, "__getitem__"):
        raise DataError(f"expected {_KINDS}; found {type(rows).__name__}")
    return list(columns)


def _values(column: Any) -> list[Any]:
    if isinstance(column, np.ndarray) and column.ndim == 1:
        # nanoseconds would come as numbers
        return list((column.astype("datetime64[us]") if column.dtype.kind == "M" else column).tolist())
    if isinstance(column, Sequence) and not isinstance(column, str | bytes):
        return list(column)
    if not hasattr(column, "to_list"):
        raise DataError(f"expected {_KINDS}; found {type(column).__name__} in place of a column")
    values: list[Any] = column.to_list()
    return values


def _sent(value: Any, kind: str) -> Any:
    """Return a value as JSON has it; what JSON has not stays, and the contract refuses it by name."""
    if isinstance(value, np.generic):
        value = value.astype("datetime64[us]").item() if value.dtype.kind == "M" else value.item()
    if value is None or _is_missing(value):
        return None
    if isinstance(value, datetime):
        midnight = kind == "date" and value.time() == time() and value.tzinfo is None
        return value.date().isoformat() if midnight else value.isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _is_missing(value: Any) -> bool:
    """Whether it is NaN, pandas' NaT or pandas' NA: what is not equal to itself, or cannot tell."""
    if isinstance(value, str | bool | int):
        return False
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value  # noqa: PLR0124 - NaN
