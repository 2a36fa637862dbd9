"""The operations of the expression language, element by element.

A value is a scalar, an array or a CategoryArray. Nulls are NaN, NaT and the code -1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cd4ml.features.calendar import PARTS
from cd4ml.features.columns import CategoryArray, ColumnLike, kind_of

__all__ = [
    "FUNCTIONS",
    "Function",
    "Mismatch",
    "arithmetic",
    "compare",
    "contained",
    "number",
    "spread",
    "truth",
]


class Mismatch(Exception):
    """An operation does not fit the types of its values; becomes a ProblemError with its place."""


@dataclass(frozen=True)
class Function:
    """A function of the language and how many values it takes."""

    call: Callable[..., Any]
    arguments: int


def number(value: Any, operation: str) -> Any:
    """Return a number or an array of numbers as float64; raise Mismatch for anything else."""
    if kind_of(value) != "number":
        raise Mismatch(f"{operation} needs numbers; found {kind_of(value)}")
    return np.asarray(value, dtype=np.float64)[()]


def truth(value: Any) -> Any:
    """Return what is true: not zero and not null."""
    if kind_of(value) != "number":
        raise Mismatch(f"expected something true or false; found {kind_of(value)}, compare it with a value")
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return array
    return (array != 0) & ~np.isnan(array.astype(np.float64))


def spread(value: Any, rows: int) -> ColumnLike:
    """Return a value as one column of `rows` rows."""
    if isinstance(value, CategoryArray | str):
        category = _texts(value)
        if len(category) == rows:
            return category
        return CategoryArray(np.repeat(category.codes[:1], rows), category.categories)
    array = np.asarray(value)
    if array.dtype.kind == "m":
        raise Mismatch("a duration is not a value; add it to a time")
    if array.dtype.kind in "iuf":
        array = np.asarray(array, dtype=np.float64)
        array = np.where(np.isfinite(array), array, np.nan)
    return np.array(np.broadcast_to(array, (rows,))) if array.shape != (rows,) else array


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "//": np.floor_divide, "%": np.mod,
    "**": np.power,
}  # fmt: skip


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    """Apply + - * / // % **; what has no finite value is null. The difference of two times is in days."""
    kinds = (kind_of(left), kind_of(right))
    if kinds == ("time", "time") and operator == "-":
        difference = (left - right).astype("timedelta64[s]")
        return np.where(np.isnat(difference), np.nan, difference.astype(np.int64) / 86400.0)
    if (kinds == ("time", "duration") and operator in "+-") or (
        kinds == ("duration", "time") and operator == "+"
    ):
        return _ARITHMETIC[operator](left, right)
    if kinds != ("number", "number"):
        raise Mismatch(f"`{operator}` does not fit {kinds[0]} and {kinds[1]}")
    result = _ARITHMETIC[operator](number(left, operator), number(right, operator))
    return np.where(np.isfinite(result), result, np.nan)[()]


_COMPARE: dict[str, Callable[..., Any]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater,
    ">=": np.greater_equal,
}  # fmt: skip
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _time(text: str) -> Any:
    # NumPy would also read "today" by the clock, and a zone that nobody applies.
    whole = re.fullmatch(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?", text)
    try:
        if whole:
            return np.datetime64(text, "s")
    except ValueError:
        pass
    raise Mismatch(f"expected a date such as '2017-08-15' or '2017-08-15T13:00'; found '{text}'")


def _compare_texts(operator: str, left: CategoryArray, right: Any) -> Any:
    if operator not in ("==", "!="):
        raise Mismatch(f"`{operator}` does not fit text; use == , != or in")
    if isinstance(right, str):
        wanted = np.array([text == right for text in left.categories] + [False])
        equal = wanted[left.codes]
        return equal if operator == "==" else ~equal & (left.codes >= 0)
    position = {text: code for code, text in enumerate(left.categories)}
    table = np.array([*(position.get(text, -2) for text in right.categories), -2])
    equal = table[right.codes] == left.codes
    known = (left.codes >= 0) & (right.codes >= 0)
    return (equal if operator == "==" else ~equal) & known


def compare(operator: str, left: Any, right: Any) -> Any:
    """Apply == != < <= > >=; a comparison with null is false, `!=` too."""
    kinds = (kind_of(left), kind_of(right))
    if kinds == ("text", "text"):
        if isinstance(left, str) and isinstance(right, str):
            return {"==": left == right, "!=": left != right}.get(operator, False)
        if isinstance(left, str):
            return _compare_texts(_MIRRORED[operator], right, left)
        return _compare_texts(operator, left, right)
    if kinds == ("time", "text") and isinstance(right, str):
        right = _time(right)
    elif kinds == ("text", "time") and isinstance(left, str):
        left = _time(left)
    elif kinds[0] != kinds[1]:
        raise Mismatch(f"`{operator}` does not compare {kinds[0]} with {kinds[1]}")
    result = _COMPARE[operator](left, right)
    return result & ~_null(left) & ~_null(right) if operator == "!=" else result


def contained(value: Any, values: Sequence[bool | int | float | str], negated: bool) -> Any:
    """Return where the value is one of `values`, or none of them; null is neither."""
    found: Any = np.zeros(np.shape(value) if not isinstance(value, CategoryArray) else len(value), dtype=bool)
    for item in values:
        found = found | compare("==", value, item)
    return ~found & ~_null(value) if negated else found


def _null(value: Any) -> Any:
    if isinstance(value, CategoryArray):
        return value.codes < 0
    if isinstance(value, str):
        return np.False_
    array = np.asarray(value)
    if array.dtype.kind in "mM":
        return np.isnat(array)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)


