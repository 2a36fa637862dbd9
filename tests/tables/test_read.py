"""Files of every kind are read; what is no such file is refused in one line, wrong rows go to quarantine."""

import gzip
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from cd4ml.errors import SourceError
from cd4ml.tables.read import read_batches
from cd4ml.tables.snapshot import validate
from cd4ml.tables.sources import Source, locate
from tests.tables.sources_made import NOW, body, checked, cut, no_answer, problem, serving, table

GOOD = b"day,shop,units\n2026-01-01,a,1\n2026-01-02,b,2\n"
ROWS = [("2026-01-01", "a", "1"), ("2026-01-02", "b", "2")]


def read(folder, **changes):
    """Return all batches of the table `sales`."""
    one = problem(**changes)
    sources = locate(one, str(folder), Path(folder) / "scratch")["sales"]
    return list(read_batches(one.tables["sales"], sources, str(folder)))


def rows(batches):
    return [row for batch in batches for row in batch.frame.rows()]


def as_parquet(path, **columns):
    frame = pl.DataFrame(columns or {"day": [date(2026, 1, 1)], "shop": ["a"], "units": [1]})
    frame.write_parquet(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "data"), [("sales.csv", GOOD), ("sales.csv.gz", gzip.compress(GOOD))], ids=["csv", "gz"]
)
def test_text_is_read_as_text(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    batches = read(tmp_path)
    assert rows(batches) == ROWS and {batch.source for batch in batches} == {name}
    assert sum(batch.rows for batch in batches) == 2


def test_parquet_is_read_as_it_is_typed(tmp_path):
    as_parquet(tmp_path / "sales.parquet")
    assert rows(read(tmp_path)) == [(date(2026, 1, 1), "a", 1)]


def test_a_file_without_rows_still_tells_its_columns(tmp_path):
    (tmp_path / "sales.csv").write_bytes(b"day,shop,units\n")
    as_parquet(tmp_path / "none.parquet", day=[], shop=[], units=[])
    for changes in ({}, {"file": "none.parquet"}):
        batches = read(tmp_path, **changes)
        assert batches[0].frame.columns == ["day", "shop", "units"] and rows(batches) == []


def test_several_files_follow_each_other(tmp_path):
    (tmp_path / "a.csv").write_bytes(GOOD)
    (tmp_path / "b.csv").write_bytes(GOOD)
    assert rows(read(tmp_path, file=["b.csv", "a.csv"])) == ROWS + ROWS


def test_a_query_is_read(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE sales (day, shop, units)")
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", ROWS)
    query = {"file": [], "query": "SELECT * FROM sales ORDER BY day", "database": "sqlite:shop.db"}
    assert rows(read(tmp_path, **query)) == ROWS
    report, refused = checked(tmp_path, **query)
    assert report["rows_accepted"] == 2 and not refused


def damaged(tmp_path):
    """Return files by name that are not what their name says, each with words of the error."""
    parquet, packed = as_parquet(tmp_path / "whole.parquet"), gzip.compress(GOOD * 100)
    twice = "PAR1 is no table"
    return {
        "sales.csv": [
            (b"", "expected a header line with day, shop, units; found an empty file"),
            (b"\n", "found an empty file"),
            (b"\xef\xbb\xbf", "found an empty file"),
            (parquet, "found a Parquet file"),
            (packed, "found a gzip file"),
            ("day,shop,units\n1,ñ,2\n".encode("latin-1"), "expected UTF-8; found the byte 0xf1"),
            (b'day,shop,units\n1,"a,2\n', "one that is never closed"),
        ],
        "sales.csv.gz": [
            (b"", "found an empty file"),
            (gzip.compress(b""), "found an empty file"),
            (packed[: len(packed) // 2], "found that it ends too early"),
            (packed[:5], "expected a"),
            (GOOD, "found damaged bytes"),
        ],
        "sales.parquet": [
            (b"", "expected a whole Parquet file; found damage"),
            (parquet[: len(parquet) // 2], "expected a whole Parquet file; found damage"),
            (parquet[:-1], "expected a whole Parquet file; found damage"),
            (parquet[:40] + bytes(40) + parquet[80:], "expected a whole Parquet file; found damage"),
            (GOOD, "expected a whole Parquet file; found damage"),
            (twice.encode(), "expected a whole Parquet file; found damage"),
        ],
    }


@pytest.mark.parametrize("name", ["sales.csv", "sales.csv.gz", "sales.parquet"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name):
    for data, words in damaged(tmp_path)[name]:
        (tmp_path / name).write_bytes(data)
        for ask in (read, checked):
            with pytest.raises(SourceError, match=words) as caught:
                ask(tmp_path)
            assert caught.value.exit_code == 4
            assert str(caught.value).startswith(f"{name}: ") and "\n" not in str(caught.value)


def test_columns_of_one_name_in_parquet_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table([[1], [2]], names=["day", "day"]), tmp_path / "sales.parquet")
    with pytest.raises(
        SourceError, match=r"sales.parquet: expected a whole Parquet file; found damage \(.*day"
    ):
        read(tmp_path)


def test_a_source_that_vanishes_is_told(tmp_path):
    with pytest.raises(SourceError, match="expected a readable file; found: No such file"):
        list(read_batches(table(), [Source("sales.csv", tmp_path / "sales.csv")], str(tmp_path)))
    with pytest.raises(SourceError, match="No such file"):
        list(read_batches(table(), [Source("sales.parquet", tmp_path / "sales.parquet")], str(tmp_path)))


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n"),
        GOOD.strip(),
        GOOD.replace(b"\n", b"\n\n"),
        b'"day","shop","units"\r\n"2026-01-01","a","1"\r\n"2026-01-02","b","2"\r\n',
    ],
    ids=["mark", "crlf", "mark and crlf", "no last line end", "blank lines", "quoted"],
)
def test_harmless_differences_of_a_text_make_no_other_rows(tmp_path, data):
    (tmp_path / "sales.csv").write_bytes(data)
    assert rows(read(tmp_path)) == ROWS
    report, refused = checked(tmp_path)
    assert not refused and report["rows_accepted"] == 2 and report["rows_quarantined"] == 0


def test_a_quoted_nothing_is_no_value(tmp_path):
    (tmp_path / "sales.csv").write_bytes(GOOD + b'"2026-01-03","",""\n')
    report, _ = checked(tmp_path)
    assert report["reasons"] == {"units: no value": 1}


def test_a_missing_column_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "sales.csv").write_bytes(GOOD.replace(b"units", b"unit"))
    _, refused = checked(tmp_path)
    assert len(refused) == 1 and "expected the column 'units' in sales.csv" in refused[0]
    assert "did you mean 'unit'" in refused[0]
    (tmp_path / "sales.csv").write_bytes(GOOD.replace(b",", b";"))
    _, refused = checked(tmp_path)
    assert any("delimiter may be ';'" in line for line in refused)


def test_a_header_alone_is_refused(tmp_path):
    (tmp_path / "sales.csv").write_bytes(b"day,shop,units\n")
    _, refused = checked(tmp_path)
    assert len(refused) == 1 and "expected at least 1 rows; found 0" in refused[0]


def test_wrong_cells_are_quarantined_with_their_reasons(tmp_path):
    wrong = b"2026-02-30,a,1\n2026-01-03,a,many\n2026-01-04,a,\n2026-01-05,a,1.5\nyesterday,a,x\n"
    (tmp_path / "sales.csv").write_bytes(GOOD + wrong)
    report, refused = checked(tmp_path)
    assert not refused and report["rows_accepted"] == 2 and report["rows_quarantined"] == 5
    assert report["reasons"] == {"day: not a date": 2, "units: not a whole number": 3, "units: no value": 1}


def test_ragged_rows_are_quarantined_with_their_reasons(tmp_path):
    (tmp_path / "sales.csv").write_bytes(GOOD + b"2026-01-03,a\n2026-01-04,a,1,2\n2026-01-05,c,3\n")
    report, refused = checked(tmp_path)
    assert not refused and report["rows_in"] == 5 and report["rows_accepted"] == 3
    assert report["reasons"] == {
        "ragged: found 2 fields, expected 3": 1,
        "ragged: found 4 fields, expected 3": 1,
    }


def test_wrong_types_in_parquet_are_quarantined(tmp_path):
    as_parquet(tmp_path / "sales.parquet", day=[date(2026, 1, 1)] * 2, shop=["a", "b"], units=[1.0, 1.5])
    report, _ = checked(tmp_path)
    assert report["rows_accepted"] == 1 and report["reasons"] == {"units: not a whole number": 1}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (no_answer, "the connection was cut"),
        (cut(GOOD, 500), "expected 500 bytes"),
        (body(b""), "an empty file"),
    ],
)
def test_a_server_that_fails_is_refused(answer, words):
    with serving(sales_csv=answer) as server, pytest.raises(SourceError, match=words):
        validate(problem(), server.url, now=NOW)


def test_a_table_is_read_from_a_server():
    with serving(sales_csv_gz=body(gzip.compress(GOOD))) as server:
        found = validate(problem(), server.url, now=NOW)
    assert found["tables"]["sales"]["rows_accepted"] == 2 and not found["refused"]
