"""Sources are found under each of their names, in folders and at addresses; content tells them apart."""

import gzip
import os
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from cd4ml.errors import SourceError
from cd4ml.tables.sources import assert_unchanged, fingerprint, locate
from tests.adapters.s3_server import environment, mock_credentials, moto_endpoint, new_bucket
from tests.tables.sources_made import COLUMNS, body, for_get_alone, problem, serving, status

ROWS = b"day,shop,units\n2026-01-01,a,1\n"


def located(data, scratch="unused", **changes):
    return locate(problem(**changes), str(data), Path(scratch))["sales"]


@pytest.mark.parametrize("name", ["sales.csv", "sales.csv.gz", "sales.parquet"])
def test_a_table_is_found_under_each_of_its_names(tmp_path, name):
    (tmp_path / name).write_bytes(ROWS)
    (found,) = located(tmp_path)
    assert found.name == name and found.path == tmp_path / name


def test_the_declared_name_comes_first(tmp_path):
    for name in ("sales.parquet", "sales.csv.gz", "sales.csv"):
        (tmp_path / name).write_bytes(ROWS)
    assert located(tmp_path)[0].name == "sales.csv"


def test_several_files_are_one_table_in_their_order(tmp_path):
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_bytes(ROWS)
    assert [source.name for source in located(tmp_path, file=["b.csv", "a.csv"])] == ["b.csv", "a.csv"]


def test_a_query_is_a_source_without_a_file(tmp_path):
    (found,) = located(tmp_path, file=[], query="SELECT 1", database="sqlite:shop.db")
    assert found.name == "query" and found.path is None


def test_the_fingerprint_of_a_query_is_that_of_its_rows(tmp_path):
    marks = set()
    for units in (1, 1, 2):
        query = {"file": [], "query": f"SELECT {units} AS units", "database": "sqlite:shop.db"}
        with sqlite3.connect(tmp_path / "shop.db") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS some (thing)")
        marks.add(fingerprint(problem(**query), str(tmp_path)))
    assert len(marks) == 2


def test_an_optional_table_may_be_absent(tmp_path):
    assert located(tmp_path, optional=True) == []
    assert fingerprint(problem(optional=True), str(tmp_path))


@pytest.mark.parametrize("ask", [located, lambda data: fingerprint(problem(), str(data))])
def test_a_missing_file_is_told_with_what_is_there(tmp_path, ask):
    (tmp_path / "salse.csv").write_bytes(ROWS)
    with pytest.raises(SourceError, match=r"'sales': expected sales.csv, .* found salse.csv; did you mean"):
        ask(tmp_path)
    with pytest.raises(SourceError, match=r"expected a data folder at .*; found nothing. Check --data"):
        ask(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"expected a data folder at .*; found a file"):
        ask(tmp_path / "salse.csv")


def test_an_empty_folder_and_a_crowded_one_are_told_in_a_short_line(tmp_path):
    with pytest.raises(SourceError, match="found an empty folder"):
        located(tmp_path)
    for number in range(30):
        (tmp_path / f"{number:02}.txt").touch()
    with pytest.raises(SourceError, match=r"found 00.txt, .*, 11.txt and 18 more"):
        located(tmp_path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "sales.csv").mkdir()
    with pytest.raises(SourceError, match=r"expected the file 'sales.csv' in .*; found a folder"):
        located(tmp_path)
    with pytest.raises(SourceError, match="found a folder"):
        fingerprint(problem(), str(tmp_path))


def test_a_file_that_changes_while_it_is_read_is_seen(tmp_path):
    (tmp_path / "sales.csv").write_bytes(ROWS)
    found = located(tmp_path)
    assert_unchanged(found)
    os.utime(tmp_path / "sales.csv", ns=(1, 1))
    with pytest.raises(SourceError, match="expected a file that rests"):
        assert_unchanged(found)
    (tmp_path / "sales.csv").unlink()
    with pytest.raises(SourceError, match="expected a file that rests"):
        assert_unchanged(found)


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read: /proc/self/mem"
)
def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "sales.csv").symlink_to("/proc/self/mem")
    with pytest.raises(SourceError, match="expected a readable file; found: Input/output error"):
        fingerprint(problem(), str(tmp_path))


def test_the_fingerprint_knows_each_byte_each_file_and_the_kind(tmp_path):
    marks = set()
    for name, data in (
        ("sales.csv", ROWS),
        ("sales.csv", ROWS.replace(b"1\n", b"2\n")),
        ("sales.csv", ROWS[:-1]),
        ("sales.csv", b""),
        ("sales.csv.gz", gzip.compress(ROWS, mtime=0)),
        ("sales.parquet", ROWS),
    ):
        for path in tmp_path.iterdir():
            path.unlink()
        (tmp_path / name).write_bytes(data)
        marks.add(fingerprint(problem(), str(tmp_path)))
        assert fingerprint(problem(), str(tmp_path)) in marks
    assert len(marks) == 6


