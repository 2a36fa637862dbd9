"""Values of a source as the types that its contract declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Column, Csv

__all__ = ["EXPECTED", "polars_types", "prepared", "typed"]

EXPECTED = {
    "integer": "a whole number",
    "number": "a number",
    "text": "a text",
    "category": "a text",
    "boolean": "true or false",
    "date": "a date",
    "timestamp": "a date and time",
}
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_OFFSET = r"(?:[Zz]|[+-]\d{2}:?\d{2})$"


def polars_types() -> dict[str, Any]:
    """Return the Polars type of each type of the contract, as snapshots keep them."""
    import polars as pl

    return {
        "integer": pl.Int64,
        "number": pl.Float64,
        "text": pl.String,
        "category": pl.String,
        "boolean": pl.Boolean,
        "date": pl.Date,
        "timestamp": pl.Datetime("us"),
    }


def prepared(name: str, column: Column, form: Csv, dtype: pl.DataType) -> pl.Expr:
    """Return a column with blanks stripped, replacements made and missing values null.

    Texts of a file become null where `csv.missing` lists them; values that are typed already stay.
    """
    import polars as pl

    value = pl.col(name)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        value, dtype = value.cast(pl.String), pl.String()
    if not isinstance(dtype, pl.String):
        return value
    if form.strip:
        value = value.str.strip_chars()
    if "" not in form.missing:
        value = value.fill_null("")
    if form.missing:
        one = len(form.missing) == 1
        absent = value == form.missing[0] if one else value.is_in(form.missing)
        value = pl.when(absent).then(None).otherwise(value)
    return (value.replace(column.replace) if column.replace else value).alias(name)


def typed(name: str, column: Column, dtype: pl.DataType) -> pl.Expr:
    """Return a prepared column in the type of its contract; null where a value is no such thing."""
    import polars as pl

    value = pl.col(name)
    if column.type in ("text", "category"):
        found = value.cast(pl.String)
    elif isinstance(dtype, pl.String):
        found = _from_text(value, column)
    else:
        found = _from_typed(value, column, dtype)
    return found.alias(name)


def _from_text(value: pl.Expr, column: Column) -> pl.Expr:
    import polars as pl

    if column.type == "integer":
        return value.cast(pl.Int64, strict=False)
    if column.type == "number":
        return value.cast(pl.Float64, strict=False)
    if column.type == "boolean":
        lower = value.str.to_lowercase()
        return pl.when(lower.is_in(_TRUE)).then(True).when(lower.is_in(_FALSE)).then(False).otherwise(None)
    if column.type == "date":
        return value.str.to_date(column.format or "%Y-%m-%d", strict=False)
    return _timestamp(value, column.format)


def _timestamp(value: pl.Expr, form: str | None) -> pl.Expr:
    """Parse timestamps; those with an offset become UTC, and none keeps a zone."""
    import polars as pl

    def parse(text: pl.Expr, pattern: str) -> pl.Expr:
        return text.str.to_datetime(pattern, strict=False, time_unit="us")

    if form is not None:
        found = parse(value, form)
        return found.dt.replace_time_zone(None) if "%z" in form or "%:z" in form or "%#z" in form else found
    text = value.str.replace("T", " ", literal=True)
    offset = text.str.contains(_OFFSET)
    zoned = pl.when(offset).then(text.str.replace(r"[Zz]$", "+0000")).otherwise(None)
    return pl.coalesce(
        parse(text, "%Y-%m-%d %H:%M:%S%.f"),
        parse(text, "%Y-%m-%d %H:%M"),
        value.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")),
        parse(zoned, "%Y-%m-%d %H:%M:%S%.f%#z").dt.replace_time_zone(None),
    )


def _number(value: pl.Expr, column: Column, dtype: pl.DataType) -> pl.Expr:
    import polars as pl

    number = value.cast(polars_types()[column.type], strict=False)
    whole = column.type == "number" or not (dtype.is_float() or dtype.is_decimal())
    return number if whole else pl.when(number.cast(pl.Float64) == value.cast(pl.Float64)).then(number)


def _true_or_false(value: pl.Expr) -> pl.Expr:
    import polars as pl

    number = value.cast(pl.Float64, strict=False)
    return pl.when(number == 1).then(True).when(number == 0).then(False).otherwise(None)


def _from_typed(value: pl.Expr, column: Column, dtype: pl.DataType) -> pl.Expr:
    """Convert a typed value where nothing is lost; null otherwise."""
    import polars as pl

    target = polars_types()[column.type]
    if column.type in ("integer", "number"):
        return pl.lit(None, dtype=target) if dtype.is_temporal() else _number(value, column, dtype)
    if column.type == "boolean":
        return pl.lit(None, dtype=target) if dtype.is_temporal() else _true_or_false(value)
    if not dtype.is_temporal() or isinstance(dtype, pl.Time | pl.Duration):
        return pl.lit(None, dtype=target)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        value = value.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    moment = value.cast(pl.Datetime("us"))
    if column.type == "timestamp":
        return moment
    return pl.when(moment.dt.truncate("1d") == moment).then(moment.cast(pl.Date))
