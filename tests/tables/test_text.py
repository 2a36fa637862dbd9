"""Delimited text is cut into rows as the csv module would, and what is no text is refused with its place."""

import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.errors import SourceError
from cd4ml.problem import Csv
from cd4ml.tables.text import delimiter_hint, open_text, read_blocks, read_header
from tests.tables.sources_made import table

HEADER = b"day,shop,units\n"


def read(data, *, block_bytes=1 << 25, record_bytes=1 << 28, **form):
    """Return the header, the regular rows and the ragged rows (position, fields) of a text."""
    file, made = io.BytesIO(data), table(csv=form)
    header = read_header(file, made, "sales.csv")
    limits = {"block_bytes": block_bytes, "record_bytes": record_bytes}
    rows, ragged, before = [], [], 0
    for frame, wrong, count in read_blocks(file, header, made.csv, "sales.csv", **limits):
        rows += frame.rows()
        ragged += [(before + position, fields) for position, fields in wrong]
        before += count
    assert before == len(rows) + len(ragged)
    return header, rows, ragged


ALPHABET = st.text(st.sampled_from('ab1 ,;"\n\r|é€#'), max_size=6)


def as_null(text):
    return text or None


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.lists(ALPHABET, min_size=3, max_size=3), max_size=12),
    ends=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    block_bytes=st.integers(1, 40),
)
def test_rows_are_those_of_the_csv_module_whatever_the_blocks(rows, ends, last, block_bytes):
    text = io.StringIO()
    csv.writer(text, lineterminator=ends, quoting=csv.QUOTE_ALL).writerows([["day", "shop", "units"], *rows])
    data = text.getvalue().encode()
    data = data if last else data.removesuffix(ends.encode())
    header, found, ragged = read(data, block_bytes=block_bytes)
    assert header == ["day", "shop", "units"] and ragged == []
    assert found == [tuple(as_null(value) for value in row) for row in rows]


@settings(deadline=None, max_examples=50)
@given(
    widths=st.lists(st.integers(2, 5), max_size=12),
    value=st.sampled_from(["x", "", '"a,b"']),
    block_bytes=st.integers(1, 40),
)
def test_rows_of_another_width_are_kept_apart_with_their_places(widths, value, block_bytes):
    lines = [",".join(["x", *[value] * (width - 2), "y"]) for width in widths]
    _, rows, ragged = read(HEADER + "\n".join(lines).encode(), block_bytes=block_bytes)
    assert len(rows) == widths.count(3)
    assert [(position, len(fields)) for position, fields in ragged] == [
        (position, width) for position, width in enumerate(widths) if width != 3
    ]


def test_ragged_rows_keep_their_fields():
    _, rows, ragged = read(HEADER + b'1,a,2\n1,"a,b",2,3\n1\n2,b,3\n')
    assert rows == [("1", "a", "2"), ("2", "b", "3")]
    assert ragged == [(1, ["1", "a,b", "2", "3"]), (2, ["1"])]


def test_ragged_rows_that_no_csv_module_reads_are_kept_as_they_are():
    _, rows, ragged = read(HEADER + b"1,a\rb,2,3\n1,b,2\n1," + b"x" * 200_000 + b"\n")
    assert rows == [("1", "b", "2")]
    assert ragged == [(0, ["1", "a\rb", "2", "3"]), (2, ["1", "x" * 200_000])]


def test_a_long_row_and_a_blank_line_do_not_cancel_out():
    _, rows, ragged = read(HEADER + b"1,a,2\n\n1,a,2,3\n1,a\n1,b,3\n")
    assert rows == [("1", "a", "2"), ("1", "b", "3")]
    assert [position for position, _ in ragged] == [1, 2]


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_line_ends_and_byte_order_mark_are_no_part_of_values(ends):
    data = b"\xef\xbb\xbf" + ends.join([b"day,shop,units", b"1,a,2", b"", b"2,,"]) + ends
    assert read(data) == (["day", "shop", "units"], [("1", "a", "2"), ("2", None, None)], [])


def test_a_byte_order_mark_is_removed_without_a_header_too():
    assert read(b"\xef\xbb\xbf1,a,2\n", header=False)[1] == [("1", "a", "2")]


def test_a_header_alone_has_no_rows():
    assert read(HEADER) == (["day", "shop", "units"], [], [])
    assert read(HEADER.strip())[1] == []


def test_lines_before_the_header_comments_and_other_delimiters_are_read():
    data = b"made by a till\n# names\nday; shop ;units\n# rows\n1;a;2\n#2;b;3\n"
    header, rows, ragged = read(data, skip_rows=1, comment="#", delimiter=";")
    assert header == ["day", "shop", "units"] and rows == [("1", "a", "2")] and ragged == []


