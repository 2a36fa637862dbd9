"""Delimited text as frames of text, block by block; rows with too many or too few fields are kept apart."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from cd4ml.errors import SourceError
from cd4ml.tables.ahead import ahead
from cd4ml.tables.records import split_records

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from cd4ml.problem import Csv, Table

__all__ = [
    "BLOCK_BYTES",
    "RECORD_BYTES",
    "TextBlock",
    "delimiter_hint",
    "empty_frame",
    "open_text",
    "read_blocks",
    "read_header",
]

BLOCK_BYTES = 1 << 25
RECORD_BYTES = 1 << 28
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_DELIMITERS = ";\t|,"
_LONGEST_HEADER_BYTES = 1 << 20
_OTHER_KINDS = {
    b"PAR1": "a Parquet file. Let its name end with .parquet",
    b"\x1f\x8b": "a gzip file. Let its name end with .gz",
    b"PK\x03\x04": "a zip file. Unpack it",
    b"\xff\xfe": "UTF-16. Save it as UTF-8",
    b"\xfe\xff": "UTF-16. Save it as UTF-8",
}

# (frame of regular rows in source order, ragged rows as (position among all rows, fields), rows of both)
TextBlock = tuple["pl.DataFrame", list[tuple[int, list[str]]], int]


@contextmanager
def open_text(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open a text file, unpacked where its name ends with .gz; damage of the packing becomes SourceError."""
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path, "rb") as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            with path.open("rb") as file:
                yield file
    except EOFError as error:
        raise SourceError(
            f"{name}: expected a whole gzip file; found that it ends too early. Copy it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(
            f"{name}: expected a gzip file; found damaged bytes ({error}). Copy it again"
        ) from error
    except OSError as error:
        raise SourceError(
            f"{name}: expected a readable file; found: {error.strerror or error}."
            " Check its rights and the disk"
        ) from error


def read_header(file: BinaryIO, table: Table, name: str) -> list[str]:
    """Read what stands before the rows and return the names of the columns in the file's order.

    Raises
    ------
    SourceError
        If the file is empty or a name stands twice.
    """
    form = table.csv
    position = 0
    for _ in range(form.skip_rows):
        position += len(_line(file, name))
    if not form.header:
        return list(table.columns)
    while (line := _line(file, name)) and _skipped(line, form):
        position += len(line)
    if line.startswith(_BYTE_ORDER_MARK):
        line, position = line.removeprefix(_BYTE_ORDER_MARK), position + len(_BYTE_ORDER_MARK)
    if not line.strip():
        raise SourceError(
            f"{name}: expected a header line with {', '.join(table.columns)}; found an empty file."
            " Send it again"
        )
    text = _decode(line, form, name, position, first_line=True)
    names = _names(text, form, name)
    twice = sorted({field for field in names if names.count(field) > 1})
    if twice:
        raise SourceError(
            f"{name}: expected each column once; found '{twice[0]}' {names.count(twice[0])} times in the"
            " header. Rename or remove one"
        )
    return names


def _line(file: BinaryIO, name: str) -> bytes:
    """Read a line that stands before the rows, and refuse what is no delimited text at all."""
    line = file.readline(_LONGEST_HEADER_BYTES)
    for sign, kind in _OTHER_KINDS.items():
        if line.startswith(sign):
            raise SourceError(f"{name}: expected delimited text; found {kind}")
    if len(line) == _LONGEST_HEADER_BYTES:
        raise SourceError(
            f"{name}: expected a header line; found none within {_LONGEST_HEADER_BYTES} bytes."
            " Send it as text"
        )
    return line


def _names(text: str, form: Csv, name: str) -> list[str]:
    if "\r" in text.rstrip("\r\n"):
        raise SourceError(
            f"{name}: expected lines that end with a line feed; found carriage returns alone."
            " Save it with LF or CRLF"
        )
    try:
        return [field.strip() for field in next(csv.reader([text], delimiter=form.delimiter))]
    except csv.Error as error:
        raise SourceError(f"{name}: expected a header line; found: {error}. Send it as text") from error


def _skipped(line: bytes, form: Csv) -> bool:
    return not line.strip() or bool(form.comment and line.startswith(form.comment.encode()))


def delimiter_hint(header: Sequence[str], form: Csv) -> str:
    """Return a remark on another delimiter when the header looks as if it had one."""
    if len(header) == 1:
        for other in _OTHER_DELIMITERS:
            if other != form.delimiter and other in header[0]:
                return f" The delimiter may be {other!r}: set `csv: {{delimiter: {other!r}}}`"
    return ""