def test_the_fingerprint_does_not_hang_on_times_or_the_folder(tmp_path):
    marks = set()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sales.csv").write_bytes(ROWS)
        os.utime(tmp_path / folder / "sales.csv", ns=(len(marks), 1))
        marks.add(fingerprint(problem(), str(tmp_path / folder)))
    assert len(marks) == 1


def test_a_file_of_several_blocks_counts_to_its_last_byte(tmp_path):
    with (tmp_path / "sales.csv").open("wb") as file:
        file.truncate((1 << 26) + 5)
    before = fingerprint(problem(), str(tmp_path))
    with (tmp_path / "sales.csv").open("r+b") as file:
        file.seek((1 << 26) + 4)
        file.write(b"x")
    assert fingerprint(problem(), str(tmp_path)) != before


def test_sources_are_fetched_from_an_address_under_each_of_their_names(tmp_path):
    packed = gzip.compress(ROWS)
    with serving(sales_csv_gz=body(packed)) as server:
        (found,) = located(server.url, tmp_path)
    assert found.name == f"{server.url}/sales.csv.gz" and found.path.read_bytes() == packed
    assert server.requests == ["GET /sales.csv", "GET /sales.csv.gz"]


def test_a_name_with_a_blank_and_a_signed_folder_are_fetched(tmp_path):
    with serving() as server:
        server.answers["/data/my%20sales.csv"] = body(ROWS)
        (found,) = located(f"{server.url}/data/?key=geheim", tmp_path, file="my sales.csv")
        assert server.requests == ["GET /data/my%20sales.csv?key=geheim"]
    assert found.name == f"{server.url}/data/my%20sales.csv"


def test_a_whole_address_in_the_problem_is_fetched_whatever_the_folder_is(tmp_path):
    with serving(sales_csv=body(ROWS)) as server:
        (found,) = located(tmp_path, tmp_path / "scratch", file=f"{server.url}/sales.csv?key=geheim")
        assert found.path.read_bytes() == ROWS and "geheim" not in found.name
        (found,) = located(tmp_path, tmp_path / "scratch", file=f"{server.url}/sales.csv")
        assert found.path.read_bytes() == ROWS


@pytest.mark.parametrize("ask", [located, lambda data, scratch: fingerprint(problem(), str(data))])
def test_an_absent_address_is_told_with_what_was_tried(tmp_path, ask):
    with serving() as server:
        with pytest.raises(SourceError, match=r"found nothing there. Check the address") as caught:
            ask(server.url, tmp_path)
        for name in ("sales.csv", "sales.csv.gz", "sales.parquet"):
            assert f"{server.url}/{name}" in str(caught.value)


def test_the_fingerprint_of_an_address_is_its_etag_without_a_download():
    with serving(sales_csv=body(ROWS, ETag='"1"')) as server:
        before = fingerprint(problem(), server.url)
        assert fingerprint(problem(), server.url) == before
        assert set(server.requests) == {"HEAD /sales.csv"}
        server.answers["/sales.csv"] = body(ROWS, ETag='"2"')
        assert fingerprint(problem(), server.url) != before


def test_the_fingerprint_of_an_address_without_etag_is_its_bytes():
    with serving(sales_csv=for_get_alone(body(ROWS)), sales_parquet=body(ROWS, ETag='"1"')) as server:
        before = fingerprint(problem(), server.url)
        assert fingerprint(problem(), server.url) == before
        server.answers["/sales.csv"] = body(ROWS + b"2026-01-02,a,1\n")
        assert fingerprint(problem(), server.url) != before


def test_a_refusing_server_is_no_absent_table(tmp_path):
    with serving(sales_csv=status(403)) as server:
        for ask in (
            lambda: located(server.url, tmp_path, optional=True),
            lambda: fingerprint(problem(), server.url),
        ):
            with pytest.raises(SourceError, match="403 Forbidden"):
                ask()


def test_sources_lie_in_a_bucket(tmp_path):
    with moto_endpoint() as endpoint, environment(**mock_credentials(), CD4ML_S3_ENDPOINT=endpoint):
        bucket = new_bucket(endpoint)
        data = f"s3://{bucket.bucket}/some/prefix/shop/"
        with pytest.raises(SourceError, match=f"expected {data}sales.csv, .*found nothing there"):
            fingerprint(problem(), data)
        pl.DataFrame({name: ["1"] for name in COLUMNS}).write_parquet(tmp_path / "sales.parquet")
        bucket.put("shop/sales.parquet", (tmp_path / "sales.parquet").read_bytes())
        before = fingerprint(problem(), data)
        (found,) = located(data, tmp_path / "scratch")
        assert found.name == f"{data}sales.parquet"
        assert found.path.read_bytes() == (tmp_path / "sales.parquet").read_bytes()
        bucket.put("shop/sales.csv", ROWS)
        assert fingerprint(problem(), data) != before