def test_one_column_is_read():
    header, rows, ragged = read(b"day\n1\n\n2,3\n")
    assert header == ["day"] and rows == [("1",)] and ragged == [(1, ["2", "3"])]


def test_another_delimiter_is_guessed():
    assert "delimiter: ';'" in delimiter_hint(["day;shop;units"], Csv())
    assert delimiter_hint(["day"], Csv()) == delimiter_hint(["day", "a;b"], Csv()) == ""


def test_latin_1_is_read_when_it_is_declared():
    assert read(HEADER + "1,Años,2\n".encode("latin-1"), encoding="latin-1")[1] == [("1", "Años", "2")]


@pytest.mark.parametrize(
    "before",
    [b"", b"1,a,2\n", b'1,"a",2\n', b"1,a\n1,a,2\n", b"\n1,a,2\n"],
    ids=["first", "plain", "quoted", "ragged", "blank"],
)
def test_latin_1_bytes_are_refused_with_their_place(before):
    data = HEADER + before + "1,Años,2\n".encode("latin-1")
    place = data.index(b"\xf1")
    with pytest.raises(SourceError, match=rf"found the byte 0xf1 at byte {place} .*encoding: latin-1"):
        read(data)


def test_latin_1_bytes_in_the_header_are_refused_with_their_place():
    with pytest.raises(SourceError, match=r"found the byte 0xf1 at byte 1 \(line 1\)"):
        read("años,shop\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"found the byte 0xf1 at byte 4 \(line 1\)"):
        read(b"\xef\xbb\xbf" + "años,shop\n".encode("latin-1"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected a header line with day, shop, units; found an empty file"),
        (b"\n  \n", "found an empty file"),
        (b"day,shop,shop\n1,a,b\n", "found 'shop' 2 times in the header"),
        (b"day,shop,units\r1,a,2\r", "found carriage returns alone"),
        (b"PAR1\x15\x04", "found a Parquet file"),
        (b"\x1f\x8b\x08\x00", "found a gzip file"),
        (b"PK\x03\x04\x14", "found a zip file"),
        ("day,shop".encode("utf-16"), "found UTF-16"),
        (b"x" * (1 << 20) + b"\n", "found none within 1048576 bytes"),
        (b"x" * 200_000 + b"\n", "expected a header line; found: field larger than field limit"),
        (b'day,shop,units\n1,"a,2\n2,b,3\n', "one that is never closed behind byte 15"),
        (b'day,shop,units\n1,5" pipe,2\n2,b,3\n', "one that is never closed behind byte 15"),
        (b'day,shop,units\n1,a"b,2\n2,c"d,3\n', "a quote within a value"),
        (b'day,shop,units\n1,5" a,6" b,2\n', "a quote within a value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_delimited_text_is_refused(data, words):
    with pytest.raises(SourceError, match=words) as caught:
        read(data)
    assert str(caught.value).startswith("sales.csv: ") and "\n" not in str(caught.value)


def test_a_quote_that_is_never_closed_does_not_fill_the_memory():
    data = HEADER + b"1,a,2\n" * 10 + b'1,"a,2\n' + b"1,a,2\n" * 1000
    rows = b"1,a,2\n" * 10
    with pytest.raises(SourceError, match="one that is never closed behind byte"):
        read(data, block_bytes=16, record_bytes=200)
    assert read(HEADER + rows, block_bytes=16, record_bytes=200)[1] == [("1", "a", "2")] * 10


def opened(path):
    with open_text(path, path.name) as file:
        return file.read()


def test_packed_text_is_unpacked(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEADER)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(HEADER[:5]) + gzip.compress(HEADER[5:]))
    assert opened(tmp_path / "a.csv") == opened(tmp_path / "a.csv.gz") == HEADER


def broken_gzip(kind):
    whole = gzip.compress(HEADER * 1000)
    wrong = bytes([whole[-6] ^ 1])
    return {
        "truncated": whole[: len(whole) // 2],
        "without its end": whole[:-8],
        "no gzip": HEADER,
        "wrong sum": whole[:-6] + wrong + whole[-5:],
        "damaged": whole[:12] + bytes(20) + whole[32:],
        "with more behind": whole + b"more",
    }[kind]


@pytest.mark.parametrize(
    "kind", ["truncated", "without its end", "no gzip", "wrong sum", "damaged", "with more behind"]
)
def test_a_damaged_gzip_file_is_refused(tmp_path, kind):
    (tmp_path / "a.csv.gz").write_bytes(broken_gzip(kind))
    with pytest.raises(SourceError, match=r"a.csv.gz: expected a (whole )?gzip file; found .*Copy it again"):
        opened(tmp_path / "a.csv.gz")


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(SourceError, match="expected a readable file; found: Is a directory"):
        opened(tmp_path)
