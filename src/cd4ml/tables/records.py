"""Records of a block of delimited text: where each begins, how many fields it has."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cd4ml.problem import Csv

__all__ = ["Records", "Split", "find_records", "split_records"]

_NEWLINE, _RETURN, _QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Records:
    """Where the records of a block are.

    Parameters
    ----------
    starts, ends : int64 arrays (n,)
        Byte positions; an end is behind the line's newline.
    fields : int64 array (n,)
        How many fields each record has; 0 for blank lines and comments.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    fields: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """A block of text without what is no regular record.

    Parameters
    ----------
    regular : bytes
        The records with the expected number of fields.
    ragged : list of (int, list of str)
        Position among the block's records, from 0 without blank lines and comments, and the fields found.
    rows : int
        All records of the block, ragged ones too.
    """

    regular: bytes
    ragged: list[tuple[int, list[str]]]
    rows: int


def find_records(block: bytes, form: Csv) -> Records:
    """Find the records of a block that begins and ends at a record's edge; quotes count as in RFC 4180."""
    codes = np.frombuffer(block, dtype=np.uint8)
    newline, delimiter = codes == _NEWLINE, codes == ord(form.delimiter)
    if b'"' in block:
        # uint8 overflows by 256, which leaves the parity
        outside = (np.cumsum(codes == _QUOTE, dtype=np.uint8) & 1) == 0
        newline, delimiter = newline & outside, delimiter & outside
    ends = np.flatnonzero(newline) + 1
    if not len(ends) or ends[-1] != len(block):
        ends = np.append(ends, len(block))
    starts = np.concatenate([[0], ends[:-1]])
    places = np.flatnonzero(delimiter)
    fields = np.searchsorted(places, ends) - np.searchsorted(places, starts) + 1
    blank = (ends - starts == 1) & (codes[starts] == _NEWLINE)
    if b"\r" in block:
        second = codes[np.minimum(starts + 1, len(codes) - 1)]
        blank |= (ends - starts == 2) & (codes[starts] == _RETURN) & (second == _NEWLINE)
    if form.comment:
        blank |= codes[starts] == ord(form.comment)
    return Records(starts, ends, np.where(blank, 0, fields))


def split_records(block: bytes, form: Csv, width: int) -> Split:
    """Part the records with `width` fields from the ragged ones, and leave blank lines and comments out."""
    found = find_records(block, form)
    kept = found.fields > 0
    starts, ends, fields = found.starts[kept], found.ends[kept], found.fields[kept]
    wrong = np.flatnonzero(fields != width)
    ragged = [
        (int(i), _fields(block[starts[i] : ends[i]].decode("utf-8", "replace"), form)) for i in wrong.tolist()
    ]
    if kept.all() and not len(wrong):
        return Split(block, [], len(starts))
    good = np.flatnonzero(fields == width)
    pieces = _join(block, starts[good], ends[good])
    return Split(pieces, ragged, len(starts))


def _join(block: bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> bytes:
    """Join stretches of a block; neighbours are copied as one."""
    if not len(starts):
        return b""
    breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
    first = starts[np.concatenate([[0], breaks])].tolist()
    last = ends[np.concatenate([breaks - 1, [len(ends) - 1]])].tolist()
    return b"".join(block[a:b] for a, b in zip(first, last, strict=True))


def _fields(line: str, form: Csv) -> list[str]:
    line = line.rstrip("\r\n")
    try:
        rows = list(csv.reader([line], delimiter=form.delimiter))
    except csv.Error:  # a carriage return within, or a field of more than 128 KiB
        return line.split(form.delimiter)
    return rows[0] if rows else []
