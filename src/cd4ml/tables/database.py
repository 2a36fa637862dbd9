"""Rows of a database as frames: text from SQLite, typed from Postgres."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.errors import ProblemError, ServiceError, SourceError

if TYPE_CHECKING:
    import polars as pl

    from cd4ml.problem import Table

__all__ = ["query_digest", "query_frames"]

_ROWS = 200_000
_SQLITE_SIGN = b"SQLite format 3\x00"


def query_frames(table: Table, data: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table's query; the first frame is empty and tells the columns.

    SQLite is read by Python's own library, Postgres by DuckDB's extension, which DuckDB fetches once; the
    variable CD4ML_DUCKDB_REPOSITORY names a mirror of its extensions. A path in `sqlite:FILE` is taken from
    the data folder when the file is there. Without ORDER BY a database may change the order of its rows, and
    with it the snapshot's id.

    Raises
    ------
    SourceError
        If there is no such database, the query fails, or DuckDB's extension cannot be had.
    ServiceError
        If the Postgres server cannot be reached.
    """
    kind, _, where = (table.database or "").partition(":")
    if kind == "sqlite":
        return _sqlite(where, table.query or "", data)
    if kind == "postgres":
        return _postgres(where, table.query or "")
    raise ProblemError(f"expected database `sqlite:FILE` or `postgres:CONNECTION`; found '{kind}:'")


def query_digest(table: Table, data: str) -> str:
    """Return a hash over the columns and rows of a table's query, in their order."""
    from cd4ml.tables.content import ContentDigest

    digest = ContentDigest()
    for frame in query_frames(table, data):
        digest.update(frame)
    return digest.hexdigest()


def _sqlite(file: str, query: str, data: str) -> Iterator[pl.DataFrame]:
    path = Path(data) / file if (Path(data) / file).is_file() else Path(file)
    if not path.is_file():
        raise SourceError(f"expected a SQLite database at {file}; found nothing there or in {data}")
    with path.open("rb") as raw:
        if raw.read(len(_SQLITE_SIGN)) != _SQLITE_SIGN:
            raise SourceError(
                f"{file}: expected a SQLite database; found another kind of file. Mend `database`"
            )
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as connection:
            cursor = connection.execute(query)
            names = _unique([item[0] for item in cursor.description or ()])
            yield _text_frame(names, [])
            while rows := cursor.fetchmany(_ROWS):
                yield _text_frame(names, rows)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise SourceError(
            f"{file}: expected a query that gives rows; found: {error}. Mend `query`"
        ) from error


def _unique(names: list[str]) -> list[str]:
    """Return the names of a query's columns when each is there once, and there are any."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(
            f"expected each column of the query once; found '{twice[0]}' {names.count(twice[0])} times."
            " Name them by AS"
        )
    if not names:
        raise SourceError(
            "expected a query that gives rows; found a statement without any. Begin it with SELECT"
        )
    return names


def _text_frame(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    import polars as pl

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pl.DataFrame(
        {
            name: pl.Series(name, [_text(name, value) for value in values], dtype=pl.String)
            for name, values in zip(names, columns, strict=True)
        }
    )


def _text(name: str, value: Any) -> str | None:
    if isinstance(value, bytes):
        raise SourceError(
            f"expected texts and numbers in the query's column '{name}'; found bytes. CAST it to TEXT"
        )
    return None if value is None else str(value)


def _postgres(connection: str, query: str) -> Iterator[pl.DataFrame]:
    import duckdb

    if "password" in connection or "://" in connection:
        raise ProblemError(
            "expected `postgres:host=... dbname=... user=...` without a password; put it into PGPASSWORD"
        )
    with closing(duckdb.connect()) as duck:
        _load_extension(duck)
        try:
            attached = connection.replace("'", "''")
            duck.execute(f"ATTACH '{attached}' AS source (TYPE postgres, READ_ONLY)")
        except duckdb.Error as error:
            raise ServiceError(
                f"the Postgres database cannot be reached ({_first_line(error)}); check `database` and"
                " PGPASSWORD"
            ) from error
        try:
            rows = duck.sql("SELECT * FROM postgres_query('source', ?)", params=[query])
            yield from _arrow_frames(rows.to_arrow_reader(_ROWS))
        except duckdb.Error as error:
            raise SourceError(
                f"expected a query that gives rows; found: {_first_line(error)}. Mend `query`"
            ) from error


def _load_extension(duck: Any) -> None:
    """Load what DuckDB reads Postgres with; it is fetched when this machine has not got it yet."""
    import duckdb

    mirror = os.environ.get("CD4ML_DUCKDB_REPOSITORY")
    try:
        if mirror:
            duck.execute("SET custom_extension_repository = $mirror", {"mirror": mirror})
        duck.execute("INSTALL postgres")
        duck.execute("LOAD postgres")
    except duckdb.Error as error:
        raise SourceError(
            f"expected DuckDB's postgres extension {duckdb.__version__}; it is not here and cannot be fetched"
            f" ({_first_line(error)}). Set CD4ML_DUCKDB_REPOSITORY to a mirror, or export the query to a file"
        ) from error


def _arrow_frames(reader: Any) -> Iterator[pl.DataFrame]:
    """Yield typed frames; exact decimals become numbers, other types that have no plain value texts."""
    import polars as pl

    _unique(list(reader.schema.names))
    yield _plain(pl.DataFrame(pl.from_arrow(reader.schema.empty_table())))
    for batch in reader:
        yield _plain(pl.DataFrame(pl.from_arrow(batch)))


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    for name, dtype in frame.schema.items():
        if dtype.is_nested() or isinstance(dtype, pl.Binary | pl.Object):
            raise SourceError(
                f"expected plain values in the query's column '{name}'; found {dtype}. CAST it to TEXT"
            )
    return frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64), pl.col(pl.Categorical).cast(pl.String))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
