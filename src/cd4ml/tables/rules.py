"""The rules of a table's columns, compiled into expressions over one batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from cd4ml.errors import ProblemError
from cd4ml.tables.convert import EXPECTED

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Column, Severity

__all__ = ["RAW", "Roles", "Rule", "column_rules"]

RAW = "raw:"
"""Prefix of the columns that hold a value as it was read, beside the typed ones."""

_NOT_OF_TYPE = {
    "integer": "INT_TYPE_NOT_INT_STRING",
    "number": "FLOAT_TYPE_STRING_NOT_FLOAT",
    "boolean": "BOOL_TYPE_UNEXPECTED_STRING",
    "date": "DATE_TYPE_NOT_DATE",
    "timestamp": "DATE_TYPE_NOT_DATE",
}
_TOO_SMALL = {"integer": "INT_TYPE_SMALL_INT", "number": "FLOAT_TYPE_SMALL_FLOAT"}
_TOO_BIG = {"integer": "INT_TYPE_BIG_INT", "number": "FLOAT_TYPE_BIG_FLOAT"}


@dataclass(frozen=True)
class Rule:
    """One rule of a column.

    Parameters
    ----------
    kind, severity : str
    column : str
    reason : str
        What quarantined rows are told; the same for all of them.
    broken : Expr
        True where a row breaks the rule, over typed columns and raw ones (prefix `RAW`); null is false.
    limit
        What is allowed, where that is a value.
    """

    kind: str
    severity: Severity
    column: str
    reason: str
    broken: pl.Expr
    limit: Any = None


@dataclass(frozen=True)
class Roles:
    """What is asked of a table's columns beyond their contract, because of what they are for.

    Parameters
    ----------
    required : frozenset of str
        A row without a right value is set aside at least: the target, the time.
    past : frozenset of str
        Dates that lie behind us, with a day's grace for the time zones: facts have happened.
    """

    required: frozenset[str] = frozenset()
    past: frozenset[str] = frozenset()


def column_rules(
    name: str, column: Column, now: datetime, path: tuple[str | int, ...], roles: Roles | None = None
) -> Iterator[Rule]:
    """Yield the rules of a column.

    Raises
    ------
    ProblemError
        If a bound or an allowed value is not of the column's type.
    """
    import polars as pl

    value, roles = pl.col(name), roles or Roles()

    def rule(kind: str, what: str, broken: pl.Expr, limit: Any = None) -> Rule:
        return Rule(kind, column.severity, name, f"{name}: {what}", broken, limit)

    for found in _presence(name, column, name in roles.required, rule):
        lenient = name in roles.required and found.severity == "warn"
        yield replace(found, severity="quarantine") if lenient else found
    yield from _bounds(name, column, now, path, rule)
    if name in roles.past and column.max is None:
        late = now.replace(tzinfo=None) + timedelta(days=1)
        latest = late.date() if column.type == "date" else late
        yield rule("DATE_TYPE_LATE", "in the future", value > latest, latest.isoformat())
    if column.allowed is not None:
        allowed = [_scalar(item, column, now, (*path, "allowed")) for item in column.allowed]
        broken = value.is_not_null() & ~value.is_in(pl.Series(allowed, strict=False))
        yield rule("ENUM_TYPE_UNEXPECTED_STRING_VALUES", "not an allowed value", broken, list(column.allowed))


def _presence(name: str, column: Column, required: bool, rule: Callable[..., Rule]) -> Iterator[Rule]:
    """Yield the rules about whether there is a value of the column's type."""
    import polars as pl

    value, raw = pl.col(name), pl.col(RAW + name)
    if required or not column.nulls:
        yield rule("FEATURE_TYPE_LOW_FRACTION_PRESENT", "no value", raw.is_null())
    if column.type in _NOT_OF_TYPE:
        what = f"not {EXPECTED[column.type]}" + (f" like {column.format}" if column.format else "")
        yield rule(_NOT_OF_TYPE[column.type], what, value.is_null() & raw.is_not_null())
    if column.type == "number":
        yield rule("FLOAT_TYPE_HAS_NAN", "NaN", value.is_nan())
        yield rule("FLOAT_TYPE_HAS_INF", "infinite", value.is_infinite())


def _bounds(
    name: str, column: Column, now: datetime, path: tuple[str | int, ...], rule: Callable[..., Rule]
) -> Iterator[Rule]:
    import polars as pl

    value = pl.col(name)
    finite = value.is_finite() if column.type == "number" else pl.lit(True)
    if column.min is not None:
        low = _scalar(column.min, column, now, (*path, "min"))
        kind = _TOO_SMALL.get(column.type, "DATE_TYPE_EARLY")
        yield rule(kind, f"below {column.min}", finite & (value < low), _plain(low))
    if column.max is not None:
        high = _scalar(column.max, column, now, (*path, "max"), last=True)
        kind = _TOO_BIG.get(column.type, "DATE_TYPE_LATE")
        yield rule(kind, f"above {column.max}", finite & (value > high), _plain(high))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _scalar(
    value: Any, column: Column, now: datetime, path: tuple[str | int, ...], last: bool = False
) -> Any:
    """Return a bound or an allowed value in the type of its column; `last` means the end of a day."""
    if column.type in ("date", "timestamp"):
        return _moment(value, column, now, path, last)
    if column.type in ("text", "category"):
        if path[-1] != "allowed":
            raise ProblemError(
                f"`{path[-1]}` belongs to numbers and dates; found it with {column.type}", path
            )
        return str(value)
    right = isinstance(value, bool) if column.type == "boolean" else isinstance(value, int | float)
    if not right or (column.type != "boolean" and isinstance(value, bool)):
        raise ProblemError(f"expected {EXPECTED[column.type]}; found {value!r}", path)
    return value


def _moment(value: Any, column: Column, now: datetime, path: tuple[str | int, ...], last: bool) -> Any:
    try:
        if value == "today":
            found = datetime.combine(now.date(), time())
        else:
            found = datetime.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError as error:
        raise ProblemError(
            f"expected a date such as 2017-08-15, or `today`; found {value!r}", path
        ) from error
    if column.type == "date":
        return found.date()
    whole_day = value == "today" or len(str(value)) == len("2017-08-15")
    return found + timedelta(days=1, microseconds=-1) if last and whole_day else found