def read_blocks(
    file: BinaryIO,
    header: Sequence[str],
    form: Csv,
    name: str,
    *,
    block_bytes: int = BLOCK_BYTES,
    record_bytes: int = RECORD_BYTES,
) -> Iterator[TextBlock]:
    """Yield the rows behind the header as text; "" and what is absent are null.

    Parameters
    ----------
    file : BinaryIO
        Behind the header, as `read_header` leaves it.
    header : sequence of str
        Names of the columns.
    form : Csv
    name : str
        What messages call the file.
    block_bytes : int
        About how much is read at a time; the rows do not hang on it.
    record_bytes : int
        The longest record, about: what is longer has a quote that is never closed.

    Raises
    ------
    SourceError
        If bytes are not text in the declared encoding, or a quote is never closed.
    """
    position = file.tell()
    first = True
    for block in ahead(_cut(file, name, block_bytes, record_bytes)):
        clean = block.removeprefix(_BYTE_ORDER_MARK) if first and not form.header else block
        yield _parse(_utf8(clean, form), header, form, name, position)
        position += len(block)
        first = False


def _cut(file: BinaryIO, name: str, block_bytes: int, record_bytes: int) -> Iterator[bytes]:
    """Cut a file into blocks that end with a record."""
    held: list[bytes] = []
    size = quotes = 0
    while piece := file.read(block_bytes):
        end = piece.rfind(b"\n") + 1
        head, tail = piece[:end], piece[end:]
        quotes += head.count(b'"')
        held.append(head)
        size += len(head)
        if end and quotes % 2 == 0:
            yield b"".join(held)
            held, size, quotes = [], 0, 0
        held.append(tail)
        size += len(tail)
        quotes += tail.count(b'"')
        if size > record_bytes:
            raise _unclosed(name, file.tell() - size)
    if quotes % 2:
        raise _unclosed(name, file.tell() - size)
    if size:
        yield b"".join(held)


def _unclosed(name: str, position: int) -> SourceError:
    return SourceError(
        f"{name}: expected quotes in pairs; found one that is never closed behind byte {position}."
        ' Double quotes within values ("")'
    )


def _utf8(block: bytes, form: Csv) -> bytes:
    return block.decode("latin-1").encode() if form.encoding == "latin-1" else block


def _parse(block: bytes, header: Sequence[str], form: Csv, name: str, position: int) -> TextBlock:
    width = len(header)
    if b'"' not in block and not form.comment and width > 1:
        frame = _frame(block, header, form, name, (block, position))
        complete = block.count(form.delimiter.encode()) == (width - 1) * frame.height
        # blank and short lines lack delimiters, long ones have too many: both together empty a last field
        if complete and not frame[:, -1].null_count():
            return frame, [], frame.height
    split = split_records(block, form, width)
    frame = _frame(split.regular, header, form, name, (block, position), exactly=True)
    if frame.height + len(split.ragged) != split.rows:
        raise _unclosed(name, position)
    return frame, split.ragged, split.rows


def empty_frame(header: Sequence[str]) -> pl.DataFrame:
    """Return a frame of text without rows."""
    import polars as pl

    return pl.DataFrame(schema=dict.fromkeys(header, pl.String))


def _frame(
    records: bytes,
    header: Sequence[str],
    form: Csv,
    name: str,
    origin: tuple[bytes, int],
    exactly: bool = False,
) -> pl.DataFrame:
    """Parse records; `exactly` means that more fields than names are an error, and not left out.

    `origin`, the block that the records are from and its place in the file, serves to tell where they err.
    """
    import polars as pl

    block, position = origin
    if not records:
        return empty_frame(header)
    names = [f"{index}" for index in range(len(header))]
    try:
        # a header of our own: the block may have none, and its length tells Polars the number of columns
        frame = pl.read_csv(
            form.delimiter.join(names).encode() + b"\n" + records,
            separator=form.delimiter,
            infer_schema=False,
            truncate_ragged_lines=not exactly,
        )
    except pl.exceptions.ComputeError as error:
        _decode(block, form, name, position)
        raise SourceError(
            f"{name}: expected delimited text; found a field that cannot be read behind byte {position},"
            ' most likely a quote within a value: double it ("")'
        ) from error
    frame.columns = list(header)
    if b'""' in records:  # a quoted nothing is nothing, too
        frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    return frame


def _decode(data: bytes, form: Csv, name: str, position: int, first_line: bool = False) -> str:
    """Return text, or raise SourceError that says where the first wrong byte is."""
    try:
        return data.decode(form.encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        place = f"line {line}" + ("" if first_line else f" behind byte {position}")
        raise SourceError(
            f"{name}: expected UTF-8; found the byte 0x{data[error.start]:02x} at byte"
            f" {position + error.start} ({place}). Save it as UTF-8, or set `csv: {{encoding: latin-1}}`"
        ) from error
