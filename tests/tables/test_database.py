"""Rows of SQLite arrive as text, those of Postgres typed; a query without rows is refused in one line."""

import os
import sqlite3
import subprocess
import sys

import duckdb
import polars as pl
import pytest

from cd4ml.errors import ProblemError, SourceError
from cd4ml.tables.database import _arrow_frames, query_digest, query_frames
from tests.tables.sources_made import COLUMNS, serving, table

ROWS = [("2026-01-01", "a", 1), ("2026-01-02", None, 2), ("2026-01-03", "é", 3)]


def asking(query="SELECT * FROM sales ORDER BY day", database="sqlite:shop.db"):
    return table(file=[], query=query, database=database)


@pytest.fixture
def data(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (day TEXT, shop TEXT, units INTEGER)")
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", ROWS)
    return tmp_path


def read(made, data):
    return pl.concat(query_frames(made, str(data)))


def test_rows_of_sqlite_arrive_as_text_in_their_order(data):
    frame = read(asking(), data)
    assert frame.schema == dict.fromkeys(COLUMNS, pl.String)
    assert frame.rows() == [tuple(None if v is None else str(v) for v in row) for row in ROWS]


def test_the_first_frame_tells_the_columns_of_a_query_without_rows(data):
    frames = list(query_frames(asking("SELECT day, units AS n FROM sales WHERE units > 9"), str(data)))
    assert [frame.columns for frame in frames] == [["day", "n"]] and frames[0].height == 0


def test_numbers_keep_all_of_their_digits(data):
    frame = read(asking("SELECT 9007199254740993 AS a, 0.1 AS b, -1.5e300 AS c"), data)
    assert int(frame["a"][0]) == 9007199254740993
    assert (float(frame["b"][0]), float(frame["c"][0])) == (0.1, -1.5e300)


def test_a_path_is_taken_from_the_data_folder_or_as_it_is(data, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert read(asking(database=f"sqlite:{data / 'shop.db'}"), elsewhere).height == 3
    with pytest.raises(
        SourceError, match=r"expected a SQLite database at shop.db; found nothing there or in"
    ):
        read(asking(), elsewhere)


def test_more_rows_than_one_frame_holds_arrive(data):
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450000) SELECT i FROM n"
    frames = list(query_frames(asking(many), str(data)))
    assert [frame.height for frame in frames] == [0, 200_000, 200_000, 50_000]
    assert pl.concat(frames)["i"].cast(pl.Int64).sum() == 450_000 * 450_001 // 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM sale", "no such table: sale"),
        ("SELEC 1", "syntax error"),
        ("DELETE FROM sales", "attempt to write a readonly database"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("BEGIN", "found a statement without any"),
        ("SELECT day, day FROM sales", r"found 'day' 2 times\. Name them by AS"),
        ("SELECT x'00ff' AS picture", r"column 'picture'; found bytes\. CAST it to TEXT"),
        ("SELECT CAST(x'ff' AS TEXT) AS broken", "Could not decode"),
    ],
)
def test_a_query_that_gives_no_plain_rows_is_refused(data, query, words):
    with pytest.raises(SourceError, match=words) as caught:
        read(asking(query), data)
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    assert read(asking(), data).height == 3


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "shop.db").write_text("day,shop,units\n")
    with pytest.raises(SourceError, match=r"shop.db: expected a SQLite database; found another kind of file"):
        read(asking(), tmp_path)


def test_a_damaged_database_is_refused(data):
    whole = (data / "shop.db").read_bytes()
    (data / "shop.db").write_bytes(whole[:100] + bytes(len(whole) - 100))
    with pytest.raises(SourceError, match=r"shop.db: expected a query that gives rows; found: "):
        read(asking(), data)


def test_the_digest_knows_each_row_and_their_order(data):
    before = query_digest(asking(), str(data))
    assert query_digest(asking(), str(data)) == before
    assert query_digest(asking("SELECT * FROM sales ORDER BY day DESC"), str(data)) != before
    with sqlite3.connect(data / "shop.db") as connection:
        connection.execute("UPDATE sales SET units = 4 WHERE units = 3")
    assert query_digest(asking(), str(data)) != before


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ("oracle:shop", "expected database `sqlite:FILE` or `postgres:CONNECTION`; found 'oracle:'"),
        ("postgres:host=h password=geheim", "without a password; put it into PGPASSWORD"),
        ("postgres:postgresql://me:geheim@h/shop", "without a password; put it into PGPASSWORD"),
    ],
)
def test_a_wrong_database_is_refused_without_its_secret(tmp_path, database, words):
    with pytest.raises(ProblemError, match=words) as caught:
        read(asking(database=database), tmp_path)
    assert "geheim" not in str(caught.value)


ASK = """
import sys
from cd4ml.errors import Cd4mlError
from cd4ml.problem import Table
from cd4ml.tables.database import query_frames

columns = {"a": {"type": "integer"}}
made = {"query": "SELECT 1", "database": "postgres:host=127.0.0.1 port=9", "columns": columns}
try:
    list(query_frames(Table.model_validate(made), "."))
except Cd4mlError as error:
    print(f"{type(error).__name__} {error.exit_code} {error}")
"""


def test_postgres_without_its_extension_is_refused_with_what_to_do(tmp_path):
    with serving() as mirror:
        # a home without extensions, and a mirror that has none
        where = {"HOME": str(tmp_path), "CD4ML_DUCKDB_REPOSITORY": mirror.url}
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=os.environ | where, capture_output=True, text=True, check=True
        )
        assert any("postgres" in request for request in mirror.requests)
    assert done.stdout.startswith("SourceError 4 expected DuckDB's postgres extension")
    assert "Set CD4ML_DUCKDB_REPOSITORY to a mirror, or export the query to a file" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def from_duckdb(query):
    with duckdb.connect() as duck:
        return pl.concat(_arrow_frames(duck.sql(query).to_arrow_reader(1000)))


def test_rows_that_duckdb_hands_over_are_plain_and_typed():
    frame = from_duckdb(
        "SELECT i::INTEGER AS a, (i / 4)::DECIMAL(10, 2) AS b, DATE '2026-01-01' AS c, 'x' AS d,"
        " i % 2 = 0 AS e FROM range(2500) AS t(i)"
    )
    assert frame.height == 2500 and frame["b"].dtype == pl.Float64 and frame["b"][2] == 0.5
    assert [str(dtype) for dtype in frame.dtypes] == ["Int32", "Float64", "Date", "String", "Boolean"]


@pytest.mark.parametrize("value", ["[1, 2]", "{'a': 1}", "'ab'::BLOB"])
def test_values_of_duckdb_that_are_not_plain_are_refused(value):
    with pytest.raises(SourceError, match=r"expected plain values in the query's column 'a'; found .*CAST"):
        from_duckdb(f"SELECT {value} AS a")
    with pytest.raises(SourceError, match="found 'a' 2 times"):
        from_duckdb("SELECT 1 AS a, 2 AS a")