def _select(condition: Any, yes: Any, no: Any) -> Any:
    kinds = (kind_of(yes), kind_of(no))
    if kinds[0] != kinds[1]:
        raise Mismatch(f"where() and fill() need two values of one type; found {kinds[0]} and {kinds[1]}")
    if kinds[0] == "number":
        return np.where(condition, number(yes, "where"), number(no, "where"))[()]
    if kinds[0] != "text":
        return np.where(condition, yes, no)
    first, second = _texts(yes), _texts(no)
    position = {text: code for code, text in enumerate(first.categories)}
    table = [position.setdefault(text, len(position)) for text in second.categories]
    other = np.array([*table, -1], dtype=np.int32)[second.codes]
    return CategoryArray(np.where(condition, first.codes, other).astype(np.int32), tuple(position))


def _texts(value: Any) -> CategoryArray:
    return CategoryArray(np.zeros(1, dtype=np.int32), (value,)) if isinstance(value, str) else value


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return _select(truth(condition), yes, no)


def _fill(value: Any, other: Any) -> Any:
    return _select(_null(value), other, value)


def _lower(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower()
    if not isinstance(value, CategoryArray):
        raise Mismatch(f"lower() needs text; found {kind_of(value)}")
    position: dict[str, int] = {}
    table = [position.setdefault(text.lower(), len(position)) for text in value.categories]
    return CategoryArray(np.array([*table, -1], dtype=np.int32)[value.codes], tuple(position))


def _duration(seconds: int) -> Callable[[Any], Any]:
    def make(value: Any) -> Any:
        whole = np.asarray(number(value, "a duration")) * seconds
        result = np.where(np.isnan(whole), 0, np.round(whole)).astype("timedelta64[s]")
        return np.where(np.isnan(whole), np.timedelta64("NaT"), result)

    return make


def _numeric(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        result = call(*(number(value, f"{name}()") for value in values))
        return np.where(np.isfinite(result), result, np.nan)[()]

    return apply


def _calendar(name: str) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        if kind_of(value) != "time":
            raise Mismatch(f"{name}() needs a date or a time; found {kind_of(value)}")
        return PARTS[name](value)

    return apply


_NUMERIC: dict[str, tuple[Callable[..., Any], int]] = {
    "abs": (np.abs, 1), "clip": (lambda x, low, high: np.minimum(np.maximum(x, low), high), 3),
    "expm1": (np.expm1, 1), "floor": (np.floor, 1), "log1p": (np.log1p, 1), "maximum": (np.maximum, 2),
    "minimum": (np.minimum, 2), "sqrt": (np.sqrt, 1),
}  # fmt: skip

FUNCTIONS: dict[str, Function] = {
    **{name: Function(_numeric(name, call), count) for name, (call, count) in _NUMERIC.items()},
    **{
        name: Function(_calendar(part), 1)
        for name, part in {
            "hour": "hour",
            "day": "day_of_month",
            "day_of_week": "day_of_week",
            "month": "month",
            "year": "year",
        }.items()
    },
    "where": Function(_where, 3),
    "is_null": Function(_null, 1),
    "fill": Function(_fill, 2),
    "lower": Function(_lower, 1),
    "hours": Function(_duration(3600), 1),
    "days": Function(_duration(86400), 1),
}
"""Every function by its name."""
