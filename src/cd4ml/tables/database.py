"""Rows of a database as text frames."""

from __future__ import annotations

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


def query_frames(table: Table, data: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table's query; the first frame may be empty and tells the columns.

    Sqlite is read by Python's own library, Postgres by DuckDB's extension. A path in `sqlite:FILE` is taken from
    the data folder when the file is there. Without ORDER BY a database may change the order of its rows, and
    with it the snapshot's id.

    Raises
    ------
    SourceError
        If the query fails.
    ServiceError
        If the database or DuckDB's extension cannot be had.
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
        raise SourceError(f"expected a sqlite database at {file}; found nothing there or in {data}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)) as connection:
            cursor = connection.execute(query)
            names = [item[0] for item in cursor.description or ()]
            yield _text_frame(names, [])
            while rows := cursor.fetchmany(_ROWS):
                yield _text_frame(names, rows)
    except sqlite3.Error as error:
        raise SourceError(
            f"{file}: expected a query that gives rows; found: {error}. Mend `query`"
        ) from error


def _text_frame(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    import polars as pl

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pl.DataFrame(
        {
            name: pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)
            for name, values in zip(names, columns, strict=True)
        }
    )


def _postgres(connection: str, query: str) -> Iterator[pl.DataFrame]:
    import duckdb

    if "password" in connection or "://" in connection:
        raise ProblemError(
            "expected `postgres:host=... dbname=... user=...` without a password; put it into PGPASSWORD"
        )
    with closing(duckdb.connect()) as duck:
        try:
            duck.execute("INSTALL postgres; LOAD postgres")
        except duckdb.Error as error:
            raise ServiceError(
                f"DuckDB's postgres extension cannot be installed ({_first_line(error)}); it needs the network once,"
                " or export the query to a file"
            ) from error
        try:
            attached = connection.replace("'", "''")
            duck.execute(f"ATTACH '{attached}' AS source (TYPE postgres, READ_ONLY)")
        except duckdb.Error as error:
            raise ServiceError(f"the Postgres database cannot be reached ({_first_line(error)})") from error
        try:
            reader = duck.execute("SELECT * FROM postgres_query('source', ?)", [query]).to_arrow_reader(_ROWS)
            yield from _arrow_frames(reader)
        except duckdb.Error as error:
            raise SourceError(
                f"expected a query that gives rows; found: {_first_line(error)}. Mend `query`"
            ) from error


def _arrow_frames(reader: Any) -> Iterator[pl.DataFrame]:
    import polars as pl

    yield pl.DataFrame(pl.from_arrow(reader.schema.empty_table()))
    for batch in reader:
        yield pl.DataFrame(pl.from_arrow(batch))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
